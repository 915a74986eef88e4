#include "worker/connectors/postgres/postgres_decode.h"

#include <arrow/builder.h>
#include <arrow/record_batch.h>
#include <arrow/util/utf8.h>

#include <bit>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/batch/arrow_schema.h"
#include "worker/connectors/postgres/postgres_decimal.h"

namespace tidemark::postgres {
namespace {

// PostgreSQL counts from 2000-01-01.
constexpr int32_t kEpochDays = 10'957;
constexpr int64_t kEpochMicros = int64_t{kEpochDays} * 86'400 * 1'000'000;

absl::Status FromArrow(const arrow::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return status.IsOutOfMemory() ? absl::ResourceExhaustedError(status.message())
                                : absl::InternalError(status.message());
}

// From network byte order.
template <typename Integer>
Integer Load(const char* bytes) {
  std::make_unsigned_t<Integer> value = 0;
  std::memcpy(&value, bytes, sizeof(value));
  if constexpr (std::endian::native == std::endian::little) {
    if constexpr (sizeof(value) == 2) value = __builtin_bswap16(value);
    if constexpr (sizeof(value) == 4) value = __builtin_bswap32(value);
    if constexpr (sizeof(value) == 8) value = __builtin_bswap64(value);
  }
  return static_cast<Integer>(value);
}

// Appends one column's fields to its builder.
class FieldDecoder {
 public:
  explicit FieldDecoder(std::string name) : name_(std::move(name)) {}
  virtual ~FieldDecoder() = default;
  virtual absl::Status Append(std::string_view bytes) = 0;
  virtual arrow::ArrayBuilder& builder() = 0;

 protected:
  absl::Status WrongLength(std::string_view bytes) const {
    return absl::InternalError(
        absl::StrCat("column ", name_, ": a field of ", bytes.size(), " bytes is not of the column's type"));
  }
  absl::Status CannotHold(const std::string& value, const char* type) const {
    return absl::InvalidArgumentError(absl::StrCat("column ", name_, " holds ", value, ", which ", type,
                                                   " cannot express; select it as text in a query, or, in PostgreSQL, "
                                                   "give the target's columns the source's types"));
  }
  std::string name_;
};

// Fixed-width values that convert by a function from big-endian bytes.
template <typename Builder, typename Wire, typename Convert>
class FixedDecoder final : public FieldDecoder {
 public:
  FixedDecoder(std::string name, std::shared_ptr<arrow::DataType> type, Convert convert)
      : FieldDecoder(std::move(name)), builder_(std::move(type), arrow::default_memory_pool()), convert_(convert) {}
  absl::Status Append(std::string_view bytes) override {
    if (bytes.size() != sizeof(Wire)) return WrongLength(bytes);
    return FromArrow(builder_.Append(convert_(Load<Wire>(bytes.data()))));
  }
  arrow::ArrayBuilder& builder() override { return builder_; }

 private:
  Builder builder_;
  Convert convert_;
};

template <typename Builder, typename Wire, typename Convert>
std::unique_ptr<FieldDecoder> Fixed(const v1::Column& column, Convert convert) {
  return std::make_unique<FixedDecoder<Builder, Wire, Convert>>(column.name(), ArrowType(column.type()), convert);
}

class BoolDecoder final : public FieldDecoder {
 public:
  using FieldDecoder::FieldDecoder;
  absl::Status Append(std::string_view bytes) override {
    if (bytes.size() != 1) return WrongLength(bytes);
    return FromArrow(builder_.Append(bytes[0] != 0));
  }
  arrow::ArrayBuilder& builder() override { return builder_; }

 private:
  arrow::BooleanBuilder builder_;
};

class DateDecoder final : public FieldDecoder {
 public:
  using FieldDecoder::FieldDecoder;
  absl::Status Append(std::string_view bytes) override {
    if (bytes.size() != 4) return WrongLength(bytes);
    const int32_t days = Load<int32_t>(bytes.data());
    if (days == std::numeric_limits<int32_t>::max()) return CannotHold("infinity", "a date");
    if (days == std::numeric_limits<int32_t>::min()) return CannotHold("-infinity", "a date");
    return FromArrow(builder_.Append(days + kEpochDays));
  }
  arrow::ArrayBuilder& builder() override { return builder_; }

