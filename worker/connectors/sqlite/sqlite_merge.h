#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "tidemark/v1/values.pb.h"
#include "worker/connectors/sqlite/sqlite_database.h"

// Staged rows into a table that keeps what it has. Every function runs inside the caller's transaction and adds what it
// did to `counts`; what it leaves out of the load it takes out of staging. Append and Upsert: InvalidArgument if a row
// has NULL where the target has its rowid (INTEGER PRIMARY KEY).
namespace tidemark::sqlite {

struct MergeTables {
  std::string target;
  std::string staging;
  // All of which both tables have.
  std::vector<std::string> columns;
  std::vector<std::string> key;
  // Empty if the rows have none.
  std::string watermark;
  std::string run_id;
};

// The staging column that says which partition a row came with.
inline constexpr absl::string_view kPartitionColumn = "_tidemark_partition";

// Registers the collation that compares watermark texts by what they mean. Once per connection.
absl::Status RegisterWatermarkOrder(Database& db);

// Staged rows with a NULL in their key go to quarantine: no merge would ever find them again, so that a replay would
// double them.
absl::Status QuarantineNullKeys(Database& db, const MergeTables& tables, v1::RowCounts* counts);

// Leaves one staged row per key: the latest watermark, of those the last partition's last row. The others count as
// filtered ("superseded"); one of the same watermark but another content than the row that stays goes to quarantine.
absl::Status KeepOneRowPerKey(Database& db, const MergeTables& tables, v1::RowCounts* counts);

// Appends the staged rows. With `skip_loaded`, those whose key and watermark the target has already count as filtered
// ("already_loaded") if it has them with the same content, and go to quarantine if it has them with another only.
absl::Status Append(Database& db, const MergeTables& tables, bool skip_loaded, v1::RowCounts* counts);

// Inserts or updates by key; staging holds one row per key. Rows the target has in a later version ("superseded") or
// the same ("unchanged") count as filtered.
absl::Status Upsert(Database& db, const MergeTables& tables, v1::RowCounts* counts);

// "a", "b"; each after `alias` and a dot, if there is one.
std::string ColumnList(const std::vector<std::string>& columns, absl::string_view alias = "");

}  // namespace tidemark::sqlite
