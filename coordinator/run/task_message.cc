#include "coordinator/run/task_message.h"

#include <algorithm>

#include "common/model/source_settings.h"
#include "coordinator/run/run_transitions.h"

namespace tidemark::coordinator {
namespace {

constexpr int kMostPieces = 4096;
constexpr int kMostHalvings = 10;

// The ranges are read from where the lookback reaches; the chain goes on from the watermark.
v1::Window ReadWindow(const RunRecord& run) {
  v1::Window window = run.window;
  if (window.kind() == v1::WINDOW_KIND_WINDOW && run.description->has_effective_low()) {
    *window.mutable_low() = run.description->effective_low();
  }
  return window;
}

v1::MoveWork Move(const RunRecord& run, const TaskRecord& task) {
  v1::MoveWork work;
  work.set_partition(task.partition);
  *work.mutable_range() = task.range;
  *work.mutable_window() = ReadWindow(run);
  work.set_format(run.description->formats(0));
  *work.mutable_schema() = run.description->source_schema();
  work.set_in_snapshot(InSnapshot(run));
  work.set_source_identity(run.description->source_identity());
  work.set_position(run.description->read_point().position());
  // A standby cancels whoever holds its replay up for too long: what failed there once is read by shorter statements.
  if (!work.position().empty() && !work.in_snapshot() && task.failures > 0) {
    work.set_pieces(std::min(kMostPieces, std::max(1, run.partitions) << std::min(kMostHalvings, 2 * task.failures)));
  }
  return work;
}

v1::CommitWork Commit(const RunState& state) {
  v1::CommitWork work;
  *work.mutable_window() = state.run.window;
  *work.mutable_schema() = state.run.description->source_schema();
  for (const auto& [id, task] : state.tasks) {
    if (task.kind != v1::TASK_KIND_MOVE || task.state != TaskState::kSucceeded) continue;
    v1::StagedMove& move = *work.add_moves();
    move.set_partition(task.partition);
    move.set_rows(StagedRows(task));
  }
  return work;
}

template <class Work>
void AddLastWindow(const JobRecord& job, const std::optional<RunRecord>& last_success, Work& work) {
  work.set_last_source_identity(job.source_identity);
  const bool known =
      last_success.has_value() && last_success->sequence == job.last_sequence && last_success->description.has_value();
  v1::Completeness& completeness = *work.mutable_last_completeness();
  if (known) {
    completeness = last_success->description->completeness();
  } else if (!job.spec.target().key().empty()) {
    completeness.set_level(v1::Completeness::LEVEL_LOOKBACK);
    completeness.set_lookback_seconds(absl::ToInt64Seconds(Lookback(job.spec.source())));
  }
}

}  // namespace

v1::Task TaskMessage(const RunState& state, const TaskRecord& task, const std::string& cluster_id,
                     const v1::ConnectionSpec& source, const v1::ConnectionSpec& target,
                     const std::optional<v1::SessionGrant>& session, int wanted_partitions) {
  const RunRecord& run = state.run;
  v1::Task message;
  message.set_task_id(task.id);
  message.set_attempt(task.attempt);
  message.set_epoch(state.fence_epoch);
  message.set_cluster_id(cluster_id);
  message.set_run_id(run.id);
  message.set_job_uid(run.job_uid);
  message.set_sequence(run.sequence);
  *message.mutable_job() = run.spec;
  *message.mutable_source() = source;
  if (task.kind != v1::TASK_KIND_TEST) *message.mutable_target() = target;
  if (session.has_value()) *message.mutable_session() = *session;
  switch (task.kind) {
    case v1::TASK_KIND_DESCRIBE: {
      v1::DescribeWork& work = *message.mutable_describe();
      *work.mutable_window() = run.window;
      work.set_horizon_is_final(run.wait_time > absl::ZeroDuration());
      work.set_dry_run(state.preview);
      work.set_wanted_partitions(wanted_partitions);
      if (run.description.has_value()) *work.mutable_read_point() = run.description->read_point();
      break;
    }
    case v1::TASK_KIND_READ_POINT:
      *message.mutable_read_point()->mutable_window() = run.window;
      break;
    case v1::TASK_KIND_MOVE:
      *message.mutable_move() = Move(run, task);
      break;
    case v1::TASK_KIND_COMMIT:
      *message.mutable_commit() = Commit(state);
      break;
    case v1::TASK_KIND_PROBE:
      message.mutable_probe();
      break;
    case v1::TASK_KIND_ABORT:
      message.mutable_abort();
      break;
    case v1::TASK_KIND_HORIZON:
      *message.mutable_horizon()->mutable_until() = run.description->wait_until();
      break;
    case v1::TASK_KIND_TEST:
      message.mutable_test();
      break;
    default:
      break;
  }
  return message;
}

void AddLastWindow(const JobRecord& job, const std::optional<RunRecord>& last_success, v1::Task& task) {
  if (task.has_read_point()) return AddLastWindow(job, last_success, *task.mutable_read_point());
  if (task.has_describe()) AddLastWindow(job, last_success, *task.mutable_describe());
}
}  // namespace tidemark::coordinator
