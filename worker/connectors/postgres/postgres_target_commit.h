#pragma once

#include "absl/status/statusor.h"
#include "tidemark/v1/spec.pb.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/connector/target.h"
#include "worker/connectors/postgres/postgres_connection.h"
#include "worker/connectors/postgres/postgres_name.h"

namespace tidemark::postgres {

// TargetSession::Commit: staging into the table, quarantine and ledger, in one transaction; that again, a few times,
// after a serialization failure, a deadlock or a key that somebody else inserted at the same moment.
absl::StatusOr<v1::CommitResult> CommitToTarget(Connection& connection, const v1::JobSpec& job,
                                                const QualifiedName& target, const RunIdentity& run,
                                                const v1::CommitWork& work);

}  // namespace tidemark::postgres
