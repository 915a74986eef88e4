#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/retry_policy.h"
#include "common/base/rng.h"
#include "coordinator/plan/partition_planner.h"
#include "coordinator/run/chain_check.h"
#include "coordinator/run/run_state.h"
#include "coordinator/run/run_transitions.h"

namespace tidemark::coordinator {

// One decision about one run: what to store, and what must follow once it is stored.
struct RunChange {
  explicit RunChange(RunState* changed) : state(changed), draft(changed) {}

  RunState* state;
  RunDraft draft;
  // Jobs, watermarks and audit events that are stored together with the draft.
  WriteBatch with;
  // The run's tasks get a new epoch, above `fence_epoch`: what its former tasks still do is stopped by the target's
  // fence.
  bool raise_epoch = false;
  int64_t fence_epoch = 0;
  // Of a preview: what it was made for, or of what kind the failure is that ends it.
  Plan plan;
  v1::TestResult test;
  absl::StatusCode failure = absl::StatusCode::kFailedPrecondition;
};

// Decides how a run goes on after each thing that happens to it. Pure: reads the run, the job and the moment, and
// writes a change. An error means that the event does not fit the run (a bug, or a stale report) and changes nothing.
class RunController {
 public:
  // `rng` must outlive it.
  RunController(std::string cluster_id, PlanLimits limits, Rng* rng);

  // What the decisions rest on besides the run.
  struct Context {
    const JobRecord* job = nullptr;
    Moment now;
    // Sessions the run's source allows.
    int max_sessions = 1;
    // It has replicas.
    bool replicas = false;
    // For describes alone.
    ChainHistory history;
  };

  // The job's turn has come. Fails the run if the job has changed so that it cannot go on.
  absl::Status Begin(RunChange& change, const Context& context) const;

  // The task must be leased; the result is of its kind.
  absl::Status ReadPointFixed(RunChange& change, const Context& context, const TaskRecord& task,
                              const v1::ReadPoint& point) const;
  absl::Status Described(RunChange& change, const Context& context, const TaskRecord& task,
                         v1::DescribeResult result) const;
  absl::Status Moved(RunChange& change, const Context& context, const TaskRecord& task,
                     const v1::MoveResult& result) const;
  absl::Status Committed(RunChange& change, const Context& context, const TaskRecord& task,
                         const v1::CommitResult& result) const;
  absl::Status Probed(RunChange& change, const Context& context, const TaskRecord& task,
                      const v1::ProbeResult& result) const;
  absl::Status Aborted(RunChange& change, const Context& context, const TaskRecord& task) const;

  absl::Status Tested(RunChange& change, const Context& context, const TaskRecord& task,
                      const v1::TestResult& result) const;

  // The attempt failed.
  absl::Status Failed(RunChange& change, const Context& context, const TaskRecord& task,
                      const v1::TaskError& error) const;

  // The horizon is not where waiting runs want it; the task asks again after `pause`.
  absl::Status HorizonNotReached(RunChange& change, const Context& context, const TaskRecord& task,
                                 absl::Duration pause) const;

  // The worker is lost, and with it the task's outcome. `counts_as_failure` unless its whole process died with ours.
  absl::Status Lost(RunChange& change, const Context& context, const TaskRecord& task, bool counts_as_failure) const;

  // No session holds the run's snapshot any more, and rows are still to be read in it.
  absl::Status SnapshotLost(RunChange& change, const Context& context, const std::string& why) const;

  // The wait for the horizon is over: it was reached, or time is up.
  absl::Status StopWaiting(RunChange& change, const Context& context) const;

  // A worker may be committing the run: it is too late to cancel it.
  static bool CommitUnderWay(const RunDraft& draft);

  // FailedPrecondition while its commit is under way.
  absl::Status Cancel(RunChange& change, const Context& context) const;

  // Stops the run for good; drops its staging unless nothing can be there.
  absl::Status Fail(RunChange& change, const Context& context, const std::string& error, bool drop_staging) const;

 private:
  absl::Status Finished(RunChange& change, const Context& context, const v1::RowCounts& counts) const;
  // The describe has taken the target over as it stands: its ledger is the truth about the job.
  void Adopt(RunChange& change, const Context& context, const v1::DescribeResult& result) const;
  // Drops what was staged, then describes again.
  absl::Status DescribeAnew(RunChange& change, const Context& context, const v1::Window& window,
                            int64_t sequence) const;
  absl::Status Retry(RunChange& change, const Context& context, const TaskRecord& task, const std::string& error,
                     bool counts_as_failure) const;

  std::string cluster_id_;
  PlanLimits limits_;
  Rng* rng_;
};

RetryPolicy RetryPolicyOf(const v1::JobSpec& job);

}  // namespace tidemark::coordinator
