#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "common/model/watermark.h"
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
  if (!job.empty()) {
    const JobRecord* record = state_.FindJobByName(job);
    if (record == nullptr) return ids;
    const std::set<std::string>& unfinished = state_.UnfinishedOf(record->uid);
    return {unfinished.begin(), unfinished.end()};
  }
  for (const auto& [id, state] : state_.runs()) {
    if (!state->preview) ids.push_back(id);
  }
  return ids;
}

WorkerView CoordinatorCore::ViewOf(const Worker& worker, WorkerView::State state) const {
  WorkerView view;
  view.id = worker.id;
  view.state = state;
  view.slots = worker.slots;
  view.version = worker.version;
  view.memory_bytes = worker.memory_bytes;
  view.spill_bytes = worker.spill_bytes;
  view.last_heartbeat = worker.last_seen;
  return view;
}

WorkerView CoordinatorCore::ViewOf(const Worker& worker) const {
  if (!worker.draining) {
    WorkerView view = ViewOf(worker, WorkerView::State::kReady);
    view.free_slots = std::max(0, worker.slots - LeasedTo(worker));
    return view;
  }
  const bool idle = LeasedTo(worker) == 0 && state_.budget().OfWorker(worker.id, worker.incarnation).empty();
  return ViewOf(worker, idle ? WorkerView::State::kDrained : WorkerView::State::kDraining);
}

std::vector<WorkerView> CoordinatorCore::Workers() const {
  std::map<std::string, WorkerView> views;
  for (const auto& [id, view] : lost_workers_) {
    if (options_.clock->Now() - view.last_heartbeat < kLostShown) views.emplace(id, view);
  }
  for (const auto& [id, worker] : workers_.workers()) views.insert_or_assign(id, ViewOf(worker));
  std::vector<WorkerView> all;
  for (auto& [id, view] : views) all.push_back(std::move(view));
  return all;
}

ClusterView CoordinatorCore::Cluster() const {
  ClusterView view;
  view.epoch = state_.epoch();
  for (const auto& [id, worker] : workers_.workers()) {
    if (worker.draining) continue;
    ++view.workers;
    view.slots += worker.slots;
    view.free_slots += std::max(0, worker.slots - LeasedTo(worker));
  }
  for (const auto& [id, state] : state_.runs()) view.running_runs += !state->preview;
  for (const RunState* state : state_.Begun()) {
    for (const auto& [id, task] : state->tasks) view.queued_tasks += task.state == TaskState::kQueued;
  }
  return view;
}

std::vector<ConnectionUse> CoordinatorCore::Connections() const {
  std::vector<ConnectionUse> uses;
  for (const auto& [name, spec] : state_.connections()) {
    ConnectionUse use;
    use.name = name;
    use.open_sessions = state_.budget().Held(name);
    use.max_connections = state_.budget().Limit(name);
    use.max_rows_per_second = spec.max_rows_per_second();
    uses.push_back(std::move(use));
  }
  return uses;
}

std::vector<JobView> CoordinatorCore::Jobs() const {
  std::vector<JobView> views;
  for (const auto& [uid, job] : state_.jobs()) {
    JobView view;
    view.name = job.spec.name();
    view.uid = uid;
    if (job.last_watermark.has_value()) view.watermark = InstantOf(*job.last_watermark);
    view.next_fire = scheduler_.NextFireOf(uid);
    views.push_back(std::move(view));
  }
  return views;
}

std::map<std::string, JobPosition> CoordinatorCore::PositionsOf(const std::vector<std::string>& job_uids) const {
  std::map<std::string, JobPosition> positions;
  for (const std::string& uid : job_uids) {
    const JobRecord* job = state_.FindJob(uid);
    if (job == nullptr) continue;
    positions[uid] = {job->last_watermark, job->adopting, job->revision, scheduler_.NextFireOf(uid)};
  }
  return positions;
}

std::vector<v1::ConnectionSpec> CoordinatorCore::ConnectionSpecs() const {
  std::vector<v1::ConnectionSpec> specs;
  for (const auto& [name, spec] : state_.connections()) specs.push_back(spec);
  return specs;
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
