#include "coordinator/run/task_transitions.h"

#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "common/model/row_counts.h"

namespace tidemark::coordinator {
namespace {

absl::Status InState(const RunDraft& draft, const std::string& task_id, TaskState state) {
  const TaskRecord* task = draft.FindTask(task_id);
  if (task == nullptr) return absl::NotFoundError(absl::StrCat("no task ", task_id));
  if (task->state == state) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("task ", task_id, " is ", Abs(Name(task->state)), ", not ", Abs(Name(state))));
}

}  // namespace

absl::Status LeaseTask::CanApply(const RunDraft& draft) const { return InState(draft, task_id, TaskState::kQueued); }

void LeaseTask::Apply(RunDraft& draft, const Moment& now) const {
  TaskRecord& task = draft.mutable_task(task_id);
  task.state = TaskState::kLeased;
  ++task.attempt;
  task.worker_id = worker_id;
  task.incarnation = incarnation;
  task.session_id = session_id;
  task.extracted = false;
}

absl::Status RequeueTask::CanApply(const RunDraft& draft) const { return InState(draft, task_id, TaskState::kLeased); }

void RequeueTask::Apply(RunDraft& draft, const Moment& now) const {
  TaskRecord& task = draft.mutable_task(task_id);
  task.state = TaskState::kQueued;
  task.failures += counts_as_failure;
  task.not_before = not_before;
  task.extracted = false;
  task.error = error;
}

absl::Status CompleteTask::CanApply(const RunDraft& draft) const {
  TM_RETURN_IF_ERROR(InState(draft, task_id, TaskState::kLeased));
  if (Balances(counts)) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("does not balance: ", Summary(counts)));
}

void CompleteTask::Apply(RunDraft& draft, const Moment& now) const {
  TaskRecord& task = draft.mutable_task(task_id);
  task.state = TaskState::kSucceeded;
  task.counts = counts;
  task.extracted = true;
  task.error.clear();
}

absl::Status FailTask::CanApply(const RunDraft& draft) const { return InState(draft, task_id, TaskState::kLeased); }

void FailTask::Apply(RunDraft& draft, const Moment& now) const {
  TaskRecord& task = draft.mutable_task(task_id);
  task.state = TaskState::kFailed;
  ++task.failures;
  task.error = error;
}

}  // namespace tidemark::coordinator
