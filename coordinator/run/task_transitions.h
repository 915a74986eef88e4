#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/run/run_transitions.h"

namespace tidemark::coordinator {

// What one task may do next; see run_transitions.h. A task is queued, leased to one worker as one attempt, and queued
// again or ended.

// queued -> leased, as the next attempt.
struct LeaseTask {
  std::string task_id;
  std::string worker_id;
  std::string incarnation;
  std::string session_id;

  absl::Status CanApply(const RunDraft& draft) const;
  void Apply(RunDraft& draft, const Moment& now) const;
};

// leased -> queued: the attempt failed, or its worker is lost.
struct RequeueTask {
  std::string task_id;
  // Against the job's retry budget.
  bool counts_as_failure = true;
  absl::Time not_before = absl::InfinitePast();
  std::string error;

  absl::Status CanApply(const RunDraft& draft) const;
  void Apply(RunDraft& draft, const Moment& now) const;
};

// leased -> succeeded. Internal if the counts do not balance.
struct CompleteTask {
  std::string task_id;
  v1::RowCounts counts;

  absl::Status CanApply(const RunDraft& draft) const;
  void Apply(RunDraft& draft, const Moment& now) const;
};

// leased -> failed, for good.
struct FailTask {
  std::string task_id;
  std::string error;

  absl::Status CanApply(const RunDraft& draft) const;
  void Apply(RunDraft& draft, const Moment& now) const;
};

}  // namespace tidemark::coordinator
