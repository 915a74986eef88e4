#pragma once

#include "absl/time/time.h"

namespace tidemark::coordinator {

// Leaves alone what has failed `failures` times in a row: after a pause one call tries it (half-open), and its outcome
// decides. Times are monotonic. A value; pure; not thread-safe.
class CircuitBreaker {
 public:
  CircuitBreaker(int failures, absl::Duration pause) : limit_(failures), pause_(pause) {}

  // Whether a call may be made now. Each call allowed is reported by Succeeded or Failed.
  bool Allow(absl::Duration now);
  void Succeeded();
  void Failed(absl::Duration now);
  // Calls are refused, but for one after each pause.
  bool open() const { return failures_ >= limit_; }

 private:
  const int limit_;
  const absl::Duration pause_;
  int failures_ = 0;
  // While it is open: when one call may try.
  absl::Duration probe_at_ = absl::ZeroDuration();
  bool probing_ = false;
};

}  // namespace tidemark::coordinator
