#pragma once

#include <vector>
#include "absl/strings/string_view.h"

#include "absl/status/statusor.h"
#include "tidemark/v1/values.pb.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/connectors/sqlite/sqlite_database.h"
#include "worker/connectors/sqlite/sqlite_source_relation.h"

namespace tidemark::sqlite {

// How a window of the relation can be cut, the preferred way first:
//   the INTEGER PRIMARY KEY, whose ranges are contiguous pages of the file: at even distances between its least and
//   greatest value, or, where an index finds the window's rows, at the quantiles of their keys; the rowid of a table
//   without one, inside a snapshot (VACUUM renumbers); another primary key, or the column `by`, at the quantiles of a
//   scan of its index.
absl::StatusOr<std::vector<v1::PartitionFacts>> DescribeFilePartitions(Database& db, const SourceRelation& source,
                                                                       const v1::Window& window, absl::string_view by,
                                                                       int wanted, bool in_snapshot);

// Rows of the relation, read off its least and greatest rowid or ANALYZE's statistics; -1 if neither tells.
absl::StatusOr<int64_t> EstimateRows(Database& db, const SourceRelation& source);

}  // namespace tidemark::sqlite
