#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "tidemark/v1/spec.pb.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/connectors/postgres/postgres_connection.h"
#include "worker/connectors/postgres/postgres_read_sql.h"

namespace tidemark::postgres {

// Rows the planner expects `window` to hold; exact only for an empty table, which is 0.
absl::StatusOr<int64_t> EstimateRows(Connection& connection, const ReadSql& sql, const v1::Window& window);

// Bytes of the relation on disk, its partitions and its out-of-line values included; -1 for what has no storage of its
// own.
absl::StatusOr<int64_t> EstimateBytes(Connection& connection, const Relation& relation);

// See SourceSession::DescribePartitions. Cut points come from the server, in its own order of the key: the histogram of
// its statistics where that speaks for all rows, else a sample of the window's rows.
absl::StatusOr<std::vector<v1::PartitionFacts>> DescribePartitions(Connection& connection, const ReadSql& sql,
                                                                   const v1::PartitionSpec& asked,
                                                                   const v1::Window& window, std::string_view by,
                                                                   int wanted, bool in_snapshot);

}  // namespace tidemark::postgres
