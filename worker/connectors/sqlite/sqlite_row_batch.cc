#include "worker/connectors/sqlite/sqlite_row_batch.h"

#include <arrow/array/array_base.h>
#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_decimal.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/array/builder_time.h>
#include <arrow/record_batch.h>
#include <arrow/status.h>
#include <arrow/type.h>
#include <arrow/util/decimal.h>
#include <sqlite3.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/batch/arrow_schema.h"
#include "worker/connectors/sqlite/column_type.h"
#include "worker/connectors/sqlite/decimal_text.h"
#include "worker/connectors/sqlite/iso_text.h"

namespace tidemark::sqlite {
namespace {

using Type = v1::LogicalType;
using Cells = RowBatch::Cells;
using StoredValue = RowBatch::StoredValue;

// A column whose builder is `Builder` and whose values `Read` takes. Read(value, builder) returns nullptr, or what
// the value should have been.
template <typename Builder, typename Read>
class TypedCells final : public Cells {
 public:
  TypedCells(std::unique_ptr<Builder> builder, Read read) : builder_(std::move(builder)), read_(std::move(read)) {}

  const char* Append(const StoredValue& value) override {
    if (value.storage == SQLITE_NULL) {
      return builder_->AppendNull().ok() ? nullptr : "less than the memory there is";
    }
    return read_(value, *builder_);
  }

  absl::StatusOr<std::shared_ptr<void>> Finish() override {
    auto array = builder_->Finish();
    if (!array.ok()) return absl::ResourceExhaustedError(array.status().message());
    return std::shared_ptr<void>(*std::move(array));
  }

