#include "worker/connectors/sqlite/column_type.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace tidemark::sqlite {
namespace {

using Type = v1::LogicalType;

struct Declared {
  std::string name;  // Upper case, single spaces, no arguments.
  int first = -1;
  int second = -1;
};

Declared Split(absl::string_view text) {
  Declared result;
  const size_t open = std::min(text.find('('), text.size());
  result.name = absl::AsciiStrToUpper(text.substr(0, open));
  std::string tail;
  if (open < text.size()) {
    const size_t close = std::min(text.find(')', open), text.size());
    const std::vector<std::string> arguments = absl::StrSplit(text.substr(open + 1, close - open - 1), ',');
    if (!absl::SimpleAtoi(arguments[0], &result.first)) result.first = -1;
    if (arguments.size() > 1 && !absl::SimpleAtoi(arguments[1], &result.second)) result.second = -1;
    // "TIMESTAMP(3) WITH TIME ZONE"
    if (close < text.size()) tail = absl::AsciiStrToUpper(text.substr(close + 1));
  }
  absl::StrAppend(&result.name, " ", tail);
  absl::RemoveExtraAsciiWhitespace(&result.name);
  return result;
}

Type Of(Type::Kind kind, int precision = 0, int scale = 0) {
  Type type;
  type.set_kind(kind);
  type.set_precision(precision);
  type.set_scale(scale);
  return type;
}

constexpr auto kByName = std::to_array<std::pair<absl::string_view, Type::Kind>>({
    {"BOOLEAN", Type::KIND_BOOL},
    {"BOOL", Type::KIND_BOOL},
    {"TINYINT", Type::KIND_INT16},
    {"SMALLINT", Type::KIND_INT16},
    {"INT2", Type::KIND_INT16},
    {"MEDIUMINT", Type::KIND_INT32},
    {"INT4", Type::KIND_INT32},
    {"FLOAT4", Type::KIND_FLOAT32},
    {"DATE", Type::KIND_DATE},
    {"TIME", Type::KIND_TIME},
    {"TIMESTAMP", Type::KIND_TIMESTAMP},
    {"DATETIME", Type::KIND_TIMESTAMP},
    {"TIMESTAMP WITHOUT TIME ZONE", Type::KIND_TIMESTAMP},
    {"TIMESTAMPTZ", Type::KIND_TIMESTAMPTZ},
    {"TIMESTAMP WITH TIME ZONE", Type::KIND_TIMESTAMPTZ},
    {"UUID", Type::KIND_UUID},
    {"GUID", Type::KIND_UUID},
    {"JSON", Type::KIND_JSON},
    {"JSONB", Type::KIND_JSON},
    {"JSON_TEXT", Type::KIND_JSON},
    {"DECIMAL", Type::KIND_DECIMAL},
    {"NUMERIC", Type::KIND_DECIMAL},
    {"DECIMAL_TEXT", Type::KIND_DECIMAL},
});

}  // namespace

Affinity AffinityOf(absl::string_view declared) {
  const std::string upper = absl::AsciiStrToUpper(declared);
  const auto has = [&](absl::string_view word) { return absl::StrContains(upper, word); };
  if (has("INT")) return Affinity::kInteger;
  if (has("CHAR") || has("CLOB") || has("TEXT")) return Affinity::kText;
  if (has("BLOB") || absl::StripAsciiWhitespace(upper).empty()) return Affinity::kBlob;
  if (has("REAL") || has("FLOA") || has("DOUB")) return Affinity::kReal;
  return Affinity::kNumeric;
}

std::optional<v1::LogicalType> LogicalTypeOf(absl::string_view declared) {
  const Declared type = Split(declared);
  for (const auto& [name, kind] : kByName) {
    if (type.name != name) continue;
    switch (kind) {
      case Type::KIND_DECIMAL:
        // A scale outside 0..precision has no exact word elsewhere: unbounded.
        if (type.first < 1 || type.first > 76 || std::max(type.second, 0) > type.first) return Of(kind);
        return Of(kind, type.first, std::max(type.second, 0));
      case Type::KIND_TIME:
      case Type::KIND_TIMESTAMP:
      case Type::KIND_TIMESTAMPTZ:
        // SQLite holds no value to the digits of "TIMESTAMP(3)": whatever microseconds can say may be there.
        return Of(kind, 0, 6);
      default:
        return Of(kind);
    }
  }
  switch (AffinityOf(declared)) {
    case Affinity::kInteger:
      return Of(Type::KIND_INT64);
    case Affinity::kText:
      return Of(Type::KIND_STRING);
    case Affinity::kReal:
      return Of(Type::KIND_FLOAT64);
    case Affinity::kBlob:
      if (!absl::StripAsciiWhitespace(declared).empty()) return Of(Type::KIND_BYTES);
      return std::nullopt;
    case Affinity::kNumeric:
      return std::nullopt;
  }
  return std::nullopt;
}

