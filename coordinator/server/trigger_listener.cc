#include "coordinator/server/trigger_listener.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace tidemark::coordinator {
namespace {

constexpr absl::Duration kLookAnyway = absl::Seconds(30);
constexpr absl::Duration kPause = absl::Seconds(1);
// In which others get at the coordinator.
constexpr absl::Duration kBreath = absl::Milliseconds(1);

}  // namespace

TriggerListener::TriggerListener(Coordinator* coordinator, MetadataStore* store,
                                 std::function<void(const std::string& line)> log)
    : coordinator_(coordinator), store_(store), log_(std::move(log)), thread_([this] { Run(); }) {}

TriggerListener::~TriggerListener() {
  stop_ = true;
  store_->Interrupt();
  thread_.join();
}

void TriggerListener::Run() {
  bool failing = false;
  while (!stop_ && !coordinator_->shut_down()) {
    const absl::StatusOr<bool> more = coordinator_->TakeTriggers();
    const absl::Status taken = more.status();
    // The first failure of several is said; the coordinator says itself that it is led no more.
    if (!taken.ok() && !failing && !coordinator_->deposed() && !coordinator_->shut_down() && log_) {
      log_(absl::StrCat("triggers cannot be taken up: ", taken.message()));
    }
    failing = !taken.ok();
    store_->WaitForTriggers(failing ? kPause : *more ? kBreath : kLookAnyway);
  }
}

}  // namespace tidemark::coordinator
