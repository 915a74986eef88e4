#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "coordinator/run/coordinator_core.h"

// What others may ask of a coordinator without changing it.

namespace tidemark::coordinator {

absl::StatusOr<RunRecord> CoordinatorCore::GetRun(std::string_view id) const {
  const RunState* state = state_.FindRun(id);
  return state != nullptr && !state->preview ? state->run : state_.store().GetRun(id);
}

absl::StatusOr<RunProgress> CoordinatorCore::GetProgress(std::string_view id) const {
  const RunState* state = state_.FindRun(id);
  RunRecord stored;
  if (state == nullptr) {
    absl::StatusOr<RunRecord> found = state_.store().GetRun(id);
    if (!found.ok()) return found.status();
    stored = *std::move(found);
  }
  const RunRecord& run = state != nullptr ? state->run : stored;
  RunProgress progress;
  progress.id = run.id;
  progress.job_name = run.job_name;
  progress.status = run.status;
  progress.phase = run.phase;
  progress.partitions = run.partitions;
  progress.error = run.error;
  if (run.description.has_value()) progress.estimated_rows = run.description->estimated_rows();
  if (state == nullptr) {
    progress.partitions_done = run.phase == RunPhase::kDone ? run.partitions : 0;
    progress.rows_read = run.counts.read();
    progress.rows_loaded = run.counts.loaded();
    progress.bytes_read = run.counts.bytes_read();
    return progress;
  }
  for (const auto& [task_id, task] : state->tasks) {
    if (!task.error.empty() && task.state == TaskState::kQueued) progress.error = task.error;
    if (task.kind != v1::TASK_KIND_MOVE) continue;
    if (task.state == TaskState::kSucceeded) {
      ++progress.partitions_done;
      progress.rows_read += task.counts.read();
      progress.rows_loaded += task.counts.loaded();
      progress.bytes_read += task.counts.bytes_read();
    } else if (const auto reported = state->progress.find(task_id);
               task.state == TaskState::kLeased && reported != state->progress.end()) {
      progress.rows_read += reported->second.rows_read();
      progress.rows_loaded += reported->second.rows_loaded();
      progress.bytes_read += reported->second.bytes_read();
    }
  }
  progress.source_connections = static_cast<int>(state_.budget().OfRun(id).size());
  return progress;
}

std::vector<std::string> CoordinatorCore::UnfinishedRuns(std::string_view job) const {
  std::vector<std::string> ids;
  for (const auto& [id, state] : state_.runs()) {
    if (!state->preview && (job.empty() || state->run.job_name == job)) ids.push_back(id);
  }
  return ids;
}

absl::StatusOr<std::optional<absl::StatusOr<Preview>>> CoordinatorCore::TakePreview(std::string_view id) {
  if (const auto done = previews_.find(id); done != previews_.end()) {
    absl::StatusOr<Preview> preview = std::move(done->second);
    previews_.erase(done);
    return std::optional<absl::StatusOr<Preview>>(std::move(preview));
  }
  const RunState* state = state_.FindRun(id);
  if (state != nullptr && state->preview) return std::optional<absl::StatusOr<Preview>>();
  return absl::NotFoundError(absl::StrCat("no preview ", Abs(id)));
}

}  // namespace tidemark::coordinator
