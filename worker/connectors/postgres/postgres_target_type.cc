#include "worker/connectors/postgres/postgres_target_type.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace tidemark::postgres {
namespace {

using v1::LogicalType;

// Fractional digits of a time or timestamp type without a modifier.
constexpr int kMaxFractionDigits = 6;

bool IsInteger(LogicalType::Kind kind) {
  return kind == LogicalType::KIND_INT16 || kind == LogicalType::KIND_INT32 || kind == LogicalType::KIND_INT64 ||
         kind == LogicalType::KIND_UINT64;
}

bool IsCharacter(const TypeName& type) {
  return type.base == "text" || type.base == "character varying" || type.base == "character" || type.base == "bpchar";
}

int FractionDigits(const TypeName& type) { return type.modifiers.empty() ? kMaxFractionDigits : type.modifiers[0]; }

bool FitsNumeric(const LogicalType& source, const TypeName& target) {
  if (target.modifiers.empty()) {
    return IsInteger(source.kind()) || source.kind() == LogicalType::KIND_DECIMAL ||
           source.kind() == LogicalType::KIND_FLOAT32 || source.kind() == LogicalType::KIND_FLOAT64;
  }
  const int scale = target.modifiers.size() > 1 ? target.modifiers[1] : 0;
  if (IsInteger(source.kind())) return scale >= 0;
  return source.kind() == LogicalType::KIND_DECIMAL && source.precision() > 0 && source.scale() <= scale;
}

bool Fits(const LogicalType& source, const TypeName& target) {
  const LogicalType::Kind kind = source.kind();
  const std::string& base = target.base;
  if (IsCharacter(target)) {
    // character(n) pads with blanks; bpchar, without a length, does not.
    if (base == "character") return false;
    if (kind == LogicalType::KIND_STRING) return true;
    return kind != LogicalType::KIND_BYTES && base != "bpchar";
  }
  if (base == "smallint" || base == "integer" || base == "bigint") {
    return IsInteger(kind) || (kind == LogicalType::KIND_DECIMAL && source.precision() > 0 && source.scale() == 0);
  }
  if (base == "numeric") return FitsNumeric(source, target);
  if (base == "real") return kind == LogicalType::KIND_FLOAT32 || kind == LogicalType::KIND_INT16;
  if (base == "double precision") {
    return kind == LogicalType::KIND_FLOAT32 || kind == LogicalType::KIND_FLOAT64 || kind == LogicalType::KIND_INT16 ||
           kind == LogicalType::KIND_INT32;
  }
  if (base == "boolean") return kind == LogicalType::KIND_BOOL;
  if (base == "bytea") return kind == LogicalType::KIND_BYTES;
  if (base == "date") return kind == LogicalType::KIND_DATE;
  if (base == "time without time zone") {
    return kind == LogicalType::KIND_TIME && source.scale() <= FractionDigits(target);
  }
  if (base == "timestamp without time zone") {
    return kind == LogicalType::KIND_DATE ||
           (kind == LogicalType::KIND_TIMESTAMP && source.scale() <= FractionDigits(target));
  }
  if (base == "timestamp with time zone") {
    return kind == LogicalType::KIND_TIMESTAMPTZ && source.scale() <= FractionDigits(target);
  }
  if (base == "uuid") return kind == LogicalType::KIND_UUID;
  if (base == "json") return kind == LogicalType::KIND_JSON || kind == LogicalType::KIND_STRING;
  if (base == "interval") return kind == LogicalType::KIND_INTERVAL && target.modifiers.empty();
  return false;
}

// What a type that takes no value but its own would do to others; empty for the rest.
absl::string_view WhatItDoes(absl::string_view base) {
  if (base == "jsonb") return " (jsonb drops duplicate keys and respells numbers)";
  if (base == "character") return " (character(n) pads with blanks)";
  if (base == "uuid") return " (uuid respells its text)";
  return "";
}

}  // namespace

