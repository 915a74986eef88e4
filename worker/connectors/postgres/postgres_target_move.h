#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "worker/connector/target.h"
#include "worker/connectors/postgres/postgres_connection.h"
#include "worker/connectors/postgres/postgres_name.h"

namespace tidemark::postgres {

// One move into the staging table of a run: COPY, then the fence, then the row in tidemark.moves. `connection` outlives
// the writer and serves nothing else meanwhile. If the move is committed already, what is written is thrown away and
// Commit says so.
absl::StatusOr<std::unique_ptr<MoveWriter>> BeginPostgresMove(Connection& connection, const std::string& control_name,
                                                              const std::string& job, const RunIdentity& run,
                                                              int partition, const v1::TableSchema& schema,
                                                              v1::ChunkFormat format);

}  // namespace tidemark::postgres
