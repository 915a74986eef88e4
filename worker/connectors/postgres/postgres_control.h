#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/connector/fence.h"
#include "worker/connector/target.h"
#include "worker/connectors/postgres/postgres_connection.h"
#include "worker/connectors/postgres/postgres_name.h"

// The tables of the schema `tidemark` by which a target defends itself: fence, moves, staging. (The ledger is
// postgres_ledger.h.)
namespace tidemark::postgres {

inline constexpr absl::string_view kControlSchema = "tidemark";

// The target table as the control tables know it: schema.table, quoted only where a dot or a quote would be mistaken.
std::string ControlName(const QualifiedName& table);

// Name of the run's staging table in the control schema; InvalidArgument as CheckRunId says.
absl::StatusOr<QualifiedName> StagingName(absl::string_view run_id);

// Creates what is missing of the control tables. Safe while others do the same. PermissionDenied names the GRANT.
absl::Status CreateControlTables(Connection& connection);
// Whether the control tables are there (readable or not).
absl::StatusOr<bool> ControlTablesExist(Connection& connection);

// nullopt if nobody has claimed the table.
absl::StatusOr<std::optional<Fence>> ReadFence(Connection& connection, absl::string_view target);

// Claims the fence of a table nobody claims, or raises it to the run's epoch; the row stays locked until the
// transaction ends. FailedPrecondition if it is above the run's epoch (this writer is a zombie) or belongs to another
// cluster or job; from those, any `take_over` but kNothing takes it.
absl::Status RaiseFence(Connection& connection, absl::string_view target, const RunIdentity& run, absl::string_view job,
                        TakeOver take_over);

// For the last step of a move: no higher epoch can pass the fence until the transaction ends. Raises it if it is still
// below.
absl::Status HoldFence(Connection& connection, absl::string_view target, const RunIdentity& run, absl::string_view job);

// For what destroys a run's staging: no higher epoch of the run's own job can pass the fence until the transaction
// ends. FailedPrecondition if one has. A fence of another cluster or job does not matter, nor one that is not there.
absl::Status HoldFenceAgainstSuccessors(Connection& connection, absl::string_view target, const RunIdentity& run);

// Rows of the run's move of this partition, if it is committed.
absl::StatusOr<std::optional<int64_t>> ReadMove(Connection& connection, absl::string_view run_id, int partition);
absl::StatusOr<std::vector<v1::StagedMove>> ReadMoves(Connection& connection, absl::string_view run_id);
absl::Status DeleteMoves(Connection& connection, absl::string_view run_id);

// Ends other sessions of Tidemark that hold `staging`: moves of a run that needs them no more, whose worker may be gone
// without the server's knowledge. Only sessions this role may end.
absl::Status EndWritersOf(Connection& connection, const QualifiedName& staging);

// What a staging table says of itself, in its comment, so that a later run of its job can tell that it is dead.
absl::Status LabelStaging(Connection& connection, const QualifiedName& staging, absl::string_view target,
                          const RunIdentity& run);
// For a run that has taken the target's fence over, in the same transaction: labels what others have staged for the
// target as dead staging of the run's job. Somebody may be using it still, so it is dropped by DropDeadStaging.
absl::Status InheritStaging(Connection& connection, absl::string_view target, const RunIdentity& run);
// Drops staging and moves of the job's runs below the run's sequence, unless a session is using them.
absl::Status DropDeadStaging(Connection& connection, const RunIdentity& run);

}  // namespace tidemark::postgres
