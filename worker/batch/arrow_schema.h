#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "tidemark/v1/values.pb.h"

namespace arrow {
class DataType;
class Schema;
}  // namespace arrow

namespace tidemark {

// The one mapping from logical types to Arrow, which every connector reads and writes by:
//   BOOL boolean · INT16 int16 · INT32 int32 · INT64 int64 · UINT64 uint64 · FLOAT32 float · FLOAT64 double ·
//   DECIMAL decimal128 (precision 1-38), decimal256 (39-76), else utf8 text ·
//   STRING, JSON, INTERVAL, OTHER utf8 · BYTES binary · DATE date32 · TIME time64(us) ·
//   TIMESTAMP timestamp(us) · TIMESTAMPTZ timestamp(us, "UTC") · UUID fixed_size_binary(16)
// A value outside what its Arrow type holds (an infinite timestamp, 24:00 is inside) is an error of the connector that
// reads it, naming the column; never a changed value.
std::shared_ptr<arrow::DataType> ArrowType(const v1::LogicalType& type);

// Field names and nullability are those of the columns. InvalidArgument names a column whose type is unset.
absl::StatusOr<std::shared_ptr<arrow::Schema>> ArrowSchema(const v1::TableSchema& schema);

}  // namespace tidemark
