#pragma once

#include "absl/status/statusor.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/connector/target.h"

namespace tidemark {

// Drops what the run has staged. A committed run is left as it is.
absl::StatusOr<v1::AbortResult> Abort(const v1::Task& task, TargetSession& target);

}  // namespace tidemark