 private:
  std::unique_ptr<Builder> builder_;
  Read read_;
};

template <typename Builder, typename Read>
std::unique_ptr<Cells> MakeCells(std::unique_ptr<Builder> builder, Read read) {
  return std::make_unique<TypedCells<Builder, Read>>(std::move(builder), std::move(read));
}

const char* Done(const arrow::Status& status) { return status.ok() ? nullptr : "less than the memory there is"; }

template <typename Builder>
std::unique_ptr<Cells> IntegerCells() {
  using Value = typename Builder::value_type;
  return MakeCells(std::make_unique<Builder>(), [](const StoredValue& value, Builder& builder) -> const char* {
    if (value.storage != SQLITE_INTEGER) return "an INTEGER value";
    const sqlite3_int64 number = sqlite3_value_int64(value.handle);
    if (number < std::numeric_limits<Value>::min() || number > std::numeric_limits<Value>::max()) {
      return "an INTEGER value within the range of its type";
    }
    return Done(builder.Append(static_cast<Value>(number)));
  });
}

// Floats hold integers up to 2^53 exactly; SQLite stores a REAL without a fraction as INTEGER where the column has no
// REAL affinity.
std::optional<double> ExactDouble(const StoredValue& value) {
  if (value.storage == SQLITE_FLOAT) return sqlite3_value_double(value.handle);
  if (value.storage != SQLITE_INTEGER) return std::nullopt;
  const sqlite3_int64 number = sqlite3_value_int64(value.handle);
  constexpr sqlite3_int64 kLimit = int64_t{1} << 53;
  if (number < -kLimit || number > kLimit) return std::nullopt;
  return static_cast<double>(number);
}

template <typename Builder>
std::unique_ptr<Cells> FloatCells() {
  using Value = typename Builder::value_type;
  return MakeCells(std::make_unique<Builder>(), [](const StoredValue& value, Builder& builder) -> const char* {
    const std::optional<double> real = ExactDouble(value);
    if (!real) return "a REAL value";
    if (std::isfinite(*real) && static_cast<double>(static_cast<Value>(*real)) != *real)
      return "a REAL value of single precision";
    return Done(builder.Append(static_cast<Value>(*real)));
  });
}

std::unique_ptr<Cells> TextCells() {
  return MakeCells(std::make_unique<arrow::StringBuilder>(),
                   [](const StoredValue& value, arrow::StringBuilder& builder) -> const char* {
                     if (value.storage != SQLITE_TEXT) return "a TEXT value";
                     const absl::string_view text = value.Text();
                     if (!IsUtf8(text)) return "TEXT in valid UTF-8";
                     return Done(builder.Append(text.data(), static_cast<int32_t>(text.size())));
                   });
}

// A time of some sort: text that `parse` reads.
template <typename Builder, typename Parse>
std::unique_ptr<Cells> TimeCells(std::unique_ptr<Builder> builder, const char* wanted, Parse parse) {
  return MakeCells(std::move(builder), [wanted, parse](const StoredValue& value, Builder& out) -> const char* {
    if (value.storage != SQLITE_TEXT) return wanted;
    const auto parsed = parse(value.Text());
    if (!parsed) return wanted;
    return Done(out.Append(*parsed));
  });
}

// Digits at the column's scale, from any of the storage classes SQLite gives a number.
std::optional<std::string> DecimalDigits(const StoredValue& value, int precision, int scale) {
  switch (value.storage) {
    case SQLITE_INTEGER:
    case SQLITE_TEXT:
      return UnscaledDigits(value.Text(), precision, scale);
    case SQLITE_FLOAT:
      return RealAsUnscaledDigits(sqlite3_value_double(value.handle), precision, scale);
    default:
      return std::nullopt;
  }
}

template <typename Builder, typename Value>
std::unique_ptr<Cells> DecimalCells(const Type& type) {
  return MakeCells(
      std::make_unique<Builder>(ArrowType(type)),
      [precision = type.precision(), scale = type.scale()](const StoredValue& value, Builder& builder) -> const char* {
        const auto quick = value.storage == SQLITE_INTEGER
                               ? QuickUnscaled(int64_t{sqlite3_value_int64(value.handle)}, precision, scale)
                           : value.storage == SQLITE_FLOAT
                               ? QuickUnscaled(sqlite3_value_double(value.handle), precision, scale)
                               : std::nullopt;
        if (quick) return Done(builder.Append(Value(*quick)));
        const auto digits = DecimalDigits(value, precision, scale);
        if (!digits) return "a number that its precision and scale hold exactly";
        if (digits->size() <= 18) {
          int64_t small;
          if (!absl::SimpleAtoi(*digits, &small)) return "a number";
          return Done(builder.Append(Value(small)));
        }
        auto large = Value::FromString(*digits);
        if (!large.ok()) return "a number that its precision and scale hold exactly";
        return Done(builder.Append(*large));
      });
}

std::unique_ptr<Cells> UnboundedDecimalCells() {
  return MakeCells(std::make_unique<arrow::StringBuilder>(),
                   [](const StoredValue& value, arrow::StringBuilder& builder) -> const char* {
                     constexpr const char* kWanted = "a finite number";
                     if (value.storage == SQLITE_BLOB) return kWanted;
                     const std::string text = value.storage == SQLITE_FLOAT
                                                  ? ShortestDecimal(sqlite3_value_double(value.handle))
                                                  : std::string(value.Text());
                     const size_t dot = text.find('.');
                     const size_t fraction = dot == text.npos ? 0 : text.size() - dot - 1;
                     if (!UnscaledDigits(text, std::numeric_limits<int>::max(), static_cast<int>(fraction)))
                       return kWanted;
                     return Done(builder.Append(text));
                   });
}

std::unique_ptr<Cells> BooleanCells() {
  return MakeCells(std::make_unique<arrow::BooleanBuilder>(),
                   [](const StoredValue& value, arrow::BooleanBuilder& builder) -> const char* {
                     if (value.storage != SQLITE_INTEGER) return "0 or 1";
                     const sqlite3_int64 number = sqlite3_value_int64(value.handle);
                     if (number != 0 && number != 1) return "0 or 1";
                     return Done(builder.Append(number == 1));
                   });
}

std::unique_ptr<Cells> BytesCells() {
  return MakeCells(std::make_unique<arrow::BinaryBuilder>(),
                   [](const StoredValue& value, arrow::BinaryBuilder& builder) -> const char* {
                     if (value.storage != SQLITE_BLOB) return "a BLOB value";
                     const auto* data = static_cast<const uint8_t*>(sqlite3_value_blob(value.handle));
                     const int size = sqlite3_value_bytes(value.handle);
                     // An empty BLOB has no address.
                     return Done(builder.Append(data != nullptr ? data : reinterpret_cast<const uint8_t*>(""), size));
                   });
}

bool ParseUuid(absl::string_view text, uint8_t* out) {
  int nibbles = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (text.size() == 36 && (i == 8 || i == 13 || i == 18 || i == 23)) {
      if (c != '-') return false;
      continue;
    }
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0 || nibbles == 32) return false;
    out[nibbles / 2] = static_cast<uint8_t>(nibbles % 2 == 0 ? digit << 4 : out[nibbles / 2] | digit);
    ++nibbles;
  }
  return nibbles == 32;
}

