#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tidemark/v1/spec.pb.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/connector/target.h"
#include "worker/connectors/sqlite/sqlite_database.h"

namespace tidemark::sqlite {

// The commit of a run: one transaction, as TargetSession::Commit says.
absl::StatusOr<v1::CommitResult> CommitRun(Database& db, absl::string_view table, const v1::JobSpec& job,
                                           const RunIdentity& run, const v1::CommitWork& work);

}  // namespace tidemark::sqlite
