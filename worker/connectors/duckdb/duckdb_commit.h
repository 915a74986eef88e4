#pragma once

#include "absl/status/statusor.h"
#include "tidemark/v1/spec.pb.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/connector/target.h"
#include "worker/connectors/adbc/adbc_connection.h"
#include "worker/connectors/duckdb/duckdb_name.h"

namespace tidemark::duckdb {

// TargetSession::Commit, all of it. The writer's turn must be the caller's.
absl::StatusOr<v1::CommitResult> CommitRun(adbc::Connection& db, const TableName& table, const v1::JobSpec& job,
                                           const RunIdentity& run, const v1::CommitWork& work);

}  // namespace tidemark::duckdb
