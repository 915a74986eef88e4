#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tidemark/v1/values.pb.h"
#include "worker/connectors/adbc/adbc_connection.h"
#include "worker/connectors/duckdb/duckdb_name.h"

// Staged rows into a table. Every function runs inside the caller's transaction and adds what it did to `counts`; what
// it leaves out of the load it takes out of staging.
namespace tidemark::duckdb {

struct MergeTables {
  TableName target;
  TableName staging;
  v1::TableSchema schema;
  // The names of its columns, all of which both tables have.
  std::vector<std::string> columns;
  std::vector<std::string> key;
  // Empty if the rows have none.
  std::string watermark;
  std::string run_id;
};

// Staged rows with a NULL in their key go to quarantine: no merge would ever find them again, so that a replay would
// double them.
absl::Status QuarantineNullKeys(adbc::Connection& db, const MergeTables& tables, v1::RowCounts* counts);

// Leaves one staged row per key: the latest watermark, of those the last partition's last row. The others count as
// filtered ("superseded"); one of the same watermark but another content than the row that stays goes to quarantine.
absl::Status KeepOneRowPerKey(adbc::Connection& db, const MergeTables& tables, v1::RowCounts* counts);

// Appends the staged rows. With `skip_loaded`, those whose key and watermark the target has already count as filtered
// ("already_loaded") if it has them with the same content, and go to quarantine if it has them with another only.
absl::Status Append(adbc::Connection& db, const MergeTables& tables, bool skip_loaded, v1::RowCounts* counts);

// Inserts or updates by key; staging holds one row per key. Rows the target has in a later version ("superseded") or
// the same ("unchanged") count as filtered. FailedPrecondition if the target has a staged key more than once. No index
// is needed.
absl::Status Upsert(adbc::Connection& db, const MergeTables& tables, v1::RowCounts* counts);

// Puts the staged rows in the place of all that the target holds, which stays the table it is, with what depends on it.
// (To delete every row costs DuckDB next to nothing.)
absl::Status Replace(adbc::Connection& db, const MergeTables& tables, v1::RowCounts* counts);

}  // namespace tidemark::duckdb
