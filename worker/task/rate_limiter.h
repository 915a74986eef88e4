#pragma once

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"

namespace tidemark {

// The rows per second that all tasks of this worker together may read from one source. A token bucket of 100 ms: rows
// are paid for after they were read (a chunk's rows are not known before), and nobody reads on while the bucket is in
// debt. Thread-safe.
class RateLimiter {
 public:
  // Nobody reads before SetRate.
  explicit RateLimiter(const Clock* clock) : clock_(clock) {}

  // Takes effect at once, also on debts made before. 0: no limit.
  void SetRate(int64_t rows_per_second);

  // How long to wait before reading on. Ask again after it: others may have read meanwhile, or the rate has changed.
  absl::Duration Delay();
  void Spend(int64_t rows);

 private:
  void Refill() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Clock* const clock_;
  absl::Mutex mutex_;
  // Below 0: not told yet.
  int64_t rate_ ABSL_GUARDED_BY(mutex_) = -1;
  // Rows that may be read now; below 0: a debt.
  double rows_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Duration refilled_ ABSL_GUARDED_BY(mutex_) = absl::ZeroDuration();
};

}  // namespace tidemark
