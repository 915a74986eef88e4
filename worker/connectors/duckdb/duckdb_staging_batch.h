#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "tidemark/v1/values.pb.h"

namespace arrow {
class RecordBatch;
}

namespace tidemark::duckdb {

// Rows of `schema` as a staging table of DeclaredType's columns takes them, with the number of their partition as the
// last column. Decimals that DuckDB has no type for become text. InvalidArgument for a batch of another schema, and,
// naming the column, for what DuckDB would change or drop in silence: the numbers that it takes for infinite dates and
// times, texts that are not UTF-8, decimals of more digits than their type.
absl::StatusOr<std::shared_ptr<arrow::RecordBatch>> StagingBatch(const v1::TableSchema& schema,
                                                                 const arrow::RecordBatch& rows, int partition);

}  // namespace tidemark::duckdb
