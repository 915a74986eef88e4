#include "worker/connectors/postgres/postgres_source_type.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "worker/connectors/postgres/postgres_name.h"

namespace tidemark::postgres {
namespace {

// OIDs below are assigned by hand in PostgreSQL's sources; those above by initdb or by users (access/transam.h).
constexpr uint32_t kFirstUnstableOid = 10000;
constexpr int kMaxDecimalDigits = 76;
constexpr int kMicroseconds = 6;

bool PlainKind(char kind) { return kind == 'b' || kind == 'r' || kind == 'm'; }

v1::LogicalType Kind(v1::LogicalType::Kind kind) {
  v1::LogicalType type;
  type.set_kind(kind);
  return type;
}

v1::LogicalType Temporal(v1::LogicalType::Kind kind, int32_t modifier) {
  v1::LogicalType type = Kind(kind);
  type.set_scale(modifier < 0 ? kMicroseconds : modifier);
  return type;
}

// numeric's modifier is ((precision << 16) | scale) + 4, the scale being 11 bits and signed since version 15.
v1::LogicalType Decimal(int32_t modifier) {
  v1::LogicalType type = Kind(v1::LogicalType::KIND_DECIMAL);
  if (modifier < 4) return type;
  const int precision = ((modifier - 4) >> 16) & 0xffff;
  const int scale = (((modifier - 4) & 0x7ff) ^ 1024) - 1024;
  if (precision > kMaxDecimalDigits || scale < 0 || scale > precision) return type;
  type.set_precision(precision);
  type.set_scale(scale);
  return type;
}

bool DecodedAsText(const BaseType& type) {
  const v1::LogicalType logical = LogicalTypeOf(type);
  switch (logical.kind()) {
    case v1::LogicalType::KIND_INTERVAL:
    case v1::LogicalType::KIND_OTHER:
      return true;
    case v1::LogicalType::KIND_DECIMAL:
      return logical.precision() == 0;
    case v1::LogicalType::KIND_STRING:
      return type.oid == kCharOid;
    default:
      return false;
  }
}

}  // namespace

std::string BaseType::Sql() const { return QualifiedName{schema, name}.Sql(); }

v1::LogicalType LogicalTypeOf(const BaseType& type) {
  switch (type.oid) {
    case kBoolOid:
      return Kind(v1::LogicalType::KIND_BOOL);
    case kInt2Oid:
      return Kind(v1::LogicalType::KIND_INT16);
    case kInt4Oid:
      return Kind(v1::LogicalType::KIND_INT32);
    case kInt8Oid:
    case kOidOid:
      return Kind(v1::LogicalType::KIND_INT64);
    case kXid8Oid:
      return Kind(v1::LogicalType::KIND_UINT64);
    case kFloat4Oid:
      return Kind(v1::LogicalType::KIND_FLOAT32);
    case kFloat8Oid:
      return Kind(v1::LogicalType::KIND_FLOAT64);
    case kNumericOid:
      return Decimal(type.modifier);
    case kTextOid:
    case kVarcharOid:
    case kBpcharOid:
    case kNameOid:
    case kCharOid:
      return Kind(v1::LogicalType::KIND_STRING);
    case kByteaOid:
      return Kind(v1::LogicalType::KIND_BYTES);
    case kDateOid:
      return Kind(v1::LogicalType::KIND_DATE);
    case kTimeOid:
      return Temporal(v1::LogicalType::KIND_TIME, type.modifier);
    case kTimestampOid:
      return Temporal(v1::LogicalType::KIND_TIMESTAMP, type.modifier);
    case kTimestamptzOid:
      return Temporal(v1::LogicalType::KIND_TIMESTAMPTZ, type.modifier);
    case kUuidOid:
      return Kind(v1::LogicalType::KIND_UUID);
    case kJsonOid:
    case kJsonbOid:
      return Kind(v1::LogicalType::KIND_JSON);
    case kIntervalOid:
      return Kind(v1::LogicalType::KIND_INTERVAL);
    default:
      return Kind(v1::LogicalType::KIND_OTHER);
  }
}

bool WireStable(const BaseType& type) {
  if (!type.has_send || type.oid >= kFirstUnstableOid || !PlainKind(type.kind)) return false;
  if (type.element_oid >= kFirstUnstableOid || !PlainKind(type.element_kind)) return false;
  // A number that stands for an object of this database; an amount whose meaning hangs on the database's lc_monetary.
  const std::string_view name = type.name;
  const bool registered = name.substr(0, 3) == "reg" || name.substr(0, 4) == "_reg";
  return !registered && type.oid != kMoneyOid && type.oid != kMoneyArrayOid;
}

std::string WireType(const BaseType& type, const std::string& native) {
  if (!WireStable(type)) return "text";
  return type.under_domain ? type.formatted : native;
}

std::string WireExpression(const v1::Column& column, const std::string& quoted) {
  return column.wire_type() == column.native_type() ? quoted : absl::StrCat(quoted, "::", column.wire_type());
}

std::string ArrowExpression(const BaseType& type, const std::string& quoted) {
  if (!DecodedAsText(type)) return quoted;
  // The cast of inet to text is not what the server prints: it adds the mask of a single host.
  if (type.oid == kInetOid)
    return absl::StrCat("CASE WHEN ", quoted, " IS NOT NULL THEN format('%s', ", quoted, ") END");
  return absl::StrCat(quoted, "::text");
}

}  // namespace tidemark::postgres
