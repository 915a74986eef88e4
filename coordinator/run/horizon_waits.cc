#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model/source_settings.h"
#include "coordinator/run/coordinator_core.h"

// Runs that wait for their source's horizon. They hold no slot and no permit; one task at a time asks for all of a
// connection.

namespace tidemark::coordinator {
namespace {

constexpr absl::Duration kProbeInterval = absl::Milliseconds(200);

const TaskRecord* OpenHorizonTask(const RunState& state) {
  for (const auto& [id, task] : state.tasks) {
    const bool open = task.state == TaskState::kQueued || task.state == TaskState::kLeased;
    if (task.kind == v1::TASK_KIND_HORIZON && open) return &task;
  }
  return nullptr;
}

// Points of different types cannot be compared, and have a task each.
std::pair<std::string, std::string> GroupOf(const RunState& state) {
  return {state.run.spec.source().connection(), state.run.description->wait_until().type()};
}

bool Waits(const RunState& state) { return state.run.phase == RunPhase::kWaiting; }

}  // namespace

absl::Status CoordinatorCore::SettleHorizons(bool& again) {
  const Moment now = Now();
  std::map<std::pair<std::string, std::string>, std::vector<RunState*>> groups;
  for (RunState* const state : state_.Begun()) {
    if (!Waits(*state) || !ConnectionsKnown(*state)) continue;
    if (now.monotonic - state->phase_since < HorizonWait(state->run.spec.source())) {
      groups[GroupOf(*state)].push_back(state);
      continue;
    }
    RunChange change(state);
    TM_RETURN_IF_ERROR(controller_.StopWaiting(change, ContextOf(*state)));
    TM_RETURN_IF_ERROR(Store(change));
    again = true;
  }
  for (auto& [key, waiting] : groups) {
    const bool asked =
        std::any_of(waiting.begin(), waiting.end(), [](const RunState* s) { return OpenHorizonTask(*s) != nullptr; });
    if (asked) continue;
    // The newest waits for the latest point: once it is reached, all the others are.
    RunState& newest = **std::max_element(waiting.begin(), waiting.end(), [](const RunState* a, const RunState* b) {
      return a->phase_since < b->phase_since;
    });
    RunChange change(&newest);
    TaskRecord task;
    task.id = absl::StrCat(newest.run.id, "-h", CountTasks(change.draft, v1::TASK_KIND_HORIZON) + 1);
    task.run_id = newest.run.id;
    task.kind = v1::TASK_KIND_HORIZON;
    task.not_before = now.wall + kProbeInterval;
    change.draft.AddTask(std::move(task));
    TM_RETURN_IF_ERROR(Store(change));
  }
  return absl::OkStatus();
}

absl::Status CoordinatorCore::HorizonReported(RunState& state, const TaskRecord& task,
                                              const v1::HorizonResult& result) {
  if (!result.reached()) {
    RunChange change(&state);
    TM_RETURN_IF_ERROR(controller_.HorizonNotReached(change, ContextOf(state), task, kProbeInterval));
    return Store(change);
  }
  const auto group = GroupOf(state);
  const absl::Duration reached = state.phase_since;
  for (RunState* const other : state_.Begun()) {
    if (!Waits(*other) || GroupOf(*other) != group || other->phase_since > reached || other == &state) continue;
    RunChange change(other);
    TM_RETURN_IF_ERROR(controller_.StopWaiting(change, ContextOf(*other)));
    TM_RETURN_IF_ERROR(Store(change));
  }
  // Last, because it ends the task that was reported: a report that is repeated meets what is left to do.
  RunChange change(&state);
  TM_RETURN_IF_ERROR(controller_.StopWaiting(change, ContextOf(state)));
  return Store(change);
}

}  // namespace tidemark::coordinator