 private:
  arrow::Date32Builder builder_;
};

class TimestampDecoder final : public FieldDecoder {
 public:
  TimestampDecoder(std::string name, std::shared_ptr<arrow::DataType> type)
      : FieldDecoder(std::move(name)), builder_(std::move(type), arrow::default_memory_pool()) {}
  absl::Status Append(std::string_view bytes) override {
    if (bytes.size() != 8) return WrongLength(bytes);
    const int64_t micros = Load<int64_t>(bytes.data());
    if (micros == std::numeric_limits<int64_t>::max()) return CannotHold("infinity", "a timestamp");
    if (micros == std::numeric_limits<int64_t>::min()) return CannotHold("-infinity", "a timestamp");
    int64_t since_1970 = 0;
    if (__builtin_add_overflow(micros, kEpochMicros, &since_1970)) {
      return CannotHold(absl::StrCat("an instant ", micros, " microseconds after 2000"),
                        "a timestamp counted in microseconds from 1970");
    }
    return FromArrow(builder_.Append(since_1970));
  }
  arrow::ArrayBuilder& builder() override { return builder_; }

 private:
  arrow::TimestampBuilder builder_;
};

template <typename Builder, typename Decimal, absl::StatusOr<Decimal> (*Decode)(std::string_view, int32_t)>
class DecimalDecoder final : public FieldDecoder {
 public:
  DecimalDecoder(std::string name, std::shared_ptr<arrow::DataType> type, int32_t scale)
      : FieldDecoder(std::move(name)), builder_(std::move(type), arrow::default_memory_pool()), scale_(scale) {}
  absl::Status Append(std::string_view bytes) override {
    const absl::StatusOr<Decimal> decimal = Decode(bytes, scale_);
    if (decimal.ok()) return FromArrow(builder_.Append(*decimal));
    if (!absl::IsOutOfRange(decimal.status()))
      return absl::InternalError(absl::StrCat("column ", name_, ": ", decimal.status().message()));
    return CannotHold(std::string(decimal.status().message()), "a decimal");
  }
  arrow::ArrayBuilder& builder() override { return builder_; }

 private:
  Builder builder_;
  int32_t scale_;
};

class UuidDecoder final : public FieldDecoder {
 public:
  UuidDecoder(std::string name, std::shared_ptr<arrow::DataType> type)
      : FieldDecoder(std::move(name)), builder_(std::move(type), arrow::default_memory_pool()) {}
  absl::Status Append(std::string_view bytes) override {
    if (bytes.size() != 16) return WrongLength(bytes);
    return FromArrow(builder_.Append(bytes.data()));
  }
  arrow::ArrayBuilder& builder() override { return builder_; }

 private:
  arrow::FixedSizeBinaryBuilder builder_;
};

template <typename Builder>
class BytesDecoder final : public FieldDecoder {
 public:
  // `skip`: bytes before the text (jsonb sends a version).
  BytesDecoder(std::string name, size_t skip, bool check_utf8)
      : FieldDecoder(std::move(name)), skip_(skip), check_utf8_(check_utf8) {}
  absl::Status Append(std::string_view bytes) override {
    if (skip_ > 0) {
      if (bytes.empty() || bytes[0] != 1)
        return absl::InternalError(absl::StrCat("column ", name_, ": jsonb of an unknown version"));
      bytes.remove_prefix(skip_);
    }
    if (check_utf8_ && !arrow::util::ValidateUTF8(reinterpret_cast<const uint8_t*>(bytes.data()),
                                                  static_cast<int64_t>(bytes.size()))) {
      return CannotHold(absl::StrCat("the bytes \\x", absl::BytesToHexString(absl::string_view(
                                                          bytes.data(), std::min<size_t>(bytes.size(), 64)))),
                        "UTF-8 text");
    }
    if (static_cast<int64_t>(bytes.size()) > arrow::BinaryBuilder::memory_limit())
      return CannotHold("a value of 2 GB", "a batch of rows");
    return FromArrow(builder_.Append(bytes.data(), static_cast<int32_t>(bytes.size())));
  }
  arrow::ArrayBuilder& builder() override { return builder_; }

