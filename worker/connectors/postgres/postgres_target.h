#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "tidemark/v1/spec.pb.h"
#include "worker/connector/connector.h"
#include "worker/connector/target.h"

namespace tidemark::postgres {

// Connects to the target of a job. Loads run through COPY into tidemark.stg_<run>, and reach the job's table in one
// transaction with the run's row in tidemark.ledger.
absl::StatusOr<std::unique_ptr<TargetSession>> OpenPostgresTarget(const v1::ConnectionSpec& connection,
                                                                  const v1::JobSpec& job,
                                                                  const SessionOptions& options);

}  // namespace tidemark::postgres
