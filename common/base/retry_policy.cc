#include "common/base/retry_policy.h"

#include <algorithm>
#include <cmath>

namespace tidemark {

absl::Duration RetryPolicy::BackoffBefore(int next_attempt, Rng& rng) const {
  const int retries = std::max(0, next_attempt - 2);
  const absl::Duration full = std::min(max_backoff, initial_backoff * std::pow(multiplier, std::min(retries, 60)));
  return full * (0.5 + 0.5 * rng.Unit());
}

}  // namespace tidemark
