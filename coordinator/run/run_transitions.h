#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/run/run_state.h"
#include "tidemark/v1/worker_control.pb.h"

namespace tidemark::coordinator {

// What a run may do next. A transition is built, checked against the run as it is, and applied to a draft; nothing
// takes effect before the draft is stored. The straight line:
//
//   queued -> describing -> [waiting -> describing] -> moving -> committing -> done
//                 \______________\______________________\_________\______-> aborting -> failed | cancelled
//   moving | describing -> describing: start over, the snapshot was lost.

struct Moment {
  absl::Time wall;
  absl::Duration monotonic;
};

// The reason of a run that was cancelled, and how its end is told from a failure.
inline constexpr char kCancelledByRequest[] = "cancelled by request";

// queued -> describing.
struct Begin {
  v1::Window window;
  int64_t sequence = 0;
  // The source has replicas: what they are read by is fixed on their primary first.
  bool replicas = false;

  absl::Status CanApply(const RunDraft& draft) const;
  void Apply(RunDraft& draft, const Moment& now) const;
};

// queued -> describing, by a task that asks the connection's server who it is.
struct BeginTest {
  absl::Status CanApply(const RunDraft& draft) const;
  void Apply(RunDraft& draft, const Moment& now) const;
};

// describing | waiting -> describing: with another low, or with the horizon there is.
struct DescribeAgain {
  v1::Window window;
  int64_t sequence = 0;
  // As in Begin.
  bool replicas = false;

  absl::Status CanApply(const RunDraft& draft) const;
  void Apply(RunDraft& draft, const Moment& now) const;
};

// describing -> describing: on a replica now.
struct DescribeReplica {
  v1::ReadPoint read_point;

  absl::Status CanApply(const RunDraft& draft) const;
  void Apply(RunDraft& draft, const Moment& now) const;
};

// describing -> waiting for the horizon to reach description.wait_until.
struct WaitForHorizon {
  v1::DescribeResult description;

  absl::Status CanApply(const RunDraft& draft) const;
  void Apply(RunDraft& draft, const Moment& now) const;
};

// describing -> moving: `window` and ranges are stored before any row is read.
struct BeginMoves {
  v1::DescribeResult description;
  v1::Window window;
  int64_t sequence = 0;
  Plan plan;

  absl::Status CanApply(const RunDraft& draft) const;
  void Apply(RunDraft& draft, const Moment& now) const;
};

// moving -> committing: every move has succeeded and balances.
struct BeginCommit {
  absl::Status CanApply(const RunDraft& draft) const;
  void Apply(RunDraft& draft, const Moment& now) const;
};

// committing: what became of the commit is not known; a probe asks the ledger.
struct AskLedger {
  std::string reason;

  absl::Status CanApply(const RunDraft& draft) const;
  void Apply(RunDraft& draft, const Moment& now) const;
};

// committing: the ledger does not have the run.
struct CommitAgain {
  absl::Time not_before = absl::InfinitePast();

  absl::Status CanApply(const RunDraft& draft) const;
  void Apply(RunDraft& draft, const Moment& now) const;
};

// describing (an empty window) | committing (the ledger has it) -> done.
struct Finish {
  v1::RowCounts counts;

  absl::Status CanApply(const RunDraft& draft) const;
  void Apply(RunDraft& draft, const Moment& now) const;
};

// Any phase that has not ended -> aborting, or its end at once where there is no staging to drop. What is leased is
// cancelled.
struct BeginAbort {
  std::string error;
  bool drop_staging = true;

  absl::Status CanApply(const RunDraft& draft) const;
  void Apply(RunDraft& draft, const Moment& now) const;
};

// aborting -> failed | cancelled.
struct EndAbort {
  // What is left behind, if anything; added to the run's error.
  std::string remark;

  absl::Status CanApply(const RunDraft& draft) const;
  void Apply(RunDraft& draft, const Moment& now) const;
};

// describing | moving -> describing, after an abort task has dropped what was staged: snapshots are never mixed. The
// run's tasks must get a new epoch.
struct StartOver {
  std::string reason;

  absl::Status CanApply(const RunDraft& draft) const;
  void Apply(RunDraft& draft, const Moment& now) const;
};

// Checks, then applies. FailedPrecondition or Internal leaves the draft as it was.
template <typename Transition>
absl::Status Take(const Transition& transition, RunDraft& draft, const Moment& now) {
  absl::Status status = transition.CanApply(draft);
  if (status.ok()) transition.Apply(draft, now);
  return status;
}

// Rows that a move has put into staging.
int64_t StagedRows(const TaskRecord& move);

}  // namespace tidemark::coordinator
