#pragma once

#include "absl/status/statusor.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/connector/target.h"

namespace tidemark {

// Makes a run's staged rows visible, in one transaction of the target. Internal if the counts it reports do not
// balance, or are not of the rows that were staged.
absl::StatusOr<v1::CommitResult> Commit(const v1::Task& task, TargetSession& target);

}  // namespace tidemark
