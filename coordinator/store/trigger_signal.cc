#include "coordinator/store/trigger_signal.h"

#include <utility>

namespace tidemark::coordinator {

void TriggerSignal::Notify() {
  absl::MutexLock lock(&mutex_);
  notified_ = true;
}

void TriggerSignal::Interrupt() {
  absl::MutexLock lock(&mutex_);
  interrupted_ = true;
}

TriggerSignal::Outcome TriggerSignal::Wait(absl::Duration timeout) {
  absl::MutexLock lock(&mutex_);
  mutex_.AwaitWithTimeout(absl::Condition(this, &TriggerSignal::Awake), timeout);
  if (std::exchange(interrupted_, false)) return Outcome::kInterrupted;
  return std::exchange(notified_, false) ? Outcome::kNotified : Outcome::kTimeout;
}

}  // namespace tidemark::coordinator
