#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tidemark/v1/values.pb.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/connectors/adbc/adbc_connection.h"
#include "worker/connectors/duckdb/duckdb_source_relation.h"

namespace tidemark::duckdb {

// See SourceSession::DescribePartitions. Keys are cut by the quantiles of a sample; a table without a primary key, in a
// snapshot, by rowid.
absl::StatusOr<std::vector<v1::PartitionFacts>> DescribeFilePartitions(adbc::Connection& db,
                                                                       const SourceRelation& source,
                                                                       const v1::Window& window, absl::string_view by,
                                                                       int wanted, bool in_snapshot);

}  // namespace tidemark::duckdb
