#pragma once

#include <cstdio>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"

namespace tidemark {

// A daemon's log: one line per event worth a person's attention, with the time in UTC before it. Thread-safe. A line
// that cannot be written is lost.
class EventLog {
 public:
  // `file` and `clock` must outlive it.
  EventLog(FILE* file, const Clock* clock) : file_(file), clock_(clock) {}

  // Control characters in `event` are escaped, line ends too. Secrets are the caller's to take out.
  void Write(std::string_view event);

 private:
  absl::Mutex mutex_;
  FILE* const file_ ABSL_PT_GUARDED_BY(mutex_);
  const Clock* const clock_;
};

}  // namespace tidemark
