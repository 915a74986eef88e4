#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "tidemark/v1/values.pb.h"
#include "worker/connectors/postgres/postgres_connection.h"
#include "worker/connectors/postgres/postgres_name.h"

// Staged rows into a table that keeps what it has. Every function runs inside the caller's transaction, so that what it
// removes from staging comes back if the transaction fails, and adds what it did to `counts`.
namespace tidemark::postgres {

struct MergeTables {
  QualifiedName target;
  QualifiedName staging;
  // Of the staging table, all of which the target has.
  std::vector<std::string> columns;
  std::vector<std::string> key;
  // Empty if the rows have none.
  std::string watermark;
  // A column is GENERATED ALWAYS AS IDENTITY.
  bool overriding_identity = false;
  // For the quarantine's records.
  std::string run_id;
  std::string control_name;
};

// Moves the staged rows with a NULL in their key to quarantine: no merge would ever find them again, so that a replay
// would double them.
absl::Status QuarantineNullKeys(Connection& connection, const MergeTables& tables, v1::RowCounts* counts);

// Leaves one staged row per key: the one with the latest watermark, of those the one staged last. The others count as
// filtered, as "superseded"; but a row of the same watermark and another content than the one that stays goes to
// quarantine.
absl::Status KeepOneRowPerKey(Connection& connection, const MergeTables& tables, v1::RowCounts* counts);

// Removes the staged rows whose key and watermark the target has already; a NULL watermark is equal to a NULL. Rows
// that are in the target as they are count as filtered, as "already_loaded"; a row with another content than every
// target row of its version goes to quarantine.
absl::Status RemoveLoaded(Connection& connection, const MergeTables& tables, v1::RowCounts* counts);

// Appends every staged row. InvalidArgument, with the table's triggers, if not every one arrives.
absl::Status Append(Connection& connection, const MergeTables& tables, v1::RowCounts* counts);

// Inserts or updates by key; staging holds one row per key. A target row with a later watermark stays ("superseded"),
// and so does one that is equal ("unchanged"). InvalidArgument, with the table's triggers, if a row is neither of these
// and does not arrive.
absl::Status Upsert(Connection& connection, const MergeTables& tables, v1::RowCounts* counts);

}  // namespace tidemark::postgres
