#include "worker/connectors/sqlite/sqlite_row_binder.h"

#include <arrow/array/array_binary.h>
#include <arrow/array/array_decimal.h>
#include <arrow/array/array_primitive.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <arrow/util/decimal.h>
#include <sqlite3.h>

#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "worker/batch/arrow_schema.h"
#include "worker/connectors/sqlite/column_type.h"
#include "worker/connectors/sqlite/decimal_text.h"
#include "worker/connectors/sqlite/iso_text.h"
#include "worker/connectors/sqlite/sqlite_database.h"

namespace tidemark::sqlite {
namespace {

using Type = v1::LogicalType;
using Bound = RowBinder::Bound;
using Cell = RowBinder::Cell;

// Decimal digits a REAL keeps, whatever they are ("Datatypes In SQLite", section 3).
constexpr int kRealDigits = 15;

// SQLite makes a copy: `text` does not live until the row's step.
Bound BindText(sqlite3_stmt* statement, int parameter, const std::string& text) {
  return sqlite3_bind_text64(statement, parameter, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
}

template <typename Array, typename Put>
class TypedCell final : public Cell {
 public:
  explicit TypedCell(Put put) : put_(std::move(put)) {}
  void Start(const arrow::Array& array) override { array_ = static_cast<const Array*>(&array); }
  Bound Bind(int64_t row, sqlite3_stmt* statement, int parameter) override {
    return put_(*array_, row, statement, parameter);
  }

 private:
  const Array* array_ = nullptr;
  Put put_;
};

template <typename Array, typename Put>
std::unique_ptr<Cell> MakeCell(Put put) {
  return std::make_unique<TypedCell<Array, Put>>(std::move(put));
}

template <typename Array>
std::unique_ptr<Cell> IntegerCell() {
  return MakeCell<Array>([](const Array& array, int64_t row, sqlite3_stmt* statement, int parameter) -> Bound {
    return sqlite3_bind_int64(statement, parameter, static_cast<int64_t>(array.Value(row)));
  });
}

template <typename Array>
std::unique_ptr<Cell> FloatCell() {
  return MakeCell<Array>([](const Array& array, int64_t row, sqlite3_stmt* statement, int parameter) -> Bound {
    const double value = array.Value(row);
    if (std::isnan(value)) return "NaN (it would be stored as NULL)";
    return sqlite3_bind_double(statement, parameter, value);
  });
}

std::unique_ptr<Cell> UnsignedCell() {
  return MakeCell<arrow::UInt64Array>(
      [](const arrow::UInt64Array& array, int64_t row, sqlite3_stmt* statement, int parameter) -> Bound {
        const uint64_t value = array.Value(row);
        if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
          return "an integer above 9223372036854775807";
        return sqlite3_bind_int64(statement, parameter, static_cast<int64_t>(value));
      });
}

std::unique_ptr<Cell> TextCell() {
  return MakeCell<arrow::StringArray>(
      [](const arrow::StringArray& array, int64_t row, sqlite3_stmt* statement, int parameter) -> Bound {
        const auto text = array.GetView(row);
        return sqlite3_bind_text64(statement, parameter, text.data() != nullptr ? text.data() : "", text.size(),
                                   SQLITE_STATIC, SQLITE_UTF8);
      });
}

std::unique_ptr<Cell> BytesCell() {
  return MakeCell<arrow::BinaryArray>(
      [](const arrow::BinaryArray& array, int64_t row, sqlite3_stmt* statement, int parameter) -> Bound {
        const auto bytes = array.GetView(row);
        return sqlite3_bind_blob64(statement, parameter, bytes.data() != nullptr ? bytes.data() : "", bytes.size(),
                                   SQLITE_STATIC);
      });
}

std::unique_ptr<Cell> BooleanCell() {
  return MakeCell<arrow::BooleanArray>(
      [](const arrow::BooleanArray& array, int64_t row, sqlite3_stmt* statement, int parameter) -> Bound {
        return sqlite3_bind_int(statement, parameter, array.Value(row) ? 1 : 0);
      });
}

Bound BindDecimalText(const std::string& text, bool numeric_affinity, sqlite3_stmt* statement, int parameter) {
  int64_t ignored;
  if (numeric_affinity && SignificantDigits(text) > kRealDigits && !absl::SimpleAtoi(text, &ignored)) {
    return "a decimal of more than 15 digits (declare the column DECIMAL_TEXT)";
  }
  return BindText(statement, parameter, text);
}

template <typename Array, typename Value>
std::unique_ptr<Cell> DecimalCell(int scale, bool numeric_affinity) {
  return MakeCell<Array>(
      [scale, numeric_affinity](const Array& array, int64_t row, sqlite3_stmt* statement, int parameter) -> Bound {
        return BindDecimalText(ScaledText(Value(array.GetValue(row)).ToIntegerString(), scale), numeric_affinity,
                               statement, parameter);
      });
}

std::unique_ptr<Cell> UnboundedDecimalCell(bool numeric_affinity) {
  return MakeCell<arrow::StringArray>([numeric_affinity](const arrow::StringArray& array, int64_t row,
                                                         sqlite3_stmt* statement, int parameter) -> Bound {
    const std::string text(array.GetView(row));
    // NaN and infinities of PostgreSQL's numeric stay texts, which a column of TEXT affinity keeps and numeric affinity
    // does too.
    return BindDecimalText(text, numeric_affinity, statement, parameter);
  });
}

std::unique_ptr<Cell> DateCell() {
  return MakeCell<arrow::Date32Array>(
      [](const arrow::Date32Array& array, int64_t row, sqlite3_stmt* statement, int parameter) -> Bound {
        std::string text;
        if (!AppendDate(array.Value(row), &text)) return "a year outside 0001 to 9999";
        return BindText(statement, parameter, text);
      });
}

std::unique_ptr<Cell> TimeCell() {
  return MakeCell<arrow::Time64Array>(
      [](const arrow::Time64Array& array, int64_t row, sqlite3_stmt* statement, int parameter) -> Bound {
        std::string text;
        AppendTime(array.Value(row), &text);
        return BindText(statement, parameter, text);
      });
}

std::unique_ptr<Cell> TimestampCell(const char* suffix) {
  return MakeCell<arrow::TimestampArray>(
      [suffix](const arrow::TimestampArray& array, int64_t row, sqlite3_stmt* statement, int parameter) -> Bound {
        std::string text;
        if (!AppendTimestamp(array.Value(row), ' ', &text)) return "a year outside 0001 to 9999";
        return BindText(statement, parameter, text + suffix);
      });
}

std::unique_ptr<Cell> UuidCell() {
  return MakeCell<arrow::FixedSizeBinaryArray>(
      [](const arrow::FixedSizeBinaryArray& array, int64_t row, sqlite3_stmt* statement, int parameter) -> Bound {
        constexpr char kHex[] = "0123456789abcdef";
        const uint8_t* bytes = array.GetValue(row);
        std::string text;
        for (int i = 0; i < 16; ++i) {
          if (i == 4 || i == 6 || i == 8 || i == 10) text.push_back('-');
          text.push_back(kHex[bytes[i] >> 4]);
          text.push_back(kHex[bytes[i] & 15]);
        }
        return BindText(statement, parameter, text);
      });
}

std::unique_ptr<Cell> CellOf(const Type& type, const std::string& declared) {
  const Affinity affinity = AffinityOf(declared);
  const bool numeric = affinity == Affinity::kNumeric || affinity == Affinity::kInteger || affinity == Affinity::kReal;
  switch (type.kind()) {
    case Type::KIND_BOOL:
      return BooleanCell();
    case Type::KIND_INT16:
      return IntegerCell<arrow::Int16Array>();
    case Type::KIND_INT32:
      return IntegerCell<arrow::Int32Array>();
    case Type::KIND_INT64:
      return IntegerCell<arrow::Int64Array>();
    case Type::KIND_UINT64:
      return UnsignedCell();
    case Type::KIND_FLOAT32:
      return FloatCell<arrow::FloatArray>();
    case Type::KIND_FLOAT64:
      return FloatCell<arrow::DoubleArray>();
    case Type::KIND_DECIMAL:
      if (type.precision() < 1 || type.precision() > 76) return UnboundedDecimalCell(numeric);
      if (type.precision() <= 38) return DecimalCell<arrow::Decimal128Array, arrow::Decimal128>(type.scale(), numeric);
      return DecimalCell<arrow::Decimal256Array, arrow::Decimal256>(type.scale(), numeric);
    case Type::KIND_BYTES:
      return BytesCell();
    case Type::KIND_DATE:
      return DateCell();
    case Type::KIND_TIME:
      return TimeCell();
    case Type::KIND_TIMESTAMP:
      return TimestampCell("");
    case Type::KIND_TIMESTAMPTZ:
      return TimestampCell("+00:00");
    case Type::KIND_UUID:
      return UuidCell();
    default:
      return TextCell();
  }
}

}  // namespace

RowBinder::~RowBinder() = default;

absl::StatusOr<std::unique_ptr<RowBinder>> RowBinder::Create(const v1::TableSchema& schema,
                                                             const std::vector<std::string>& declared,
                                                             absl::string_view rowid_column) {
  if (static_cast<int>(declared.size()) != schema.columns_size())
    return absl::InternalError("a declared type is missing");
  std::unique_ptr<RowBinder> binder(new RowBinder);
  binder->schema_ = schema;
  for (int i = 0; i < schema.columns_size(); ++i) {
    binder->cells_.push_back(CellOf(schema.columns(i).type(), declared[i]));
    const bool is_rowid = !rowid_column.empty() && absl::EqualsIgnoreCase(schema.columns(i).name(), rowid_column);
    if (is_rowid) binder->rowid_column_ = i;
  }
  return binder;
}

absl::Status RowBinder::Start(const arrow::RecordBatch& batch) {
  if (batch.num_columns() != schema_.columns_size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a chunk of ", batch.num_columns(), " columns where there are ", schema_.columns_size()));
  }
  arrays_.clear();
  for (int i = 0; i < batch.num_columns(); ++i) {
    const auto expected = ArrowType(schema_.columns(i).type());
    if (!batch.column(i)->type()->Equals(*expected)) {
      return absl::InvalidArgumentError(absl::StrCat("column ", schema_.columns(i).name(), " arrives as ",
                                                     batch.column(i)->type()->ToString(), " where ",
                                                     expected->ToString(), " was described"));
    }
    // Record batches keep their columns alive.
    arrays_.push_back(batch.column(i).get());
    cells_[i]->Start(*batch.column(i));
  }
  return absl::OkStatus();
}

absl::Status RowBinder::Bind(int64_t row, sqlite3_stmt* statement, int first_parameter) {
  for (size_t i = 0; i < cells_.size(); ++i) {
    const int parameter = first_parameter + static_cast<int>(i);
    Bound bound = SQLITE_OK;
    if (!arrays_[i]->IsNull(row)) {
      bound = cells_[i]->Bind(row, statement, parameter);
    } else if (static_cast<int>(i) == rowid_column_) {
      bound = "NULL in the table's INTEGER PRIMARY KEY (it would get a number of its own)";
    } else {
      bound = sqlite3_bind_null(statement, parameter);
    }
    if (bound.code == SQLITE_OK && bound.cannot_hold == nullptr) continue;
    const v1::Column& column = schema_.columns(static_cast<int>(i));
    const std::string what = absl::StrCat("column ", column.name(), " (", Describe(column.type()), ")");
    if (bound.cannot_hold != nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(what, " holds ", bound.cannot_hold, ", which SQLite cannot hold exactly"));
    }
    // The parameter is NULL now: the row must not be stored.
    return SqliteError(nullptr, bound.code,
                       absl::StrCat(sqlite3_db_filename(sqlite3_db_handle(statement), "main"), ", ", what));
  }
  return absl::OkStatus();
}

}  // namespace tidemark::sqlite
