#include "coordinator/run/run_transitions.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "common/model/row_counts.h"

namespace tidemark::coordinator {
namespace {

absl::Status InPhase(const RunDraft& draft, std::string_view what, std::initializer_list<RunPhase> phases) {
  const RunPhase phase = draft.run().phase;
  if (std::find(phases.begin(), phases.end(), phase) != phases.end()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("run ", draft.run().id, " is ", Abs(Name(phase)), ": it cannot ", Abs(what)));
}

absl::Duration* TimeOf(RunRecord& run, RunPhase phase) {
  switch (phase) {
    case RunPhase::kDescribing:
      return &run.describe_time;
    case RunPhase::kWaiting:
      return &run.wait_time;
    case RunPhase::kMoving:
      return &run.move_time;
    case RunPhase::kCommitting:
      return &run.commit_time;
    default:
      return nullptr;
  }
}

void EnterPhase(RunDraft& draft, RunPhase phase, const Moment& now) {
  const RunPhase stored = draft.base().run.phase;
  const bool first = draft.run().phase == stored;
  RunRecord& run = draft.mutable_run();
  if (absl::Duration* time = TimeOf(run, stored); time != nullptr && first && phase != stored) {
    // A microsecond at least: it tells that the phase was passed, and is the store's resolution.
    *time += std::max(absl::Microseconds(1), now.monotonic - draft.base().phase_since);
  }
  run.phase = phase;
}

void EndRun(RunDraft& draft, RunPhase phase, RunStatus status, const Moment& now) {
  EnterPhase(draft, phase, now);
  draft.mutable_run().status = status;
  draft.mutable_run().ended = now.wall;
}

// Nothing queued is leased any more, and what is leased no longer counts.
void CancelOpenTasks(RunDraft& draft) {
  for (const TaskRecord* task : draft.Tasks()) {
    if (task->state != TaskState::kQueued && task->state != TaskState::kLeased) continue;
    if (task->state == TaskState::kLeased) {
      draft.Drain({task->id, task->attempt, task->worker_id, task->incarnation});
    }
    draft.mutable_task(task->id).state = TaskState::kCancelled;
  }
}

void CancelAll(RunDraft& draft, v1::TaskKind kind) {
  for (const TaskRecord* task : CurrentTasks(draft, kind)) draft.mutable_task(task->id).state = TaskState::kCancelled;
}

TaskRecord NewTask(const RunDraft& draft, v1::TaskKind kind, std::string id) {
  TaskRecord task;
  task.id = std::move(id);
  task.run_id = draft.run().id;
  task.kind = kind;
  return task;
}

// "RUN-c2": ids tell kind and ordinal, and a run's life is its number of describes.
TaskRecord NewTask(const RunDraft& draft, v1::TaskKind kind, const char* letter) {
  return NewTask(draft, kind, absl::StrCat(draft.run().id, "-", letter, CountTasks(draft, kind) + 1));
}

void AddDescribe(RunDraft& draft, bool replicas) {
  draft.AddTask(replicas ? NewTask(draft, v1::TASK_KIND_READ_POINT, "r") : NewTask(draft, v1::TASK_KIND_DESCRIBE, "d"));
}

}  // namespace

int64_t StagedRows(const TaskRecord& move) {
  return move.counts.read() - move.counts.filtered() - move.counts.quarantined();
}

absl::Status Begin::CanApply(const RunDraft& draft) const { return InPhase(draft, "begin", {RunPhase::kQueued}); }

void Begin::Apply(RunDraft& draft, const Moment& now) const {
  EnterPhase(draft, RunPhase::kDescribing, now);
  RunRecord& run = draft.mutable_run();
  run.started = now.wall;
  run.window = window;
  run.sequence = sequence;
  AddDescribe(draft, replicas);
}

absl::Status BeginTest::CanApply(const RunDraft& draft) const {
  return InPhase(draft, "test a connection", {RunPhase::kQueued});
}

void BeginTest::Apply(RunDraft& draft, const Moment& now) const {
  EnterPhase(draft, RunPhase::kDescribing, now);
  draft.AddTask(NewTask(draft, v1::TASK_KIND_TEST, "t"));
}

absl::Status DescribeAgain::CanApply(const RunDraft& draft) const {
  return InPhase(draft, "describe again", {RunPhase::kDescribing, RunPhase::kWaiting});
}

void DescribeAgain::Apply(RunDraft& draft, const Moment& now) const {
  CancelOpenTasks(draft);
  CancelAll(draft, v1::TASK_KIND_DESCRIBE);
  EnterPhase(draft, RunPhase::kDescribing, now);
  RunRecord& run = draft.mutable_run();
  run.window = window;
  run.sequence = sequence;
  run.description.reset();
  AddDescribe(draft, replicas);
}

absl::Status DescribeReplica::CanApply(const RunDraft& draft) const {
  return InPhase(draft, "describe a replica", {RunPhase::kDescribing});
}

void DescribeReplica::Apply(RunDraft& draft, const Moment&) const {
  *draft.mutable_run().description.emplace().mutable_read_point() = read_point;
  draft.AddTask(NewTask(draft, v1::TASK_KIND_DESCRIBE, "d"));
}

absl::Status WaitForHorizon::CanApply(const RunDraft& draft) const {
  TM_RETURN_IF_ERROR(InPhase(draft, "wait", {RunPhase::kDescribing}));
  if (description.has_wait_until()) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("the describe of run ", draft.run().id, " asks to wait and does not say for what"));
}

