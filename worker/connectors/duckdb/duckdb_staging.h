#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tidemark/v1/values.pb.h"
#include "worker/connector/target.h"
#include "worker/connector/writer_queue.h"
#include "worker/connectors/adbc/adbc_connection.h"
#include "worker/connectors/duckdb/duckdb_name.h"

namespace tidemark::duckdb {

// The last column of a staging table, which says which partition a row came with.
inline constexpr absl::string_view kPartitionColumn = "_tidemark_partition";

// Whatever the strategy, staging takes rows as they come: columns of DeclaredType, without constraints, since DuckDB's
// bulk load does not tell of a row that breaks one.
absl::Status CreateStaging(adbc::Connection& db, const TableName& staging, const v1::TableSchema& schema);

// What one move into a run's staging needs; the references outlive its writer.
struct MoveInto {
  adbc::Connection& db;
  std::shared_ptr<WriterQueue> queue;
  const std::atomic<bool>& cancelled;
  TableName table;
  TableName staging;
  std::string job;
  RunIdentity run;
  int partition = 0;
  v1::TableSchema schema;
};

// The transaction begins with the first row, not before: the file stays free for others while the extract has nothing
// yet. Fence and `moves` are checked then; that it is the writer's turn keeps what they say true until the commit.
absl::StatusOr<std::unique_ptr<MoveWriter>> MakeMoveWriter(MoveInto move);

}  // namespace tidemark::duckdb
