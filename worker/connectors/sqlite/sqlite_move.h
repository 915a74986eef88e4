#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "tidemark/v1/values.pb.h"
#include "worker/connector/target.h"
#include "worker/connectors/sqlite/sqlite_database.h"
#include "worker/connector/writer_queue.h"

namespace tidemark::sqlite {

// What one move into a run's staging needs; the references outlive its writer.
struct MoveInto {
  Database& db;
  std::shared_ptr<WriterQueue> queue;
  const std::atomic<bool>& cancelled;
  std::string table;
  // The run's staging table.
  std::string staging;
  std::string job;
  RunIdentity run;
  int partition = 0;
  v1::TableSchema schema;
};

// The transaction begins with the first row, not before: the file stays free for others while the extract has nothing
// yet. Fence and `moves` are checked then; the write lock keeps what they say true until the commit.
absl::StatusOr<std::unique_ptr<MoveWriter>> MakeMoveWriter(MoveInto move);

}  // namespace tidemark::sqlite
