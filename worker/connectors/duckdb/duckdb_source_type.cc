#include "worker/connectors/duckdb/duckdb_source_type.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "worker/connectors/duckdb/duckdb_name.h"
#include "worker/connectors/duckdb/duckdb_type.h"

namespace tidemark::duckdb {
namespace {

using Type = v1::LogicalType;

constexpr absl::string_view kText = "VARCHAR";

Type Of(Type::Kind kind) {
  Type type;
  type.set_kind(kind);
  return type;
}

// Also of lists of these.
bool IsNested(absl::string_view data_type) {
  return absl::EndsWith(data_type, "]") || absl::StartsWith(data_type, "STRUCT(") ||
         absl::StartsWith(data_type, "MAP(") || absl::StartsWith(data_type, "UNION(");
}

// JSON has no word for the floats that are no numbers, which to_json() writes down all the same.
std::string JsonOf(const v1::Column& column, const std::string& name) {
  const std::string json = absl::StrCat("CAST(to_json(", name, ") AS VARCHAR)");
  const std::string& type = column.native_type();
  if (!absl::StrContains(type, "FLOAT") && !absl::StrContains(type, "DOUBLE")) return json;
  return absl::StrCat("CASE WHEN regexp_matches(regexp_replace(", json,
                      R"(, '"(\\.|[^"\\])*"', '', 'g'), '[NI]') THEN error()",
                      Literal(absl::StrCat("column ", column.name(), " (", type,
                                           ") holds a NaN or an infinity, which JSON cannot; convert the column in "
                                           "source.query")),
                      ") ELSE ", json, " END");
}

}  // namespace

std::optional<v1::LogicalType> SourceTypeOf(absl::string_view data_type, absl::string_view comment) {
  if (IsNested(data_type)) return Of(Type::KIND_JSON);
  if (data_type == "HUGEINT" || data_type == "UHUGEINT" || data_type == "BIGNUM") return Of(Type::KIND_DECIMAL);
  if (data_type == "INTERVAL") return Of(Type::KIND_INTERVAL);
  if (absl::StartsWith(data_type, "ENUM(")) return Of(Type::KIND_STRING);
  if (data_type == "TIMESTAMP_NS") {
    Type type = Of(Type::KIND_TIMESTAMP);
    type.set_scale(6);
    return type;
  }
  const Type type = LogicalTypeOf(data_type, comment);
  const bool printable = data_type == "BIT" || data_type == "TIME WITH TIME ZONE" || data_type == "TIME_NS";
  if (type.kind() == Type::KIND_OTHER && !printable) return std::nullopt;
  return type;
}

std::string ReadExpression(const v1::Column& column) {
  const std::string name = Quoted(column.name());
  if (IsNested(column.native_type())) return JsonOf(column, name);
  switch (column.type().kind()) {
    case Type::KIND_UUID:
      return absl::StrCat("CAST(", name, " AS BLOB)");
    case Type::KIND_STRING:
    case Type::KIND_JSON:
    case Type::KIND_INTERVAL:
    case Type::KIND_OTHER:
      return column.native_type() == kText ? name : absl::StrCat("CAST(", name, " AS VARCHAR)");
    case Type::KIND_DECIMAL:
      return column.type().precision() != 0 || column.native_type() == kText
                 ? name
                 : absl::StrCat("CAST(", name, " AS VARCHAR)");
    default:
      return name;
  }
}

bool CanBeCutBy(const v1::Column& column) {
  switch (column.type().kind()) {
    case Type::KIND_INT16:
    case Type::KIND_INT32:
    case Type::KIND_INT64:
    case Type::KIND_UINT64:
    case Type::KIND_DATE:
    case Type::KIND_TIME:
    case Type::KIND_TIMESTAMP:
    case Type::KIND_TIMESTAMPTZ:
    case Type::KIND_UUID:
      return true;
    case Type::KIND_STRING:
      return column.native_type() == kText;
    case Type::KIND_DECIMAL:
      return column.native_type() != kText;
    default:
      return false;
  }
}

std::string TypedLiteral(const v1::Column& column, absl::string_view text) {
  return absl::StrCat("CAST(", Literal(text), " AS ", column.native_type(), ")");
}

}  // namespace tidemark::duckdb
