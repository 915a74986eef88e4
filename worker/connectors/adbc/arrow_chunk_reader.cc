#include "worker/connectors/adbc/arrow_chunk_reader.h"

#include <arrow/array/array_binary.h>
#include <arrow/array/array_primitive.h>
#include <arrow/array/builder_binary.h>
#include <arrow/array/concatenate.h>
#include <arrow/array/util.h>
#include <arrow/compute/cast.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <arrow/util/byte_size.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/batch/arrow_schema.h"

namespace tidemark::adbc {
namespace {

using Type = v1::LogicalType;

constexpr int64_t kChunkBytes = 1 << 20;
constexpr int32_t kUuidBytes = 16;

Type Kind(Type::Kind kind, int scale = 0) {
  Type type;
  type.set_kind(kind);
  type.set_scale(scale);
  return type;
}

int DigitsOf(arrow::TimeUnit::type unit) {
  return unit == arrow::TimeUnit::SECOND ? 0 : unit == arrow::TimeUnit::MILLI ? 3 : 6;
}

absl::Status Refuse(const v1::Column& column, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("column ", column.name(), " (", column.native_type(), "): ", why,
                                                 "; convert the column in source.query"));
}

// Stores that have infinite times spell them as the ends of the integers behind them.
template <typename Array>
bool HoldsInfinity(const arrow::Array& array) {
  using Value = typename Array::value_type;
  constexpr Value kGreatest = std::numeric_limits<Value>::max();
  const auto& values = static_cast<const Array&>(array);
  for (int64_t i = 0; i < values.length(); ++i) {
    const Value value = values.Value(i);
    if ((value >= kGreatest || value <= -kGreatest) && !values.IsNull(i)) return true;
  }
  return false;
}

absl::StatusOr<std::shared_ptr<arrow::Array>> AsUuids(const v1::Column& column, const arrow::Array& array) {
  const auto& values = static_cast<const arrow::BinaryArray&>(array);
  arrow::FixedSizeBinaryBuilder builder(arrow::fixed_size_binary(kUuidBytes));
  arrow::Status status = builder.Reserve(values.length());
  for (int64_t i = 0; status.ok() && i < values.length(); ++i) {
    if (values.IsNull(i)) {
      status = builder.AppendNull();
    } else if (values.value_length(i) == kUuidBytes) {
      status = builder.Append(values.GetView(i));
    } else {
      return Refuse(column, "a value has not the 16 bytes of a UUID");
    }
  }
  std::shared_ptr<arrow::Array> uuids;
  if (status.ok()) status = builder.Finish(&uuids);
  if (!status.ok()) return absl::ResourceExhaustedError(status.message());
  return uuids;
}

bool IsWhole(Type::Kind kind) {
  return kind == Type::KIND_INT16 || kind == Type::KIND_INT32 || kind == Type::KIND_INT64 || kind == Type::KIND_UINT64;
}

// Whether values of the Arrow type `given` are spellings of those of `wanted`, so that a cast changes none of them.
bool Spells(const arrow::DataType& given, const Type& wanted) {
  const auto logical = LogicalTypeOf(given);
  if (!logical) return false;
  if (logical->kind() == wanted.kind() || (IsWhole(logical->kind()) && IsWhole(wanted.kind()))) return true;
  return logical->kind() == Type::KIND_STRING &&
         (wanted.kind() == Type::KIND_DECIMAL || wanted.kind() == Type::KIND_JSON ||
          wanted.kind() == Type::KIND_INTERVAL || wanted.kind() == Type::KIND_OTHER);
}

absl::StatusOr<std::shared_ptr<arrow::Array>> AsLogical(const v1::Column& column, std::shared_ptr<arrow::Array> array) {
  if (column.type().kind() == Type::KIND_UUID && array->type_id() == arrow::Type::BINARY)
    return AsUuids(column, *array);
  const std::shared_ptr<arrow::DataType> wanted = ArrowType(column.type());
  if (!array->type()->Equals(*wanted)) {
    // A driver that reads types off rows knows none of a column of NULLs.
    if (array->null_count() == array->length()) {
      auto nulls = arrow::MakeArrayOfNull(wanted, array->length());
      if (!nulls.ok()) return absl::ResourceExhaustedError(nulls.status().message());
      return *std::move(nulls);
    }
    if (!Spells(*array->type(), column.type()))
      return Refuse(column, absl::StrCat("the driver now gives it as ", array->type()->ToString()));
    const auto cast = arrow::compute::Cast(*array, wanted, arrow::compute::CastOptions::Safe());
    if (!cast.ok()) return Refuse(column, cast.status().message());
    array = *cast;
  }
  const bool infinite = array->type_id() == arrow::Type::DATE32      ? HoldsInfinity<arrow::Date32Array>(*array)
                        : array->type_id() == arrow::Type::TIMESTAMP ? HoldsInfinity<arrow::TimestampArray>(*array)
                                                                     : false;
  if (infinite) return Refuse(column, "it holds an infinite time");
  return array;
}

class ConvertingReader final : public ChunkReader {
 public:
  ConvertingReader(std::unique_ptr<BatchReader> reader, const v1::TableSchema& schema)
      : reader_(std::move(reader)), schema_(schema) {}

