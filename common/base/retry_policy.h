#pragma once

#include "absl/time/time.h"
#include "common/base/rng.h"

namespace tidemark {

// How often and how patiently a step is tried again. A value; pure.
struct RetryPolicy {
  // Attempts in all, the first included.
  int max_attempts = 5;
  absl::Duration initial_backoff = absl::Seconds(2);
  double multiplier = 2.0;
  absl::Duration max_backoff = absl::Minutes(1);

  // Delay before attempt `next_attempt` (2 is the first retry): exponential with full jitter over its upper half, so
  // that failures that came together do not come back together.
  absl::Duration BackoffBefore(int next_attempt, Rng& rng) const;
  bool Exhausted(int attempts_made) const { return attempts_made >= max_attempts; }
};

}  // namespace tidemark