std::string DeclaredType(const v1::LogicalType& type) {
  switch (type.kind()) {
    case Type::KIND_BOOL:
      return "BOOLEAN";
    case Type::KIND_INT16:
      return "SMALLINT";
    case Type::KIND_INT32:
      return "INT4";
    case Type::KIND_INT64:
    case Type::KIND_UINT64:
      return "INTEGER";
    case Type::KIND_FLOAT32:
      return "FLOAT4";
    case Type::KIND_FLOAT64:
      return "DOUBLE";
    case Type::KIND_DECIMAL:
      if (type.precision() == 0) return "DECIMAL_TEXT";
      return absl::StrCat("DECIMAL_TEXT(", type.precision(), ",", type.scale(), ")");
    case Type::KIND_BYTES:
      return "BLOB";
    case Type::KIND_DATE:
      return "DATE";
    case Type::KIND_TIME:
      return "TIME";
    case Type::KIND_TIMESTAMP:
      return "TIMESTAMP";
    case Type::KIND_TIMESTAMPTZ:
      return "TIMESTAMPTZ";
    case Type::KIND_UUID:
      return "UUID";
    case Type::KIND_JSON:
      return "JSON_TEXT";
    default:
      return "TEXT";
  }
}

std::string WhyNotHeld(const v1::LogicalType& type, absl::string_view declared, bool strict) {
  // A STRICT table's columns convert nothing away: what does not fit is refused at the row. ANY keeps all.
  if (strict && absl::EqualsIgnoreCase(declared, "ANY")) return "";
  const Affinity affinity = AffinityOf(declared);
  const bool untouched = affinity == Affinity::kBlob && !strict;
  const auto needs = [&](bool held, absl::string_view wanted) {
    return held ? std::string()
                : absl::StrCat("is declared ", declared.empty() ? "without a type" : declared,
                               ", which would change values of type ", Describe(type), ": declare it ", wanted);
  };
  switch (type.kind()) {
    case Type::KIND_BOOL:
    case Type::KIND_INT16:
    case Type::KIND_INT32:
    case Type::KIND_INT64:
    case Type::KIND_UINT64:
      return needs(untouched || affinity == Affinity::kInteger || affinity == Affinity::kNumeric, DeclaredType(type));
    case Type::KIND_FLOAT32:
    case Type::KIND_FLOAT64:
      return needs(untouched || affinity == Affinity::kReal, DeclaredType(type));
    case Type::KIND_DECIMAL:
      return needs(untouched || affinity == Affinity::kText || affinity == Affinity::kNumeric, DeclaredType(type));
    case Type::KIND_BYTES:
      return needs(affinity == Affinity::kBlob, DeclaredType(type));
    case Type::KIND_DATE:
    case Type::KIND_TIME:
    case Type::KIND_TIMESTAMP:
    case Type::KIND_TIMESTAMPTZ:
    case Type::KIND_UUID:
      // Never a number, so that numeric affinity leaves these texts alone.
      return needs(untouched || affinity == Affinity::kText || affinity == Affinity::kNumeric, DeclaredType(type));
    default:
      return needs(untouched || affinity == Affinity::kText, DeclaredType(type));
  }
}

std::string Describe(const v1::LogicalType& type) {
  std::string name = absl::AsciiStrToLower(Type::Kind_Name(type.kind()));
  name = std::string(absl::StripPrefix(name, "kind_"));
  if (type.kind() == Type::KIND_DECIMAL && type.precision() > 0) {
    absl::StrAppend(&name, "(", type.precision(), ",", type.scale(), ")");
  }
  return name;
}

}  // namespace tidemark::sqlite
