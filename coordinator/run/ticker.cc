#include "coordinator/run/ticker.h"

#include <algorithm>

namespace tidemark::coordinator {
namespace {

// How soon a stop is seen.
constexpr absl::Duration kLongestSleep = absl::Milliseconds(200);
// After a store that failed.
constexpr absl::Duration kPause = absl::Milliseconds(200);

}  // namespace

Ticker::Ticker(Coordinator* coordinator) : coordinator_(coordinator), thread_([this] { Run(); }) {}

Ticker::~Ticker() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  thread_.join();
}

void Ticker::Run() {
  absl::Duration not_before = -absl::InfiniteDuration();
  while (!coordinator_->shut_down()) {
    {
      absl::MutexLock lock(&mutex_);
      if (stop_) return;
    }
    const absl::Duration pause = not_before - coordinator_->clock().Monotonic();
    if (pause > absl::ZeroDuration()) {
      coordinator_->WaitForChange(coordinator_->version(), std::min(pause, kLongestSleep));
      continue;
    }
    const uint64_t seen = coordinator_->version();
    const absl::Duration wake = coordinator_->NextWake();
    if (wake > absl::ZeroDuration()) {
      coordinator_->WaitForChange(seen, std::min(wake, kLongestSleep));
    } else if (!coordinator_->Tick().ok()) {
      not_before = coordinator_->clock().Monotonic() + kPause;
    }
  }
}

}  // namespace tidemark::coordinator