  absl::StatusOr<std::optional<Chunk>> Next() override {
    if (arrow_schema_ == nullptr) {
      TM_ASSIGN_OR_RETURN(arrow_schema_, ArrowSchema(schema_));
    }
    arrow::RecordBatchVector gathered;
    int64_t bytes = 0;
    while (bytes < kChunkBytes) {
      if (left_ == nullptr && !ended_) {
        TM_ASSIGN_OR_RETURN(left_, NextBatch());
        ended_ = left_ == nullptr;
      }
      if (left_ == nullptr) break;
      // A driver may hand out batches far beyond a chunk.
      const int64_t size = std::max<int64_t>(1, arrow::util::ReferencedBufferSize(*left_).ValueOr(1));
      const int64_t room = kChunkBytes - bytes;
      const int64_t rows =
          size <= 2 * room
              ? left_->num_rows()
              : std::clamp<int64_t>(static_cast<int64_t>(static_cast<double>(left_->num_rows()) *
                                                         static_cast<double>(room) / static_cast<double>(size)),
                                    1, left_->num_rows());
      gathered.push_back(left_->Slice(0, rows));
      bytes += size * rows / left_->num_rows();
      left_ = rows == left_->num_rows() ? nullptr : left_->Slice(rows);
    }
    if (gathered.empty()) return std::nullopt;
    // Copied also if it is one: a slice would hold all of its batch.
    auto whole = arrow::ConcatenateRecordBatches(gathered);
    if (!whole.ok()) return absl::ResourceExhaustedError(whole.status().message());
    return Chunk::FromArrow(*std::move(whole));
  }

 private:
  // nullptr at the end.
  absl::StatusOr<std::shared_ptr<arrow::RecordBatch>> NextBatch() {
    while (true) {
      TM_ASSIGN_OR_RETURN(const auto batch, reader_->Next());
      if (batch == nullptr) return nullptr;
      if (batch->num_rows() == 0) continue;
      if (batch->num_columns() != schema_.columns_size()) {
        return absl::InternalError(
            absl::StrCat("the driver gave ", batch->num_columns(), " columns instead of ", schema_.columns_size()));
      }
      arrow::ArrayVector columns;
      for (int i = 0; i < batch->num_columns(); ++i) {
        TM_ASSIGN_OR_RETURN(columns.emplace_back(), AsLogical(schema_.columns(i), batch->column(i)));
      }
      return arrow::RecordBatch::Make(arrow_schema_, batch->num_rows(), std::move(columns));
    }
  }

  const std::unique_ptr<BatchReader> reader_;
  const v1::TableSchema schema_;
  std::shared_ptr<arrow::Schema> arrow_schema_;
  // A driver may not be asked again after its last batch.
  bool ended_ = false;
  // Rows read that are in no chunk yet.
  std::shared_ptr<arrow::RecordBatch> left_;
};

}  // namespace

std::optional<v1::LogicalType> LogicalTypeOf(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::BOOL:
      return Kind(Type::KIND_BOOL);
    case arrow::Type::INT8:
    case arrow::Type::UINT8:
    case arrow::Type::INT16:
      return Kind(Type::KIND_INT16);
    case arrow::Type::UINT16:
    case arrow::Type::INT32:
      return Kind(Type::KIND_INT32);
    case arrow::Type::UINT32:
    case arrow::Type::INT64:
      return Kind(Type::KIND_INT64);
    case arrow::Type::UINT64:
      return Kind(Type::KIND_UINT64);
    case arrow::Type::FLOAT:
      return Kind(Type::KIND_FLOAT32);
    case arrow::Type::DOUBLE:
      return Kind(Type::KIND_FLOAT64);
    case arrow::Type::DECIMAL32:
    case arrow::Type::DECIMAL64:
    case arrow::Type::DECIMAL128:
    case arrow::Type::DECIMAL256: {
      const auto& decimal = static_cast<const arrow::DecimalType&>(type);
      Type logical = Kind(Type::KIND_DECIMAL, decimal.scale());
      logical.set_precision(decimal.precision());
      return logical;
    }
    case arrow::Type::STRING:
    case arrow::Type::LARGE_STRING:
    case arrow::Type::STRING_VIEW:
      return Kind(Type::KIND_STRING);
    case arrow::Type::BINARY:
    case arrow::Type::LARGE_BINARY:
    case arrow::Type::BINARY_VIEW:
    case arrow::Type::FIXED_SIZE_BINARY:
      return Kind(Type::KIND_BYTES);
    case arrow::Type::DATE32:
    case arrow::Type::DATE64:
      return Kind(Type::KIND_DATE);
    case arrow::Type::TIME32:
    case arrow::Type::TIME64:
      return Kind(Type::KIND_TIME, DigitsOf(static_cast<const arrow::TimeType&>(type).unit()));
    case arrow::Type::TIMESTAMP: {
      const auto& timestamp = static_cast<const arrow::TimestampType&>(type);
      return Kind(timestamp.timezone().empty() ? Type::KIND_TIMESTAMP : Type::KIND_TIMESTAMPTZ,
                  DigitsOf(timestamp.unit()));
    }
    case arrow::Type::DICTIONARY:
      return LogicalTypeOf(*static_cast<const arrow::DictionaryType&>(type).value_type());
    default:
      return std::nullopt;
  }
}

absl::StatusOr<v1::TableSchema> SchemaOf(const arrow::Schema& schema) {
  v1::TableSchema columns;
  for (const auto& field : schema.fields()) {
    v1::Column* column = columns.add_columns();
    column->set_name(field->name());
    column->set_native_type(field->type()->ToString());
    column->set_nullable(true);
    const auto type = LogicalTypeOf(*field->type());
    if (!type) return Refuse(*column, "no type of Tidemark's stands for it");
    *column->mutable_type() = *type;
  }
  return columns;
}

std::unique_ptr<ChunkReader> ReadChunks(std::unique_ptr<BatchReader> reader, const v1::TableSchema& schema) {
  return std::make_unique<ConvertingReader>(std::move(reader), schema);
}

}  // namespace tidemark::adbc
