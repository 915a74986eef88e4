#include "worker/connectors/duckdb/duckdb_type.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace tidemark::duckdb {
namespace {

using Type = v1::LogicalType;

constexpr auto kByName = std::to_array<std::pair<absl::string_view, Type::Kind>>({
    {"BOOLEAN", Type::KIND_BOOL},
    {"SMALLINT", Type::KIND_INT16},
    {"INTEGER", Type::KIND_INT32},
    {"BIGINT", Type::KIND_INT64},
    {"UBIGINT", Type::KIND_UINT64},
    {"FLOAT", Type::KIND_FLOAT32},
    {"DOUBLE", Type::KIND_FLOAT64},
    {"VARCHAR", Type::KIND_STRING},
    {"BLOB", Type::KIND_BYTES},
    {"DATE", Type::KIND_DATE},
    {"TIME", Type::KIND_TIME},
    {"TIMESTAMP", Type::KIND_TIMESTAMP},
    {"TIMESTAMP WITH TIME ZONE", Type::KIND_TIMESTAMPTZ},
    {"UUID", Type::KIND_UUID},
    {"JSON", Type::KIND_JSON},
    // Read as what holds all of theirs.
    {"TINYINT", Type::KIND_INT16},
    {"UTINYINT", Type::KIND_INT16},
    {"USMALLINT", Type::KIND_INT32},
    {"UINTEGER", Type::KIND_INT64},
    {"TIMESTAMP_S", Type::KIND_TIMESTAMP},
    {"TIMESTAMP_MS", Type::KIND_TIMESTAMP},
});

struct Digits {
  int precision = 0;
  int scale = 0;
};

// Of "decimal(60,5)", in either case.
std::optional<Digits> DigitsOf(absl::string_view text) {
  if (!absl::StartsWithIgnoreCase(text, "decimal(") || !absl::EndsWith(text, ")")) return std::nullopt;
  const std::vector<std::string> parts = absl::StrSplit(text.substr(8, text.size() - 9), ',');
  Digits digits;
  if (parts.size() != 2 || !absl::SimpleAtoi(parts[0], &digits.precision) ||
      !absl::SimpleAtoi(parts[1], &digits.scale)) {
    return std::nullopt;
  }
  return digits;
}

bool IsNative(const Type& type) {
  return type.precision() >= 1 && type.precision() <= 38 && type.scale() >= 0 && type.scale() <= type.precision();
}

Type Decimal(int precision, int scale) {
  Type type;
  type.set_kind(Type::KIND_DECIMAL);
  type.set_precision(precision);
  type.set_scale(scale);
  return type;
}

bool Whole(Type::Kind kind) { return kind == Type::KIND_INT16 || kind == Type::KIND_INT32 || kind == Type::KIND_INT64; }

}  // namespace

std::string DeclaredType(const v1::LogicalType& type) {
  if (type.kind() == Type::KIND_DECIMAL && IsNative(type)) {
    return absl::StrCat("DECIMAL(", type.precision(), ",", type.scale(), ")");
  }
  const auto found =
      std::find_if(kByName.begin(), kByName.end(), [&](const auto& entry) { return entry.second == type.kind(); });
  return std::string(found != kByName.end() ? found->first : "VARCHAR");
}

std::string CommentOf(const v1::LogicalType& type) {
  if (type.kind() == Type::KIND_INTERVAL) return "interval";
  if (type.kind() != Type::KIND_DECIMAL || IsNative(type)) return "";
  if (type.precision() == 0) return "decimal";
  return absl::StrCat("decimal(", type.precision(), ",", type.scale(), ")");
}

v1::LogicalType LogicalTypeOf(absl::string_view data_type, absl::string_view comment) {
  Type type;
  if (const auto digits = DigitsOf(data_type)) return Decimal(digits->precision, digits->scale);
  if (data_type == "VARCHAR") {
    if (comment == "decimal") return Decimal(0, 0);
    if (const auto digits = DigitsOf(comment)) return Decimal(digits->precision, digits->scale);
    if (comment == "interval") {
      type.set_kind(Type::KIND_INTERVAL);
      return type;
    }
  }
  const auto found =
      std::find_if(kByName.begin(), kByName.end(), [&](const auto& entry) { return entry.first == data_type; });
  type.set_kind(found != kByName.end() ? found->second : Type::KIND_OTHER);
  const bool has_time =
      type.kind() == Type::KIND_TIME || type.kind() == Type::KIND_TIMESTAMP || type.kind() == Type::KIND_TIMESTAMPTZ;
  if (has_time) type.set_scale(data_type == "TIMESTAMP_S" ? 0 : data_type == "TIMESTAMP_MS" ? 3 : 6);
  return type;
}

bool Holds(absl::string_view data_type, const v1::LogicalType& type) {
  if (data_type == DeclaredType(type)) return true;
  const auto digits = DigitsOf(data_type);
  switch (type.kind()) {
    case Type::KIND_INT16:
    case Type::KIND_INT32:
    case Type::KIND_INT64:
    case Type::KIND_UINT64: {
      if (data_type == "HUGEINT") return true;
      const Type held = LogicalTypeOf(data_type, "");
      return data_type == DeclaredType(held) && Whole(held.kind()) && Whole(type.kind()) && held.kind() > type.kind();
    }
    case Type::KIND_FLOAT32:
      return data_type == "DOUBLE";
    case Type::KIND_DECIMAL:
      return IsNative(type) && digits && digits->scale >= type.scale() &&
             digits->precision - digits->scale >= type.precision() - type.scale();
    case Type::KIND_JSON:
      return data_type == "VARCHAR";
    default:
      return false;
  }
}

}  // namespace tidemark::duckdb
