#include "worker/batch/arrow_schema.h"

#include <arrow/type.h>

#include "absl/strings/str_cat.h"

namespace tidemark {

std::shared_ptr<arrow::DataType> ArrowType(const v1::LogicalType& type) {
  switch (type.kind()) {
    case v1::LogicalType::KIND_BOOL:
      return arrow::boolean();
    case v1::LogicalType::KIND_INT16:
      return arrow::int16();
    case v1::LogicalType::KIND_INT32:
      return arrow::int32();
    case v1::LogicalType::KIND_INT64:
      return arrow::int64();
    case v1::LogicalType::KIND_UINT64:
      return arrow::uint64();
    case v1::LogicalType::KIND_FLOAT32:
      return arrow::float32();
    case v1::LogicalType::KIND_FLOAT64:
      return arrow::float64();
    case v1::LogicalType::KIND_DECIMAL:
      if (type.precision() >= 1 && type.precision() <= 38) return arrow::decimal128(type.precision(), type.scale());
      if (type.precision() >= 39 && type.precision() <= 76) return arrow::decimal256(type.precision(), type.scale());
      return arrow::utf8();
    case v1::LogicalType::KIND_BYTES:
      return arrow::binary();
    case v1::LogicalType::KIND_DATE:
      return arrow::date32();
    case v1::LogicalType::KIND_TIME:
      return arrow::time64(arrow::TimeUnit::MICRO);
    case v1::LogicalType::KIND_TIMESTAMP:
      return arrow::timestamp(arrow::TimeUnit::MICRO);
    case v1::LogicalType::KIND_TIMESTAMPTZ:
      return arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
    case v1::LogicalType::KIND_UUID:
      return arrow::fixed_size_binary(16);
    default:
      return arrow::utf8();
  }
}

absl::StatusOr<std::shared_ptr<arrow::Schema>> ArrowSchema(const v1::TableSchema& schema) {
  arrow::FieldVector fields;
  for (const v1::Column& column : schema.columns()) {
    if (column.type().kind() == v1::LogicalType::KIND_UNSPECIFIED) {
      return absl::InvalidArgumentError(absl::StrCat("column ", column.name(), " has no type"));
    }
    fields.push_back(arrow::field(column.name(), ArrowType(column.type()), column.nullable()));
  }
  return arrow::schema(std::move(fields));
}

}  // namespace tidemark