TypeName ParseTypeName(absl::string_view formatted) {
  TypeName type;
  const size_t open = formatted.find('(');
  const size_t close = formatted.find(')', open);
  // A quoted name of a user's type may hold parentheses: only digits between them are modifiers.
  if (open == absl::string_view::npos || close == absl::string_view::npos) return {std::string(formatted), {}};
  for (absl::string_view part : absl::StrSplit(formatted.substr(open + 1, close - open - 1), ',')) {
    int modifier = 0;
    if (!absl::SimpleAtoi(part, &modifier)) return {std::string(formatted), {}};
    type.modifiers.push_back(modifier);
  }
  type.base = absl::StrCat(formatted.substr(0, open), formatted.substr(close + 1));
  return type;
}

std::string NarrowestType(const v1::LogicalType& type) {
  switch (type.kind()) {
    case LogicalType::KIND_BOOL:
      return "boolean";
    case LogicalType::KIND_INT16:
      return "smallint";
    case LogicalType::KIND_INT32:
      return "integer";
    case LogicalType::KIND_INT64:
      return "bigint";
    case LogicalType::KIND_UINT64:
      return "numeric(20,0)";
    case LogicalType::KIND_FLOAT32:
      return "real";
    case LogicalType::KIND_FLOAT64:
      return "double precision";
    case LogicalType::KIND_DECIMAL:
      if (type.precision() == 0) return "numeric";
      return absl::StrCat("numeric(", type.precision(), ",", type.scale(), ")");
    case LogicalType::KIND_BYTES:
      return "bytea";
    case LogicalType::KIND_DATE:
      return "date";
    case LogicalType::KIND_TIME:
      return "time without time zone";
    case LogicalType::KIND_TIMESTAMP:
      return "timestamp without time zone";
    case LogicalType::KIND_TIMESTAMPTZ:
      return "timestamp with time zone";
    case LogicalType::KIND_UUID:
      return "uuid";
    case LogicalType::KIND_JSON:
      return "json";  // jsonb would drop duplicate keys and respell numbers.
    default:
      return "text";
  }
}

absl::Status CheckAssignable(const v1::Column& source, const ColumnType& target) {
  const LogicalType::Kind kind = source.type().kind();
  // One name in both is one type, where it also means the same: `real` of another system may be a double.
  const bool same_kind = LogicalTypeOf(target.below).kind() == kind;
  if (same_kind && (source.native_type() == target.base || source.wire_type() == target.base)) return absl::OkStatus();
  // Domains of one name may stand over types of different precision: their values must fit the type below. Of a type
  // that is only a name to Tidemark all that can differ in silence is its modifier.
  if (same_kind && kind == LogicalType::KIND_OTHER && source.native_type() == target.declared &&
      target.below.modifier == -1) {
    return absl::OkStatus();
  }
  if (target.below.kind == 'e' && (kind == LogicalType::KIND_STRING || kind == LogicalType::KIND_OTHER))
    return absl::OkStatus();
  const TypeName base = ParseTypeName(target.base);
  if (Fits(source.type(), base)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("column ", source.name(), ": a value of the source's type ",
                                                 source.native_type().empty() ? "(unnamed)" : source.native_type(),
                                                 " might not arrive unchanged in the target's type ", target.declared,
                                                 WhatItDoes(base.base),
                                                 "; cast it in the source's query, or change the target's column"));
}

bool TakesWire(const v1::Column& source, const ColumnType& target) {
  if (source.wire_type().empty()) return false;
  if (target.below.kind == 'e') return source.wire_type() == "text";
  return source.wire_type() == target.base && WireStable(target.below);
}

ColumnEncoding EncodingFor(const v1::Column& source, absl::string_view target_base) {
  ColumnEncoding encoding;
  encoding.name = source.name();
  const TypeName target = ParseTypeName(target_base);
  encoding.widen_float = source.type().kind() == LogicalType::KIND_FLOAT32 &&
                         (target.base == "double precision" || target.base == "numeric");
  if (source.type().kind() == LogicalType::KIND_STRING && IsCharacter(target) && target.modifiers.size() == 1) {
    encoding.max_characters = target.modifiers[0];
  }
  return encoding;
}

}  // namespace tidemark::postgres
