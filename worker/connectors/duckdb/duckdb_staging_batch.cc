#include "worker/connectors/duckdb/duckdb_staging_batch.h"

#include <arrow/array/array_binary.h>
#include <arrow/array/array_decimal.h>
#include <arrow/array/array_primitive.h>
#include <arrow/array/builder_binary.h>
#include <arrow/array/util.h>
#include <arrow/record_batch.h>
#include <arrow/scalar.h>
#include <arrow/type.h>
#include <arrow/util/decimal.h>

#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/batch/arrow_schema.h"

namespace tidemark::duckdb {
namespace {

// DuckDB's timestamps begin at 290309-12-22 BC; the greatest number is infinity, and the least but one minus infinity.
constexpr int64_t kFirstTimestamp = -9223372022400000000;
constexpr int64_t kLastTimestamp = std::numeric_limits<int64_t>::max() - 1;
constexpr int32_t kLastDate = std::numeric_limits<int32_t>::max() - 1;
constexpr int32_t kFirstDate = -kLastDate;
constexpr int64_t kDayMicroseconds = 86'400'000'000;

absl::Status FromArrow(const arrow::Status& status) {
  return status.ok() ? absl::OkStatus() : absl::InternalError(status.message());
}

absl::Status CannotHold(const v1::Column& column, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("column ", column.name(), " holds ", what, ", which DuckDB cannot hold exactly"));
}

template <typename Array>
bool AllWithin(const arrow::Array& array, int64_t first, int64_t last) {
  const auto& values = static_cast<const Array&>(array);
  for (int64_t row = 0; row < values.length(); ++row) {
    if (!values.IsNull(row) && (values.Value(row) < first || values.Value(row) > last)) return false;
  }
  return true;
}

bool AllFit(const arrow::Array& array, int precision) {
  const auto& values = static_cast<const arrow::Decimal128Array&>(array);
  for (int64_t row = 0; row < values.length(); ++row) {
    if (!values.IsNull(row) && !arrow::Decimal128(values.GetValue(row)).FitsInPrecision(precision)) return false;
  }
  return true;
}

absl::StatusOr<std::shared_ptr<arrow::Array>> DecimalTexts(const arrow::Array& array) {
  const auto& values = static_cast<const arrow::Decimal256Array&>(array);
  arrow::StringBuilder texts;
  for (int64_t row = 0; row < values.length(); ++row) {
    TM_RETURN_IF_ERROR(FromArrow(values.IsNull(row) ? texts.AppendNull() : texts.Append(values.FormatValue(row))));
  }
  std::shared_ptr<arrow::Array> result;
  TM_RETURN_IF_ERROR(FromArrow(texts.Finish(&result)));
  return result;
}

absl::StatusOr<std::shared_ptr<arrow::Array>> StagingColumn(const v1::Column& column,
                                                            const std::shared_ptr<arrow::Array>& array) {
  switch (array->type_id()) {
    case arrow::Type::STRING:
      if (!static_cast<const arrow::StringArray&>(*array).ValidateUTF8().ok()) {
        return CannotHold(column, "bytes that are not UTF-8");
      }
      return array;
    case arrow::Type::DATE32:
      if (!AllWithin<arrow::Date32Array>(*array, kFirstDate, kLastDate)) {
        return CannotHold(column, "a date beyond 5881580-07-10");
      }
      return array;
    case arrow::Type::TIME64:
      if (!AllWithin<arrow::Time64Array>(*array, 0, kDayMicroseconds)) {
        return CannotHold(column, "a time of day outside 00:00 to 24:00");
      }
      return array;
    case arrow::Type::TIMESTAMP:
      if (!AllWithin<arrow::TimestampArray>(*array, kFirstTimestamp, kLastTimestamp)) {
        return CannotHold(column, "a time outside 290309-12-22 BC to 294247-01-10");
      }
      return array;
    case arrow::Type::DECIMAL128:
      if (!AllFit(*array, column.type().precision())) return CannotHold(column, "a decimal of more digits than it has");
      return array;
    case arrow::Type::DECIMAL256:
      return DecimalTexts(*array);
    default:
      return array;
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<arrow::RecordBatch>> StagingBatch(const v1::TableSchema& schema,
                                                                 const arrow::RecordBatch& rows, int partition) {
  if (rows.num_columns() != schema.columns_size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a chunk of ", rows.num_columns(), " columns where there are ", schema.columns_size()));
  }
  arrow::FieldVector fields;
  arrow::ArrayVector arrays;
  for (int i = 0; i < rows.num_columns(); ++i) {
    const v1::Column& column = schema.columns(i);
    const auto expected = ArrowType(column.type());
    if (!rows.column(i)->type()->Equals(*expected)) {
      return absl::InvalidArgumentError(absl::StrCat("column ", column.name(), " arrives as ",
                                                     rows.column(i)->type()->ToString(), " where ",
                                                     expected->ToString(), " was described"));
    }
    TM_ASSIGN_OR_RETURN(auto array, StagingColumn(column, rows.column(i)));
    fields.push_back(arrow::field(column.name(), array->type()));
    arrays.push_back(std::move(array));
  }
  auto partitions = arrow::MakeArrayFromScalar(arrow::Int32Scalar(partition), rows.num_rows());
  TM_RETURN_IF_ERROR(FromArrow(partitions.status()));
  fields.push_back(arrow::field("partition", arrow::int32()));
  arrays.push_back(*std::move(partitions));
  return arrow::RecordBatch::Make(arrow::schema(std::move(fields)), rows.num_rows(), std::move(arrays));
}

}  // namespace tidemark::duckdb