void WaitForHorizon::Apply(RunDraft& draft, const Moment& now) const {
  EnterPhase(draft, RunPhase::kWaiting, now);
  draft.mutable_run().description = description;
}

absl::Status BeginMoves::CanApply(const RunDraft& draft) const {
  return InPhase(draft, "move", {RunPhase::kDescribing});
}

void BeginMoves::Apply(RunDraft& draft, const Moment& now) const {
  EnterPhase(draft, RunPhase::kMoving, now);
  RunRecord& run = draft.mutable_run();
  run.window = window;
  run.sequence = sequence;
  run.partitions = static_cast<int>(plan.ranges.size());
  run.description = description;
  // The format chosen is the first; the facts that led to the ranges are of no more use.
  run.description->clear_formats();
  run.description->add_formats(plan.format);
  run.description->clear_partition_facts();
  const int life = CountTasks(draft, v1::TASK_KIND_DESCRIBE);
  for (size_t i = 0; i < plan.ranges.size(); ++i) {
    TaskRecord move =
        NewTask(draft, v1::TASK_KIND_MOVE, absl::StrFormat("%s-m%d-%05d", draft.run().id, life, static_cast<int>(i)));
    move.partition = static_cast<int>(i);
    move.range = plan.ranges[i];
    draft.AddTask(std::move(move));
  }
}

absl::Status BeginCommit::CanApply(const RunDraft& draft) const {
  TM_RETURN_IF_ERROR(InPhase(draft, "commit", {RunPhase::kMoving}));
  const std::vector<const TaskRecord*> moves = CurrentTasks(draft, v1::TASK_KIND_MOVE);
  if (static_cast<int>(moves.size()) != draft.run().partitions) {
    return absl::InternalError(absl::StrCat("run ", draft.run().id, " has ", moves.size(), " moves for ",
                                            draft.run().partitions, " partitions"));
  }
  for (const TaskRecord* move : moves) {
    if (move->state != TaskState::kSucceeded) {
      return absl::FailedPreconditionError(
          absl::StrCat("partition ", move->partition, " of run ", draft.run().id, " has not been moved"));
    }
  }
  return absl::OkStatus();
}

void BeginCommit::Apply(RunDraft& draft, const Moment& now) const {
  EnterPhase(draft, RunPhase::kCommitting, now);
  draft.AddTask(NewTask(draft, v1::TASK_KIND_COMMIT, "c"));
}

absl::Status AskLedger::CanApply(const RunDraft& draft) const {
  return InPhase(draft, "ask the ledger", {RunPhase::kCommitting});
}

