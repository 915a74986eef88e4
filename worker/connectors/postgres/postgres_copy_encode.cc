#include "worker/connectors/postgres/postgres_copy_encode.h"

#include <arrow/array.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <arrow/util/decimal.h>

#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/time/civil_time.h"
#include "common/base/status_macros.h"

namespace tidemark::postgres {
namespace {

constexpr int64_t kMicrosPerSecond = 1'000'000;
constexpr int64_t kMicrosPerDay = 86'400 * kMicrosPerSecond;
constexpr char kHexDigits[] = "0123456789abcdef";

template <typename Integer>
void AppendInteger(Integer value, std::string* out) {
  char digits[24];
  const char* end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
  out->append(digits, end - digits);
}

template <typename Float>
void AppendFloat(Float value, std::string* out) {
  if (std::isnan(value)) {
    out->append("NaN");
  } else if (std::isinf(value)) {
    out->append(value < 0 ? "-Infinity" : "Infinity");
  } else {
    char digits[40];
    const char* end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
    out->append(digits, end - digits);
  }
}

void AppendPadded(int64_t value, int width, std::string* out) {
  char digits[24];
  const char* end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
  for (int missing = width - static_cast<int>(end - digits); missing > 0; --missing) out->push_back('0');
  out->append(digits, end - digits);
}

// Year, month and day; true if the year is before Christ, which PostgreSQL writes behind the whole value.
bool AppendDate(int64_t days, std::string* out) {
  const absl::CivilDay day = absl::CivilDay(1970, 1, 1) + days;
  const bool before_christ = day.year() <= 0;  // Year 0 of the proleptic calendar is 1 BC.
  AppendPadded(before_christ ? 1 - day.year() : day.year(), 4, out);
  out->push_back('-');
  AppendPadded(day.month(), 2, out);
  out->push_back('-');
  AppendPadded(day.day(), 2, out);
  return before_christ;
}

void AppendTime(int64_t micros, std::string* out) {
  const int64_t seconds = micros / kMicrosPerSecond;
  AppendPadded(seconds / 3600, 2, out);
  out->push_back(':');
  AppendPadded(seconds / 60 % 60, 2, out);
  out->push_back(':');
  AppendPadded(seconds % 60, 2, out);
  if (const int64_t fraction = micros % kMicrosPerSecond; fraction != 0) {
    out->push_back('.');
    AppendPadded(fraction, 6, out);
  }
}

void AppendTimestamp(int64_t micros, bool instant, std::string* out) {
  int64_t days = micros / kMicrosPerDay;
  if (micros % kMicrosPerDay < 0) --days;
  const bool before_christ = AppendDate(days, out);
  out->push_back(' ');
  AppendTime(micros - days * kMicrosPerDay, out);
  if (instant) out->append("+00");
  if (before_christ) out->append(" BC");
}

// `digits` is an integer, of which the last `scale` digits stand behind the point.
void AppendScaled(std::string_view digits, int scale, std::string* out) {
  if (!digits.empty() && digits.front() == '-') {
    out->push_back('-');
    digits.remove_prefix(1);
  }
  if (scale <= 0) {
    out->append(digits);
    if (digits != "0") out->append(static_cast<size_t>(-scale), '0');
    return;
  }
  const int whole = static_cast<int>(digits.size()) - scale;
  if (whole > 0) {
    out->append(digits.substr(0, whole));
    out->push_back('.');
    out->append(digits.substr(whole));
  } else {
    out->append("0.");
    out->append(static_cast<size_t>(-whole), '0');
    out->append(digits);
  }
}

void AppendDecimal128(const uint8_t* bytes, int scale, std::string* out) {
  const arrow::Decimal128 value(bytes);
  const auto low = static_cast<int64_t>(value.low_bits());
  if (value.high_bits() == (low < 0 ? -1 : 0)) {
    char digits[24];
    const char* end = std::to_chars(digits, digits + sizeof(digits), low).ptr;
    AppendScaled(std::string_view(digits, end - digits), scale, out);
  } else {
    AppendScaled(value.ToIntegerString(), scale, out);
  }
}

void AppendUuid(const uint8_t* bytes, std::string* out) {
  for (int i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out->push_back('-');
    out->push_back(kHexDigits[bytes[i] >> 4]);
    out->push_back(kHexDigits[bytes[i] & 15]);
  }
}

void AppendBytes(std::string_view bytes, std::string* out) {
  // bytea's hex form begins with a backslash, and COPY wants that one doubled.
  out->append("\\\\x");
  for (const char c : bytes) {
    out->push_back(kHexDigits[static_cast<uint8_t>(c) >> 4]);
    out->push_back(kHexDigits[static_cast<uint8_t>(c) & 15]);
  }
}

// The letter behind the backslash for the bytes COPY escapes; 1 for the zero byte, which no text of PostgreSQL can
// hold.
constexpr std::array<char, 256> kEscapes = [] {
  std::array<char, 256> escapes{};
  escapes[0] = 1;
  escapes['\b'] = 'b';
  escapes['\f'] = 'f';
  escapes['\n'] = 'n';
  escapes['\r'] = 'r';
  escapes['\t'] = 't';
  escapes['\v'] = 'v';
  escapes['\\'] = '\\';
  return escapes;
}();

absl::Status AppendText(std::string_view text, const ColumnEncoding& column, std::string* out) {
  if (column.max_characters > 0 && static_cast<int64_t>(text.size()) > column.max_characters) {
    int64_t characters = 0;
    for (const char c : text) characters += (c & 0xC0) != 0x80;  // Continuation bytes of UTF-8 begin no character.
    if (characters > column.max_characters) {
      return absl::InvalidArgumentError(absl::StrCat("column ", column.name, ": a value of ", characters,
                                                     " characters does not fit into ", column.max_characters,
                                                     "; widen the target's column"));
    }
  }
  size_t copied = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char escape = kEscapes[static_cast<uint8_t>(text[i])];
    if (escape == 0) continue;
    if (escape == 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("column ", column.name,
                       ": a text value holds the character \\u0000, which PostgreSQL cannot store; "
                       "remove it in the source's query"));
    }
    out->append(text.substr(copied, i - copied));
    out->push_back('\\');
    out->push_back(escape);
    copied = i + 1;
  }
  out->append(text.substr(copied));
  return absl::OkStatus();
}

