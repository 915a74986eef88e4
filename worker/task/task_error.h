#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "tidemark/v1/worker_control.pb.h"

namespace tidemark {

// Whether the same step may succeed later, with nothing changed by the user: Unavailable, Aborted, ResourceExhausted or
// DeadlineExceeded.
bool IsRetryable(const absl::Status& status);

// Marks an error as one of a source session: DataLoss there means that the run's snapshot is gone.
absl::Status FromSource(absl::Status status);

// Marks an error as one that another replica, or this one later, may not have: as a retryable one.
absl::Status ReplicaUnfit(std::string_view message);

// The error of the last of `tries` that a task had of its own, which it says. Nobody tries again after it.
absl::Status AfterLastTry(const absl::Status& error, int tries);

// What the coordinator is told. The one place where a Status becomes a TaskError:
//   retryable         IsRetryable, or a spill whose disk did not keep what was written (the source is read again)
//   snapshot_lost     DataLoss that passed FromSource
//   at_source         passed FromSource
//   replica_unfit     ReplicaUnfit
//   outcome_unknown   Unknown
// What passed AfterLastTry is none of these.
//   fence_epoch       of FencedOut
// The message begins with the place of the task (PlaceOf); bytes in it that are not UTF-8 are replaced by U+FFFD.
v1::TaskError ToTaskError(const absl::Status& status, const v1::Task& task);

}  // namespace tidemark
