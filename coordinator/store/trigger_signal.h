#pragma once

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace tidemark::coordinator {

// What MetadataStore::WaitForTriggers waits for inside one process. Thread-safe.
class TriggerSignal {
 public:
  enum class Outcome { kNotified, kInterrupted, kTimeout };

  void Notify();
  void Interrupt();
  // Takes what it reports: the next wait waits again. An interruption goes first.
  Outcome Wait(absl::Duration timeout);

 private:
  bool Awake() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return notified_ || interrupted_; }

  absl::Mutex mutex_;
  bool notified_ ABSL_GUARDED_BY(mutex_) = false;
  bool interrupted_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace tidemark::coordinator