std::unique_ptr<Cells> UuidCells() {
  return MakeCells(std::make_unique<arrow::FixedSizeBinaryBuilder>(arrow::fixed_size_binary(16)),
                   [](const StoredValue& value, arrow::FixedSizeBinaryBuilder& builder) -> const char* {
                     constexpr const char* kWanted = "a UUID, as TEXT or as a BLOB of 16 bytes";
                     uint8_t bytes[16];
                     switch (value.storage) {
                       case SQLITE_BLOB:
                         if (sqlite3_value_bytes(value.handle) != 16) return kWanted;
                         std::memcpy(bytes, sqlite3_value_blob(value.handle), 16);
                         break;
                       case SQLITE_TEXT:
                         if (!ParseUuid(value.Text(), bytes)) return kWanted;
                         break;
                       default:
                         return kWanted;
                     }
                     return Done(builder.Append(bytes));
                   });
}

// Numeric affinity (a column declared JSON) turns the document 5 into the number 5: its text is the same.
std::unique_ptr<Cells> JsonCells() {
  return MakeCells(std::make_unique<arrow::StringBuilder>(),
                   [](const StoredValue& value, arrow::StringBuilder& builder) -> const char* {
                     if (value.storage == SQLITE_BLOB) return "JSON as TEXT";
                     const absl::string_view text = value.Text();
                     if (!IsUtf8(text)) return "TEXT in valid UTF-8";
                     return Done(builder.Append(text.data(), static_cast<int32_t>(text.size())));
                   });
}

std::unique_ptr<Cells> CellsOf(const Type& type) {
  switch (type.kind()) {
    case Type::KIND_BOOL:
      return BooleanCells();
    case Type::KIND_INT16:
      return IntegerCells<arrow::Int16Builder>();
    case Type::KIND_INT32:
      return IntegerCells<arrow::Int32Builder>();
    case Type::KIND_INT64:
      return IntegerCells<arrow::Int64Builder>();
    case Type::KIND_FLOAT32:
      return FloatCells<arrow::FloatBuilder>();
    case Type::KIND_FLOAT64:
      return FloatCells<arrow::DoubleBuilder>();
    case Type::KIND_DECIMAL:
      if (type.precision() == 0) return UnboundedDecimalCells();
      if (type.precision() <= 38) return DecimalCells<arrow::Decimal128Builder, arrow::Decimal128>(type);
      return DecimalCells<arrow::Decimal256Builder, arrow::Decimal256>(type);
    case Type::KIND_BYTES:
      return BytesCells();
    case Type::KIND_DATE:
      return TimeCells(std::make_unique<arrow::Date32Builder>(), "TEXT as YYYY-MM-DD", &ParseDate);
    case Type::KIND_TIME:
      return TimeCells(std::make_unique<arrow::Time64Builder>(ArrowType(type), arrow::default_memory_pool()),
                       "TEXT as HH:MM:SS", &ParseTime);
    case Type::KIND_TIMESTAMP:
      return TimeCells(
          std::make_unique<arrow::TimestampBuilder>(ArrowType(type), arrow::default_memory_pool()),
          "TEXT as YYYY-MM-DD HH:MM:SS without an offset (declare the column TIMESTAMPTZ if it holds instants)",
          [](absl::string_view text) -> std::optional<int64_t> {
            const auto parsed = ParseTimestamp(text);
            if (parsed && parsed->suffix.empty()) return parsed->micros;
            return std::nullopt;
          });
    case Type::KIND_TIMESTAMPTZ:
      // SQLite's own functions read a timestamp without an offset as UTC.
      return TimeCells(std::make_unique<arrow::TimestampBuilder>(ArrowType(type), arrow::default_memory_pool()),
                       "TEXT as YYYY-MM-DD HH:MM:SS, with Z or an offset or in UTC",
                       [](absl::string_view text) -> std::optional<int64_t> {
                         const auto parsed = ParseTimestamp(text);
                         if (parsed) return parsed->micros;
                         return std::nullopt;
                       });
    case Type::KIND_UUID:
      return UuidCells();
    case Type::KIND_JSON:
      return JsonCells();
    default:
      return TextCells();
  }
}