// One column of a batch. The type is looked at once per batch, the switch runs once per value.
class ColumnReader {
 public:
  static absl::StatusOr<ColumnReader> Make(const arrow::Array& array, const ColumnEncoding& encoding) {
    const arrow::DataType& type = *array.type();
    bool known = true;
    switch (type.id()) {
      case arrow::Type::BOOL:
      case arrow::Type::INT16:
      case arrow::Type::INT32:
      case arrow::Type::INT64:
      case arrow::Type::UINT64:
      case arrow::Type::FLOAT:
      case arrow::Type::DOUBLE:
      case arrow::Type::DECIMAL128:
      case arrow::Type::DECIMAL256:
      case arrow::Type::STRING:
      case arrow::Type::BINARY:
      case arrow::Type::DATE32:
        break;
      case arrow::Type::TIME64:
        known = static_cast<const arrow::Time64Type&>(type).unit() == arrow::TimeUnit::MICRO;
        break;
      case arrow::Type::TIMESTAMP:
        known = static_cast<const arrow::TimestampType&>(type).unit() == arrow::TimeUnit::MICRO;
        break;
      case arrow::Type::FIXED_SIZE_BINARY:
        known = static_cast<const arrow::FixedSizeBinaryType&>(type).byte_width() == 16;
        break;
      default:
        known = false;
    }
    if (!known)
      return absl::InternalError(
          absl::StrCat("column ", encoding.name, ": no COPY text for Arrow's ", type.ToString()));
    ColumnReader reader(array, encoding);
    if (type.id() == arrow::Type::DECIMAL128 || type.id() == arrow::Type::DECIMAL256) {
      reader.scale_ = static_cast<const arrow::DecimalType&>(type).scale();
    }
    if (type.id() == arrow::Type::TIMESTAMP) {
      reader.instant_ = !static_cast<const arrow::TimestampType&>(type).timezone().empty();
    }
    return reader;
  }

