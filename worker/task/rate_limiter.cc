#include "worker/task/rate_limiter.h"

#include <algorithm>

namespace tidemark {
namespace {

// A caller sleeps a little longer than it was told to: what the bucket gathers meanwhile must not be lost, or the rate
// falls short.
constexpr absl::Duration kBurst = absl::Milliseconds(100);

}  // namespace

void RateLimiter::SetRate(int64_t rows_per_second) {
  absl::MutexLock lock(&mutex_);
  Refill();
  rate_ = rows_per_second;
}

absl::Duration RateLimiter::Delay() {
  absl::MutexLock lock(&mutex_);
  Refill();
  if (rate_ < 0) return kBurst;
  if (rate_ == 0 || rows_ >= 0) return absl::ZeroDuration();
  return absl::Seconds(-rows_ / static_cast<double>(rate_));
}

void RateLimiter::Spend(int64_t rows) {
  absl::MutexLock lock(&mutex_);
  Refill();
  if (rate_ > 0) rows_ -= static_cast<double>(rows);
}

void RateLimiter::Refill() {
  const absl::Duration now = clock_->Monotonic();
  const double rate = static_cast<double>(rate_);
  rows_ = rate_ <= 0
              ? 0
              : std::min(rows_ + rate * absl::ToDoubleSeconds(now - refilled_), rate * absl::ToDoubleSeconds(kBurst));
  refilled_ = now;
}

}  // namespace tidemark