const char* StorageName(int storage) {
  switch (storage) {
    case SQLITE_INTEGER:
      return "an INTEGER";
    case SQLITE_FLOAT:
      return "a REAL";
    case SQLITE_TEXT:
      return "a TEXT";
    default:
      return "a BLOB";
  }
}

}  // namespace

bool IsUtf8(absl::string_view text) {
  const auto* at = reinterpret_cast<const unsigned char*>(text.data());
  const auto* end = at + text.size();
  while (at < end) {
    if (end - at >= 8) {
      uint64_t word;
      std::memcpy(&word, at, 8);
      if ((word & 0x8080808080808080u) == 0) {
        at += 8;
        continue;
      }
    }
    if (*at < 0x80) {
      ++at;
      continue;
    }
    const int more = *at >= 0xf0 ? 3 : *at >= 0xe0 ? 2 : 1;
    if (*at < 0xc2 || *at > 0xf4 || end - at <= more) return false;
    uint32_t code = *at & (0x3f >> more);
    for (int i = 1; i <= more; ++i) {
      if ((at[i] & 0xc0) != 0x80) return false;
      code = code << 6 | (at[i] & 0x3f);
    }
    // Overlong forms, surrogates, beyond Unicode.
    if ((more == 2 && (code < 0x800 || (code >= 0xd800 && code < 0xe000))) ||
        (more == 3 && (code < 0x10000 || code > 0x10ffff))) {
      return false;
    }
    at += more + 1;
  }
  return true;
}

absl::string_view RowBatch::StoredValue::Text() const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_value_text(handle));
  return absl::string_view(text, static_cast<size_t>(sqlite3_value_bytes(handle)));
}

RowBatch::~RowBatch() = default;

absl::StatusOr<std::unique_ptr<RowBatch>> RowBatch::Create(const v1::TableSchema& schema) {
  std::unique_ptr<RowBatch> batch(new RowBatch);
  batch->schema_ = schema;
  TM_ASSIGN_OR_RETURN(batch->arrow_schema_, ArrowSchema(schema));
  for (const v1::Column& column : schema.columns()) {
    batch->cells_.push_back(CellsOf(column.type()));
    batch->fixed_bytes_ += 8;
  }
  return batch;
}

absl::Status RowBatch::Refuse(sqlite3_stmt* row, int column, int storage, int rowid_column, const char* why) const {
  const v1::Column& described = schema_.columns(column);
  const std::string where = rowid_column >= 0 ? absl::StrCat("rowid ", sqlite3_column_int64(row, rowid_column))
                                              : absl::StrCat("row ", rows_before_ + rows_ + 1, " of this read");
  return absl::InvalidArgumentError(absl::StrCat(
      "column ", described.name(), ", ", where, ": ", StorageName(storage), " value, but its type ",
      Describe(described.type()), " (declared ", described.native_type().empty() ? "nothing" : described.native_type(),
      ") wants ", why, "; mend the row, or convert the column in source.query"));
}

absl::Status RowBatch::Append(sqlite3_stmt* row, int rowid_column) {
  const int columns = static_cast<int>(cells_.size());
  int64_t bytes = fixed_bytes_;
  for (int i = 0; i < columns; ++i) {
    // One call for the value and the rest on it, where a call by column would look the value up each time.
    StoredValue value;
    value.handle = sqlite3_column_value(row, i);
    value.storage = sqlite3_value_type(value.handle);
    if (const char* why = cells_[static_cast<size_t>(i)]->Append(value); why != nullptr)
      return Refuse(row, i, value.storage, rowid_column, why);
    if (value.storage == SQLITE_TEXT || value.storage == SQLITE_BLOB) bytes += sqlite3_value_bytes(value.handle);
  }
  ++rows_;
  bytes_ += bytes;
  return absl::OkStatus();
}

absl::StatusOr<Chunk> RowBatch::Finish() {
  arrow::ArrayVector arrays;
  for (const auto& cells : cells_) {
    TM_ASSIGN_OR_RETURN(std::shared_ptr<void> array, cells->Finish());
    arrays.push_back(std::static_pointer_cast<arrow::Array>(std::move(array)));
  }
  auto batch = arrow::RecordBatch::Make(arrow_schema_, rows_, std::move(arrays));
  rows_before_ += rows_;
  rows_ = bytes_ = 0;
  return Chunk::FromArrow(std::move(batch));
}

}  // namespace tidemark::sqlite
