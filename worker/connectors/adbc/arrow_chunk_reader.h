#pragma once

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "tidemark/v1/values.pb.h"
#include "worker/connector/source.h"
#include "worker/connectors/adbc/adbc_connection.h"

namespace arrow {
class DataType;
class Schema;
}  // namespace arrow

namespace tidemark::adbc {

// What values of an Arrow type are; nullopt for lists, structs, maps and whatever else no logical type stands for.
std::optional<v1::LogicalType> LogicalTypeOf(const arrow::DataType& type);

// The columns that a driver says a result has, all of them nullable. InvalidArgument names one that has no logical
// type.
absl::StatusOr<v1::TableSchema> SchemaOf(const arrow::Schema& schema);

// The rows of `reader`, whose columns are those of `schema` by position, each as the ArrowType of its logical type. The
// values stay what they are: a column with one that its type cannot hold (nanoseconds, infinity, a decimal of more
// digits), or of another type than the schema says, ends the reading with InvalidArgument, which names the column.
std::unique_ptr<ChunkReader> ReadChunks(std::unique_ptr<BatchReader> reader, const v1::TableSchema& schema);

}  // namespace tidemark::adbc