  absl::Status AppendValue(int64_t row, std::string* out) const {
    if (array_->IsNull(row)) {
      out->append("\\N");
      return absl::OkStatus();
    }
    switch (id_) {
      case arrow::Type::BOOL:
        out->append(As<arrow::BooleanArray>().Value(row) ? "true" : "false");
        break;
      case arrow::Type::INT16:
        AppendInteger(As<arrow::Int16Array>().Value(row), out);
        break;
      case arrow::Type::INT32:
        AppendInteger(As<arrow::Int32Array>().Value(row), out);
        break;
      case arrow::Type::INT64:
        AppendInteger(As<arrow::Int64Array>().Value(row), out);
        break;
      case arrow::Type::UINT64:
        AppendInteger(As<arrow::UInt64Array>().Value(row), out);
        break;
      case arrow::Type::FLOAT: {
        const float value = As<arrow::FloatArray>().Value(row);
        encoding_->widen_float ? AppendFloat(static_cast<double>(value), out) : AppendFloat(value, out);
        break;
      }
      case arrow::Type::DOUBLE:
        AppendFloat(As<arrow::DoubleArray>().Value(row), out);
        break;
      case arrow::Type::DECIMAL128:
        AppendDecimal128(As<arrow::Decimal128Array>().GetValue(row), scale_, out);
        break;
      case arrow::Type::DECIMAL256:
        AppendScaled(arrow::Decimal256(As<arrow::Decimal256Array>().GetValue(row)).ToIntegerString(), scale_, out);
        break;
      case arrow::Type::STRING:
        return AppendText(As<arrow::StringArray>().GetView(row), *encoding_, out);
      case arrow::Type::BINARY:
        AppendBytes(As<arrow::BinaryArray>().GetView(row), out);
        break;
      case arrow::Type::DATE32:
        if (AppendDate(As<arrow::Date32Array>().Value(row), out)) out->append(" BC");
        break;
      case arrow::Type::TIME64:
        AppendTime(As<arrow::Time64Array>().Value(row), out);
        break;
      case arrow::Type::TIMESTAMP:
        AppendTimestamp(As<arrow::TimestampArray>().Value(row), instant_, out);
        break;
      default:  // Make let nothing else in.
        AppendUuid(As<arrow::FixedSizeBinaryArray>().GetValue(row), out);
    }
    return absl::OkStatus();
  }

 private:
  ColumnReader(const arrow::Array& array, const ColumnEncoding& encoding)
      : array_(&array), encoding_(&encoding), id_(array.type_id()) {}

  template <typename Array>
  const Array& As() const {
    return static_cast<const Array&>(*array_);
  }

  const arrow::Array* array_;
  const ColumnEncoding* encoding_;
  arrow::Type::type id_;
  int scale_ = 0;
  bool instant_ = false;
};

}  // namespace

absl::Status EncodeCopyText(const Chunk& chunk, const std::vector<ColumnEncoding>& columns, std::string* out) {
  const arrow::RecordBatch& batch = *chunk.arrow();
  if (batch.num_columns() != static_cast<int>(columns.size())) {
    return absl::InternalError(
        absl::StrCat("a chunk of ", batch.num_columns(), " columns for a load of ", columns.size()));
  }
  std::vector<ColumnReader> readers;
  readers.reserve(columns.size());
  for (size_t i = 0; i < columns.size(); ++i) {
    TM_ASSIGN_OR_RETURN(ColumnReader reader, ColumnReader::Make(*batch.column(static_cast<int>(i)), columns[i]));
    readers.push_back(reader);
  }
  for (int64_t row = 0; row < batch.num_rows(); ++row) {
    for (size_t i = 0; i < readers.size(); ++i) {
      if (i > 0) out->push_back('\t');
      TM_RETURN_IF_ERROR(readers[i].AppendValue(row, out));
    }
    out->push_back('\n');
  }
  return absl::OkStatus();
}

}  // namespace tidemark::postgres
