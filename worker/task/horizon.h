#pragma once

#include "absl/status/statusor.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/connector/source.h"

namespace tidemark {

// Whether the source's horizon has passed the point that waiting runs wait for.
absl::StatusOr<v1::HorizonResult> ProbeHorizon(const v1::Task& task, SourceSession& source);

}  // namespace tidemark