 private:
  Builder builder_;
  size_t skip_;
  bool check_utf8_;
};

absl::StatusOr<std::unique_ptr<FieldDecoder>> MakeDecoder(const DecodedColumn& decoded) {
  const v1::Column& column = decoded.column;
  const v1::LogicalType& type = column.type();
  const auto same = [](auto value) { return value; };
  switch (type.kind()) {
    case v1::LogicalType::KIND_BOOL:
      return std::make_unique<BoolDecoder>(column.name());
    case v1::LogicalType::KIND_INT16:
      return Fixed<arrow::Int16Builder, int16_t>(column, same);
    case v1::LogicalType::KIND_INT32:
      return Fixed<arrow::Int32Builder, int32_t>(column, same);
    case v1::LogicalType::KIND_INT64:
      if (decoded.type_oid == kOidOid) {
        return Fixed<arrow::Int64Builder, uint32_t>(column, [](uint32_t oid) { return static_cast<int64_t>(oid); });
      }
      return Fixed<arrow::Int64Builder, int64_t>(column, same);
    case v1::LogicalType::KIND_UINT64:
      return Fixed<arrow::UInt64Builder, uint64_t>(column, same);
    case v1::LogicalType::KIND_FLOAT32:
      return Fixed<arrow::FloatBuilder, uint32_t>(column, [](uint32_t bits) { return std::bit_cast<float>(bits); });
    case v1::LogicalType::KIND_FLOAT64:
      return Fixed<arrow::DoubleBuilder, uint64_t>(column, [](uint64_t bits) { return std::bit_cast<double>(bits); });
    case v1::LogicalType::KIND_DATE:
      return std::make_unique<DateDecoder>(column.name());
    case v1::LogicalType::KIND_TIME:
      return Fixed<arrow::Time64Builder, int64_t>(column, same);
    case v1::LogicalType::KIND_TIMESTAMP:
    case v1::LogicalType::KIND_TIMESTAMPTZ:
      return std::make_unique<TimestampDecoder>(column.name(), ArrowType(type));
    case v1::LogicalType::KIND_DECIMAL:
      if (type.precision() == 0) break;
      if (type.precision() <= 38) {
        return std::make_unique<DecimalDecoder<arrow::Decimal128Builder, arrow::Decimal128, DecodeDecimal128>>(
            column.name(), ArrowType(type), type.scale());
      }
      return std::make_unique<DecimalDecoder<arrow::Decimal256Builder, arrow::Decimal256, DecodeDecimal256>>(
          column.name(), ArrowType(type), type.scale());
    case v1::LogicalType::KIND_UUID:
      return std::make_unique<UuidDecoder>(column.name(), ArrowType(type));
    case v1::LogicalType::KIND_BYTES:
      return std::make_unique<BytesDecoder<arrow::BinaryBuilder>>(column.name(), 0, false);
    case v1::LogicalType::KIND_UNSPECIFIED:
      return absl::InvalidArgumentError(absl::StrCat("column ", column.name(), " has no type"));
    default:
      break;
  }
  return std::make_unique<BytesDecoder<arrow::StringBuilder>>(column.name(), decoded.type_oid == kJsonbOid ? 1 : 0,
                                                              decoded.check_utf8);
}

class ArrowTupleDecoder final : public TupleDecoder {
 public:
  ArrowTupleDecoder(std::shared_ptr<arrow::Schema> schema, std::vector<std::unique_ptr<FieldDecoder>> fields)
      : schema_(std::move(schema)), fields_(std::move(fields)) {}

  absl::Status Append(std::string_view tuple) override {
    if (tuple.size() < 2 || static_cast<size_t>(Load<int16_t>(tuple.data())) != fields_.size()) {
      return absl::InternalError("a COPY tuple with another number of fields than columns were selected");
    }
    size_t at = 2;
    for (const std::unique_ptr<FieldDecoder>& field : fields_) {
      if (tuple.size() - at < 4) return absl::InternalError("a COPY tuple is cut short");
      const int32_t length = Load<int32_t>(tuple.data() + at);
      at += 4;
      if (length < 0) {
        TM_RETURN_IF_ERROR(FromArrow(field->builder().AppendNull()));
        continue;
      }
      if (tuple.size() - at < static_cast<size_t>(length)) return absl::InternalError("a COPY tuple is cut short");
      TM_RETURN_IF_ERROR(field->Append(tuple.substr(at, length)));
      at += length;
    }
    ++rows_;
    return absl::OkStatus();
  }

  absl::StatusOr<Chunk> Take() override {
    arrow::ArrayVector arrays;
    for (const std::unique_ptr<FieldDecoder>& field : fields_) {
      TM_RETURN_IF_ERROR(FromArrow(field->builder().Finish(&arrays.emplace_back())));
    }
    Chunk chunk = Chunk::FromArrow(arrow::RecordBatch::Make(schema_, std::exchange(rows_, 0), std::move(arrays)));
    return chunk;
  }

 private:
  std::shared_ptr<arrow::Schema> schema_;
  std::vector<std::unique_ptr<FieldDecoder>> fields_;
  int64_t rows_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TupleDecoder>> TupleDecoder::Create(const std::vector<DecodedColumn>& columns) {
  v1::TableSchema schema;
  std::vector<std::unique_ptr<FieldDecoder>> fields;
  for (const DecodedColumn& column : columns) {
    *schema.add_columns() = column.column;
    TM_ASSIGN_OR_RETURN(std::unique_ptr<FieldDecoder> field, MakeDecoder(column));
    fields.push_back(std::move(field));
  }
  TM_ASSIGN_OR_RETURN(std::shared_ptr<arrow::Schema> arrow_schema, ArrowSchema(schema));
  return std::make_unique<ArrowTupleDecoder>(std::move(arrow_schema), std::move(fields));
}

}  // namespace tidemark::postgres
