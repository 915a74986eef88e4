#include "coordinator/store/records.h"

#include <array>
#include <utility>

namespace tidemark::coordinator {
namespace {

template <typename Enum, size_t n>
using NameTable = std::array<std::pair<Enum, std::string_view>, n>;

constexpr NameTable<RunStatus, 4> kRunStatuses = {{
    {RunStatus::kRunning, "running"},
    {RunStatus::kSuccess, "success"},
    {RunStatus::kFailed, "failed"},
    {RunStatus::kSkipped, "skipped"},
}};

constexpr NameTable<RunPhase, 11> kRunPhases = {{
    {RunPhase::kQueued, "queued"},
    {RunPhase::kDescribing, "describing"},
    {RunPhase::kWaiting, "waiting"},
    {RunPhase::kMoving, "moving"},
    {RunPhase::kCommitting, "committing"},
    {RunPhase::kAborting, "aborting"},
    {RunPhase::kDone, "done"},
    {RunPhase::kFailed, "failed"},
    {RunPhase::kCancelled, "cancelled"},
    {RunPhase::kSuperseded, "superseded"},
    {RunPhase::kSkipped, "skipped"},
}};

constexpr NameTable<TaskState, 5> kTaskStates = {{
    {TaskState::kQueued, "queued"},
    {TaskState::kLeased, "leased"},
    {TaskState::kSucceeded, "succeeded"},
    {TaskState::kFailed, "failed"},
    {TaskState::kCancelled, "cancelled"},
}};

template <typename Enum, size_t n>
std::string_view Find(const NameTable<Enum, n>& table, Enum value) {
  for (const auto& [candidate, name] : table) {
    if (candidate == value) return name;
  }
  return "";
}

template <typename Enum, size_t n>
std::optional<Enum> Parse(const NameTable<Enum, n>& table, std::string_view name) {
  for (const auto& [value, candidate] : table) {
    if (candidate == name) return value;
  }
  return std::nullopt;
}

}  // namespace

bool MovedChain(const RunRecord& run) {
  if (run.status != RunStatus::kSuccess || run.window.kind() == v1::WINDOW_KIND_RANGE) return false;
  const bool empty = run.description.has_value() && run.description->empty_window();
  return !empty || run.window.kind() != v1::WINDOW_KIND_WINDOW;
}

std::string_view Name(RunStatus status) { return Find(kRunStatuses, status); }
std::string_view Name(RunPhase phase) { return Find(kRunPhases, phase); }
std::string_view Name(TaskState state) { return Find(kTaskStates, state); }
std::optional<RunStatus> ParseRunStatus(std::string_view name) { return Parse(kRunStatuses, name); }
std::optional<RunPhase> ParseRunPhase(std::string_view name) { return Parse(kRunPhases, name); }
std::optional<TaskState> ParseTaskState(std::string_view name) { return Parse(kTaskStates, name); }

}  // namespace tidemark::coordinator
