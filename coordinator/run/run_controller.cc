#include "coordinator/run/run_controller.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "common/model/duration.h"
#include "common/model/row_counts.h"
#include "common/model/watermark.h"
#include "coordinator/run/task_transitions.h"

namespace tidemark::coordinator {
namespace {

// Dropping the staging of a run that has failed anyway is not worth waiting for long: the job's next run drops it too.
constexpr int kAbortAttempts = 3;

// How often a task of the run is tried. Who has cancelled it waits for its end.
RetryPolicy TaskPolicy(const RunRecord& run) {
  RetryPolicy policy = RetryPolicyOf(run.spec);
  if (run.phase == RunPhase::kAborting) {
    policy.max_attempts = std::min(policy.max_attempts, run.error == kCancelledByRequest ? 1 : kAbortAttempts);
  }
  return policy;
}

bool HasNullWatermarks(const RunRecord& run, const v1::DescribeResult& description) {
  if (run.window.kind() == v1::WINDOW_KIND_RANGE) return false;
  const v1::SourceSpec& source = run.spec.source();
  const bool wanted = IsUnboundedFull(run) || source.null_watermark() == v1::NULL_WATERMARK_REREAD;
  if (source.watermark().empty()) return false;
  for (const v1::Column& column : description.source_schema().columns()) {
    if (column.name() == source.watermark()) return wanted && column.nullable();
  }
  return false;
}

std::optional<v1::Watermark> LowOf(const v1::Window& window) {
  return window.has_low() ? std::optional(window.low()) : std::nullopt;
}

std::optional<v1::Watermark> HighOf(const v1::LedgerHead& head) {
  return head.has_high() ? std::optional(head.high()) : std::nullopt;
}

void StartAt(const v1::LedgerHead& head, v1::Window& window) {
  window.clear_low();
  if (head.has_high()) *window.mutable_low() = head.high();
}

AuditEvent Adopted(const Moment& now, const JobRecord& job, const v1::LedgerHead& head) {
  AuditEvent event;
  event.time = now.wall;
  event.actor = "coordinator";
  event.action = "job.adopt_ledger";
  event.subject = absl::StrCat("jobs/", job.spec.name());
  event.detail = absl::StrCat("the target's ledger (run ", head.run_id(), ", sequence ", head.sequence(),
                              ") stands at ", head.has_high() ? Text(head.high()) : "no watermark", ", the store at ",
                              job.last_watermark.has_value() ? Text(*job.last_watermark) : "no watermark");
  return event;
}

}  // namespace

RetryPolicy RetryPolicyOf(const v1::JobSpec& job) {
  RetryPolicy policy;
  if (job.retry().attempts() > 0) policy.max_attempts = job.retry().attempts();
  if (job.retry().has_backoff()) policy.initial_backoff = FromProto(job.retry().backoff());
  return policy;
}

RunController::RunController(std::string cluster_id, PlanLimits limits, Rng* rng)
    : cluster_id_(std::move(cluster_id)), limits_(limits), rng_(rng) {}

absl::Status RunController::Begin(RunChange& change, const Context& context) const {
  if (change.draft.base().tests_connection) return Take(BeginTest(), change.draft, context.now);
  const RunRecord& run = change.draft.run();
  v1::Window window = run.window;
  // A backfill stands apart from the chain that is adopted.
  if (window.kind() != v1::WINDOW_KIND_RANGE) window.set_adopt(context.job->adopting);
  if (window.kind() == v1::WINDOW_KIND_WINDOW) {
    if (absl::Status fits = CheckChange(*context.job, context.history.last_success); !fits.ok()) {
      return Fail(change, context, std::string(fits.message()), /*drop_staging=*/false);
    }
    window.clear_low();
    if (context.job->last_watermark.has_value()) *window.mutable_low() = *context.job->last_watermark;
  }
  return Take(coordinator::Begin{.window = window,
                                 .sequence = std::max(run.sequence, context.job->last_sequence + 1),
                                 .replicas = context.replicas},
              change.draft, context.now);
}

absl::Status RunController::ReadPointFixed(RunChange& change, const Context& context, const TaskRecord& task,
                                           const v1::ReadPoint& point) const {
  TM_RETURN_IF_ERROR(Take(CompleteTask{.task_id = task.id, .counts = {}}, change.draft, context.now));
  return Take(DescribeReplica{.read_point = point}, change.draft, context.now);
}

absl::Status RunController::Described(RunChange& change, const Context& context, const TaskRecord& task,
                                      v1::DescribeResult result) const {
  RunDraft& draft = change.draft;
  TM_RETURN_IF_ERROR(Take(CompleteTask{.task_id = task.id, .counts = {}}, draft, context.now));
  const RunRecord& run = draft.run();
  if (run.description.has_value()) {
    *result.mutable_read_point() = run.description->read_point();
    *result.mutable_servers() = run.description->servers();
  }
  const bool final_horizon = run.wait_time > absl::ZeroDuration();

  const v1::LedgerHead& head = result.ledger();
  const bool preview = draft.base().preview;
  JobRecord standing = *context.job;
  // A preview leaves the job as it is and looks at what the run would see once it has adopted the ledger: its window
  // says that it has.
  if (preview && head.exists() && StandsAt(LowOf(run.window), head)) standing.last_watermark = HighOf(head);
  absl::StatusOr<ChainVerdict> chain = CheckChain(run, standing, result, cluster_id_, context.history);
  if (!chain.ok()) return Fail(change, context, std::string(chain.status().message()), /*drop_staging=*/true);
  if (chain->kind == ChainVerdict::Kind::kAdopt) {
    if (preview) {
      v1::Window window = run.window;
      StartAt(head, window);
      return Take(DescribeAgain{.window = window, .sequence = chain->sequence, .replicas = context.replicas}, draft,
                  context.now);
    }
    if (run.window.adopt()) {
      Adopt(change, context, result);
    } else {
      change.with.watermarks.push_back({.job_uid = context.job->uid,
                                        .run_id = head.run_id(),
                                        .low = context.job->last_watermark,
                                        .high = HighOf(head),
                                        .sequence = head.sequence(),
                                        .source_identity = result.source_identity()});
      change.with.audit.push_back(Adopted(context.now, *context.job, head));
    }
    v1::Window window = draft.run().window;
    StartAt(head, window);
    return DescribeAnew(change, context, window, chain->sequence);
  }
  if (run.window.adopt() && !preview) Adopt(change, context, result);
  if (result.should_wait() && !final_horizon && !preview) {
    return Take(WaitForHorizon{.description = result}, draft, context.now);
  }

  v1::Window window = draft.run().window;
  window.set_overlap(chain->overlap);
  window.set_nulls(HasNullWatermarks(run, result));
  // Where no rule gives a horizon there is no window; where a window is empty its bound may stand below its low.
  if (window.kind() != v1::WINDOW_KIND_RANGE && result.has_high()) *window.mutable_high() = result.high();
  if (window.kind() == v1::WINDOW_KIND_WINDOW && result.empty_window()) {
    window.clear_high();
    // An attempt before this one may have prepared the staging, which nobody would drop any more.
    if (task.attempt > 1 && !preview) return DescribeAnew(change, context, window, chain->sequence);
    RunRecord& empty = draft.mutable_run();
    empty.window = window;
    empty.description = result;
    empty.sequence = chain->sequence;
    return Take(Finish{}, draft, context.now);
  }
  if (!run.spec.source().watermark().empty() && !window.has_high()) {
    return Fail(change, context,
                absl::StrCat("the describe of job ", run.job_name, " found no upper bound for its window"),
                /*drop_staging=*/true);
  }

  v1::PartitionSpec partition = run.spec.source().partition();
  if (NeedsSnapshot(run) && !result.has_snapshot()) {
    // Several reads would see several states of the source.
    partition.Clear();
    partition.set_count(1);
  }
  PlanLimits limits = limits_;
  limits.max_sessions = context.max_sessions;
  absl::StatusOr<Plan> plan = PlanPartitions(result, partition, result.has_snapshot(), limits);
  if (!plan.ok()) {
    return Fail(change, context, absl::StrCat("job ", run.job_name, ": ", plan.status().message()),
                /*drop_staging=*/true);
  }
  if (preview) {
    change.plan = *std::move(plan);
    draft.mutable_run().window = window;
    draft.mutable_run().description = result;
    return Take(Finish{}, draft, context.now);
  }
  TM_RETURN_IF_ERROR(
      Take(BeginMoves{.description = result, .window = window, .sequence = chain->sequence, .plan = *plan}, draft,
           context.now));
  draft.mutable_run().error.clear();
  if (plan->ranges.empty()) return Take(BeginCommit(), draft, context.now);
  return absl::OkStatus();
}

void RunController::Adopt(RunChange& change, const Context& context, const v1::DescribeResult& result) const {
  JobRecord job = *context.job;
  job.adopting = false;
  const v1::LedgerHead& head = result.ledger();
  // A full refresh has taken the table, and leaves the chain to whoever it was.
  const bool owned = head.exists() && head.cluster_id() == cluster_id_ && head.job_uid() == job.uid;
  if (owned && !StandsAt(job.last_watermark, head)) {
    // Whichever way it leads.
    change.with.audit.push_back(Adopted(context.now, job, head));
    job.last_watermark = HighOf(head);
    job.source_identity = result.source_identity();
  }
  if (owned) job.last_sequence = std::max(job.last_sequence, head.sequence());
  change.with.jobs.push_back(std::move(job));
  // Whoever takes the target over from now on does not lose it to this run.
  change.draft.mutable_run().window.clear_adopt();
}

absl::Status RunController::DescribeAnew(RunChange& change, const Context& context, const v1::Window& window,
                                         int64_t sequence) const {
  RunRecord& run = change.draft.mutable_run();
  run.window = window;
  run.sequence = sequence;
  change.raise_epoch = true;
  return Take(StartOver{.reason = ""}, change.draft, context.now);
}

absl::Status RunController::Moved(RunChange& change, const Context& context, const TaskRecord& task,
                                  const v1::MoveResult& result) const {
  // A move reports what it has read; what is neither filtered nor quarantined of it stands in staging.
  v1::RowCounts counts = result.counts();
  if (counts.loaded() == 0) counts.set_loaded(counts.read() - counts.filtered() - counts.quarantined());
  absl::Status status = Take(CompleteTask{.task_id = task.id, .counts = counts}, change.draft, context.now);
  if (absl::IsInternal(status)) {
    return Fail(change, context,
                absl::StrCat("partition ", task.partition, " of run ", task.run_id, " ", status.message()),
                /*drop_staging=*/true);
  }
  TM_RETURN_IF_ERROR(status);
  for (const TaskRecord* move : CurrentTasks(change.draft, v1::TASK_KIND_MOVE)) {
    if (move->state != TaskState::kSucceeded) return absl::OkStatus();
  }
  return Take(BeginCommit(), change.draft, context.now);
}

absl::Status RunController::Committed(RunChange& change, const Context& context, const TaskRecord& task,
                                      const v1::CommitResult& result) const {
  TM_RETURN_IF_ERROR(Take(CompleteTask{.task_id = task.id, .counts = result.counts()}, change.draft, context.now));
  return Finished(change, context, result.counts());
}

absl::Status RunController::Probed(RunChange& change, const Context& context, const TaskRecord& task,
                                   const v1::ProbeResult& result) const {
  TM_RETURN_IF_ERROR(Take(CompleteTask{.task_id = task.id, .counts = {}}, change.draft, context.now));
  if (result.committed()) return Finished(change, context, result.counts());
  // Without its staging the run cannot be committed any more, ever.
  if (!result.staging_exists()) {
    return Fail(
        change, context,
        absl::StrCat("run ", task.run_id,
                     ": its staging is gone from the target and its ledger does not have it: run the job again"),
        /*drop_staging=*/false);
  }
  int failures = 0;
  std::string last;
  for (const TaskRecord* other : change.draft.Tasks()) {
    if (other->kind != v1::TASK_KIND_COMMIT || other->failures < failures) continue;
    failures = other->failures + 1;
    last = other->error;
  }
  const RetryPolicy policy = TaskPolicy(change.draft.run());
  if (policy.Exhausted(failures)) {
    return Fail(change, context, absl::StrCat(last, " (attempt ", failures, " of ", policy.max_attempts, ")"),
                /*drop_staging=*/true);
  }
  return Take(CommitAgain{.not_before = context.now.wall + policy.BackoffBefore(failures + 1, *rng_)}, change.draft,
              context.now);
}

absl::Status RunController::Finished(RunChange& change, const Context& context, const v1::RowCounts& of_commit) const {
  // The commit accounts for the rows staged; what the moves filtered or quarantined never got there.
  v1::RowCounts counts = of_commit;
  int64_t staged = 0;
  counts.set_bytes_read(0);
  for (const TaskRecord* move : CurrentTasks(change.draft, v1::TASK_KIND_MOVE)) {
    staged += StagedRows(*move);
    v1::RowCounts before_staging = move->counts;
    before_staging.set_read(move->counts.filtered() + move->counts.quarantined());
    before_staging.set_loaded(0);
    Add(before_staging, &counts);
  }
  if (of_commit.read() != staged) {
    return Fail(change, context,
                absl::StrCat("run ", change.draft.run().id, " does not balance: staged ", FormatCount(staged),
                             ", committed ", Summary(of_commit)),
                /*drop_staging=*/true);
  }
  absl::Status finished = Take(Finish{.counts = counts}, change.draft, context.now);
  if (absl::IsInternal(finished)) return Fail(change, context, std::string(finished.message()), /*drop_staging=*/true);
  TM_RETURN_IF_ERROR(finished);

  const RunRecord& run = change.draft.run();
  if (run.window.kind() == v1::WINDOW_KIND_RANGE) return absl::OkStatus();
  const std::string identity = run.description.has_value() ? run.description->source_identity() : "";
  // A full load without a watermark starts a chain that has none.
  change.with.watermarks.push_back({.job_uid = run.job_uid,
                                    .run_id = run.id,
                                    .low = context.job->last_watermark,
                                    .high = run.window.has_high() ? std::optional(run.window.high()) : std::nullopt,
                                    .sequence = run.sequence,
                                    .source_identity = identity});
  return absl::OkStatus();
}

absl::Status RunController::Aborted(RunChange& change, const Context& context, const TaskRecord& task) const {
  TM_RETURN_IF_ERROR(Take(CompleteTask{.task_id = task.id, .counts = {}}, change.draft, context.now));
  const RunRecord& run = change.draft.run();
  if (run.phase == RunPhase::kAborting) return Take(EndAbort(), change.draft, context.now);
  return Take(DescribeAgain{.window = run.window, .sequence = run.sequence, .replicas = context.replicas}, change.draft,
              context.now);
}

absl::Status RunController::Tested(RunChange& change, const Context& context, const TaskRecord& task,
                                   const v1::TestResult& result) const {
  TM_RETURN_IF_ERROR(Take(CompleteTask{.task_id = task.id, .counts = {}}, change.draft, context.now));
  change.test = result;
  return Take(Finish{}, change.draft, context.now);
}

absl::Status RunController::Failed(RunChange& change, const Context& context, const TaskRecord& task,
                                   const v1::TaskError& error) const {
  RunDraft& draft = change.draft;
  if (error.code() != 0) change.failure = static_cast<absl::StatusCode>(error.code());
  if (error.fence_epoch() > 0) {
    // The target has seen a later leader of this same store (it was restored), or a later life of this run.
    change.raise_epoch = error.fence_epoch() > draft.base().fence_epoch;
    change.fence_epoch = error.fence_epoch();
    return Retry(change, context, task, error.message(), /*counts_as_failure=*/true);
  }
  switch (task.kind) {
    case v1::TASK_KIND_ABORT:
      return Retry(change, context, task, error.message(), /*counts_as_failure=*/true);
    case v1::TASK_KIND_COMMIT:
      if (error.outcome_unknown()) {
        return Take(AskLedger{.reason = error.message()}, draft, context.now);
      }
      break;
    case v1::TASK_KIND_HORIZON:
      // The wait ends in a describe, which meets the same error if it stays.
      return Retry(change, context, task, error.message(), /*counts_as_failure=*/false);
    default:
      break;
  }
  // A move may be done twice: the second attempt finds the first. Of a snapshot that was lost with one session, another
  // may be a holder still.
  if (error.retryable() || error.outcome_unknown() || error.snapshot_lost()) {
    return Retry(change, context, task, error.message(), /*counts_as_failure=*/true);
  }
  // A describe that answers has prepared nothing, and what is asked of the primary comes before it.
  const bool staged =
      task.kind != v1::TASK_KIND_READ_POINT && (task.kind != v1::TASK_KIND_DESCRIBE || task.attempt > 1);
  TM_RETURN_IF_ERROR(Take(FailTask{.task_id = task.id, .error = error.message()}, draft, context.now));
  return Fail(change, context, error.message(), staged);
}

absl::Status RunController::Retry(RunChange& change, const Context& context, const TaskRecord& task,
                                  const std::string& error, bool counts_as_failure) const {
  const RetryPolicy policy = TaskPolicy(change.draft.run());
  const int failures = task.failures + counts_as_failure;
  if (counts_as_failure && policy.Exhausted(failures)) {
    TM_RETURN_IF_ERROR(Take(FailTask{.task_id = task.id, .error = error}, change.draft, context.now));
    if (change.draft.run().phase == RunPhase::kAborting) {
      return Take(EndAbort{.remark = absl::StrCat("its staging is left behind until the job's next run: ", error)},
                  change.draft, context.now);
    }
    const bool unknown = task.kind == v1::TASK_KIND_PROBE;
    return Fail(change, context,
                absl::StrCat(
                    error, unknown ? " (whether the run was committed is not known; the job's next run finds out)" : "",
                    " (attempt ", failures, " of ", policy.max_attempts, ")"),
                // What has just failed to be dropped is not tried once more.
                /*drop_staging=*/!unknown && task.kind != v1::TASK_KIND_ABORT);
  }
  const absl::Duration backoff = policy.BackoffBefore(std::max(2, failures + 1), *rng_);
  return Take(RequeueTask{.task_id = task.id,
                          .counts_as_failure = counts_as_failure,
                          .not_before = context.now.wall + backoff,
                          .error = error},
              change.draft, context.now);
}

absl::Status RunController::HorizonNotReached(RunChange& change, const Context& context, const TaskRecord& task,
                                              absl::Duration pause) const {
  return Take(
      RequeueTask{.task_id = task.id, .counts_as_failure = false, .not_before = context.now.wall + pause, .error = ""},
      change.draft, context.now);
}

absl::Status RunController::Lost(RunChange& change, const Context& context, const TaskRecord& task,
                                 bool counts_as_failure) const {
  const std::string why = absl::StrCat("worker ", task.worker_id, " was lost while it held task ", task.id);
  if (task.kind == v1::TASK_KIND_COMMIT) return Take(AskLedger{.reason = why}, change.draft, context.now);
  // A lost describe that goes on would prepare the staging anew, under the moves of the next attempt.
  if (task.kind == v1::TASK_KIND_DESCRIBE) change.raise_epoch = true;
  const RetryPolicy policy = TaskPolicy(change.draft.run());
  if (counts_as_failure && policy.Exhausted(task.failures + 1)) return Retry(change, context, task, why, true);
  return Take(RequeueTask{.task_id = task.id, .counts_as_failure = counts_as_failure, .error = why}, change.draft,
              context.now);
}

absl::Status RunController::SnapshotLost(RunChange& change, const Context& context, const std::string& why) const {
  const int lives = CountTasks(change.draft, v1::TASK_KIND_ABORT) + 1;
  if (RetryPolicyOf(change.draft.run().spec).Exhausted(lives)) {
    return Fail(change, context, absl::StrCat("the source's snapshot was lost ", lives, " times, last: ", why),
                /*drop_staging=*/true);
  }
  TM_RETURN_IF_ERROR(Take(StartOver{.reason = absl::StrCat("started over: the source's snapshot was lost: ", why)},
                          change.draft, context.now));
  change.raise_epoch = true;
  return absl::OkStatus();
}

absl::Status RunController::StopWaiting(RunChange& change, const Context& context) const {
  const RunRecord& run = change.draft.run();
  return Take(DescribeAgain{.window = run.window, .sequence = run.sequence, .replicas = context.replicas}, change.draft,
              context.now);
}

bool RunController::CommitUnderWay(const RunDraft& draft) {
  if (draft.run().phase != RunPhase::kCommitting) return false;
  const std::vector<const TaskRecord*> commits = CurrentTasks(draft, v1::TASK_KIND_COMMIT);
  return commits.empty() || commits.front()->state == TaskState::kLeased;
}

absl::Status RunController::Cancel(RunChange& change, const Context& context) const {
  const RunRecord& run = change.draft.run();
  if (run.phase == RunPhase::kAborting) return absl::OkStatus();
  if (CommitUnderWay(change.draft)) {
    return absl::FailedPreconditionError(
        absl::StrCat("run ", run.id, " is being committed: it is too late to cancel it"));
  }
  bool touched = false;
  for (const TaskRecord* task : change.draft.Tasks()) touched |= task->attempt > 0;
  return Fail(change, context, kCancelledByRequest, touched);
}

absl::Status RunController::Fail(RunChange& change, const Context& context, const std::string& error,
                                 bool drop_staging) const {
  return Take(BeginAbort{.error = error, .drop_staging = drop_staging && !change.draft.base().preview}, change.draft,
              context.now);
}

}  // namespace tidemark::coordinator