void AskLedger::Apply(RunDraft& draft, const Moment& now) const {
  for (const TaskRecord* task : CurrentTasks(draft, v1::TASK_KIND_COMMIT)) {
    // A worker that still commits is not stopped: the ledger takes the run once, whoever wins.
    TaskRecord& commit = draft.mutable_task(task->id);
    commit.state = TaskState::kCancelled;
    commit.error = reason;
  }
  draft.AddTask(NewTask(draft, v1::TASK_KIND_PROBE, "p"));
}

absl::Status CommitAgain::CanApply(const RunDraft& draft) const {
  TM_RETURN_IF_ERROR(InPhase(draft, "commit again", {RunPhase::kCommitting}));
  if (CurrentTasks(draft, v1::TASK_KIND_COMMIT).empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("run ", draft.run().id, " has a commit under way"));
}

void CommitAgain::Apply(RunDraft& draft, const Moment& now) const {
  CancelAll(draft, v1::TASK_KIND_PROBE);
  TaskRecord commit = NewTask(draft, v1::TASK_KIND_COMMIT, "c");
  commit.not_before = not_before;
  // One retry budget for all attempts to commit.
  for (const TaskRecord* task : draft.Tasks()) {
    if (task->kind == v1::TASK_KIND_COMMIT) commit.failures = std::max(commit.failures, task->failures + 1);
  }
  draft.AddTask(std::move(commit));
}

absl::Status Finish::CanApply(const RunDraft& draft) const {
  TM_RETURN_IF_ERROR(InPhase(draft, "finish", {RunPhase::kDescribing, RunPhase::kCommitting}));
  if (Balances(counts)) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("run ", draft.run().id, " does not balance: ", Summary(counts)));
}

void Finish::Apply(RunDraft& draft, const Moment& now) const {
  CancelOpenTasks(draft);
  EndRun(draft, RunPhase::kDone, RunStatus::kSuccess, now);
  draft.mutable_run().counts = counts;
  draft.mutable_run().error.clear();
}

absl::Status BeginAbort::CanApply(const RunDraft& draft) const {
  return InPhase(
      draft, "be aborted",
      {RunPhase::kQueued, RunPhase::kDescribing, RunPhase::kWaiting, RunPhase::kMoving, RunPhase::kCommitting});
}

void BeginAbort::Apply(RunDraft& draft, const Moment& now) const {
  CancelOpenTasks(draft);
  draft.mutable_run().error = error;
  EnterPhase(draft, RunPhase::kAborting, now);
  if (drop_staging) {
    draft.AddTask(NewTask(draft, v1::TASK_KIND_ABORT, "a"));
  } else {
    EndAbort().Apply(draft, now);
  }
}

absl::Status EndAbort::CanApply(const RunDraft& draft) const { return InPhase(draft, "end", {RunPhase::kAborting}); }

void EndAbort::Apply(RunDraft& draft, const Moment& now) const {
  const bool cancelled = draft.run().error == kCancelledByRequest;
  CancelOpenTasks(draft);
  EndRun(draft, cancelled ? RunPhase::kCancelled : RunPhase::kFailed, RunStatus::kFailed, now);
  RunRecord& run = draft.mutable_run();
  // What is read of a run that moved nothing into its target is neither loaded nor filtered: it has no counts.
  run.counts.Clear();
  if (!remark.empty()) absl::StrAppend(&run.error, "; ", remark);
}

absl::Status StartOver::CanApply(const RunDraft& draft) const {
  return InPhase(draft, "start over", {RunPhase::kDescribing, RunPhase::kMoving});
}

void StartOver::Apply(RunDraft& draft, const Moment& now) const {
  CancelOpenTasks(draft);
  CancelAll(draft, v1::TASK_KIND_DESCRIBE);
  CancelAll(draft, v1::TASK_KIND_MOVE);
  EnterPhase(draft, RunPhase::kDescribing, now);
  RunRecord& run = draft.mutable_run();
  run.description.reset();
  run.partitions = 0;
  run.error = reason;
  if (run.window.kind() != v1::WINDOW_KIND_RANGE) run.window.clear_high();
  draft.AddTask(NewTask(draft, v1::TASK_KIND_ABORT, "a"));
}

}  // namespace tidemark::coordinator
