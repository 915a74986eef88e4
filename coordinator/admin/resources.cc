#include "coordinator/admin/resources.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "common/model/duration.h"
#include "common/model/timestamp.h"
#include "common/rpc/error_details.h"

namespace tidemark::coordinator {
namespace {

v1::Run::Status ToStatus(RunStatus status) {
  switch (status) {
    case RunStatus::kRunning:
      return v1::Run::STATUS_RUNNING;
    case RunStatus::kSuccess:
      return v1::Run::STATUS_SUCCESS;
    case RunStatus::kFailed:
      return v1::Run::STATUS_FAILED;
    case RunStatus::kSkipped:
      return v1::Run::STATUS_SKIPPED;
  }
  return v1::Run::STATUS_UNSPECIFIED;
}

v1::RunTask::State ToState(TaskState state) {
  switch (state) {
    case TaskState::kQueued:
      return v1::RunTask::STATE_QUEUED;
    case TaskState::kLeased:
      return v1::RunTask::STATE_LEASED;
    case TaskState::kSucceeded:
      return v1::RunTask::STATE_SUCCEEDED;
    case TaskState::kFailed:
      return v1::RunTask::STATE_FAILED;
    case TaskState::kCancelled:
      return v1::RunTask::STATE_CANCELLED;
  }
  return v1::RunTask::STATE_UNSPECIFIED;
}

v1::Worker::State ToState(WorkerView::State state) {
  switch (state) {
    case WorkerView::State::kReady:
      return v1::Worker::STATE_READY;
    case WorkerView::State::kDraining:
      return v1::Worker::STATE_DRAINING;
    case WorkerView::State::kDrained:
      return v1::Worker::STATE_DRAINED;
    case WorkerView::State::kLost:
      return v1::Worker::STATE_LOST;
  }
  return v1::Worker::STATE_UNSPECIFIED;
}

std::string Etag(int64_t revision) { return absl::StrCat(revision); }

}  // namespace

absl::StatusOr<int64_t> ReadEtag(std::string_view etag) {
  int64_t revision = 0;
  if (etag.empty() || (absl::SimpleAtoi(Abs(etag), &revision) && revision > 0)) return revision;
  return InvalidField("etag", "is not one that this service has given");
}

v1::Job ToJob(const JobRecord& record, std::optional<absl::Time> next_fire) {
  v1::Job job;
  job.set_name(absl::StrCat("jobs/", record.spec.name()));
  job.set_uid(record.uid);
  *job.mutable_spec() = record.spec;
  if (record.last_watermark.has_value()) *job.mutable_last_watermark() = *record.last_watermark;
  if (next_fire.has_value()) *job.mutable_next_fire_time() = ToProto(*next_fire);
  *job.mutable_create_time() = ToProto(record.created);
  *job.mutable_update_time() = ToProto(record.updated);
  job.set_etag(Etag(record.revision));
  job.set_paused(record.spec.enabled() && !record.enabled);
  job.set_adopting(record.adopting);
  return job;
}

v1::Run ToRun(const RunRecord& record, const std::optional<RunProgress>& progress) {
  v1::Run run;
  if (!record.id.empty()) run.set_name(absl::StrCat("runs/", record.id));
  run.set_job(absl::StrCat("jobs/", record.job_name));
  run.set_status(ToStatus(record.status));
  run.set_phase(std::string(Name(record.phase)));
  *run.mutable_create_time() = ToProto(record.created);
  if (record.started.has_value()) *run.mutable_start_time() = ToProto(*record.started);
  if (record.ended.has_value()) *run.mutable_end_time() = ToProto(*record.ended);
  *run.mutable_window() = record.window;
  // A run that reads a replica has the primary's part of its description before.
  const bool described = record.description.has_value() &&
                         (record.description->has_completeness() || !record.description->has_read_point());
  if (described) {
    *run.mutable_completeness() = record.description->completeness();
    for (const std::string& note : record.description->notes()) run.add_notes(note);
    for (const std::string& server : record.description->servers()) {
      run.add_notes(absl::StrCat("rows were read from ", server));
    }
    run.set_estimated_rows(record.description->estimated_rows());
  } else {
    run.set_estimated_rows(-1);
  }
  *run.mutable_counts() = record.counts;
  run.set_partitions(record.partitions);
  run.set_partitions_done(record.phase == RunPhase::kDone ? record.partitions : 0);
  run.set_peak_source_connections(record.peak_source_connections);
  *run.mutable_describe_time() = ToProto(record.describe_time);
  *run.mutable_wait_time() = ToProto(record.wait_time);
  *run.mutable_move_time() = ToProto(record.move_time);
  *run.mutable_commit_time() = ToProto(record.commit_time);
  run.set_error(record.error);
  if (record.fire_time.has_value()) *run.mutable_fire_time() = ToProto(*record.fire_time);
  if (!record.retry_of.empty()) run.set_retry_of(absl::StrCat("runs/", record.retry_of));
  if (progress.has_value() && record.status == RunStatus::kRunning) {
    run.set_partitions_done(progress->partitions_done);
    run.set_source_connections(progress->source_connections);
    run.mutable_counts()->set_read(progress->rows_read);
    run.mutable_counts()->set_loaded(progress->rows_loaded);
    run.mutable_counts()->set_bytes_read(progress->bytes_read);
    run.set_error(progress->error);
  }
  return run;
}

v1::RunTask ToTask(const TaskRecord& record) {
  v1::RunTask task;
  task.set_name(absl::StrCat("runs/", record.run_id, "/tasks/", record.id));
  task.set_kind(record.kind);
  task.set_state(ToState(record.state));
  task.set_partition(record.partition);
  *task.mutable_range() = record.range;
  task.set_attempt(record.attempt);
  if (!record.worker_id.empty()) task.set_worker(absl::StrCat("workers/", record.worker_id));
  *task.mutable_counts() = record.counts;
  task.set_error(record.error);
  return task;
}

v1::Connection ToConnection(const ConnectionRecord& record, int open_sessions) {
  v1::Connection connection;
  connection.set_name(absl::StrCat("connections/", record.name));
  *connection.mutable_spec() = record.spec;
  connection.mutable_spec()->clear_dsn();
  connection.mutable_spec()->clear_replicas();
  connection.set_redacted_dsn(record.redacted_dsn);
  connection.set_open_sessions(open_sessions);
  *connection.mutable_create_time() = ToProto(record.created);
  *connection.mutable_update_time() = ToProto(record.updated);
  connection.set_etag(Etag(record.revision));
  return connection;
}

v1::Worker ToWorker(const WorkerView& view) {
  v1::Worker worker;
  worker.set_name(absl::StrCat("workers/", view.id));
  worker.set_state(ToState(view.state));
  worker.set_slots(view.slots);
  worker.set_free_slots(view.free_slots);
  worker.set_version(view.version);
  worker.set_memory_bytes(view.memory_bytes);
  worker.set_spill_bytes(view.spill_bytes);
  *worker.mutable_last_heartbeat() = ToProto(view.last_heartbeat);
  return worker;
}

v1::AuditEvent ToAuditEvent(const AuditEvent& event) {
  v1::AuditEvent shown;
  shown.set_name(absl::StrCat("auditEvents/", event.id));
  *shown.mutable_time() = ToProto(event.time);
  shown.set_actor(event.actor);
  shown.set_action(event.action);
  shown.set_subject(event.subject);
  shown.set_detail(event.detail);
  return shown;
}

}  // namespace tidemark::coordinator
