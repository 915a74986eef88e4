#pragma once

#include "absl/status/statusor.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/connector/target.h"

namespace tidemark {

// Asks the target's ledger what became of the run. Changes nothing.
absl::StatusOr<v1::ProbeResult> Probe(const v1::Task& task, TargetSession& target);

}  // namespace tidemark
