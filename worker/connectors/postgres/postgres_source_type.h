#pragma once

#include <cstdint>
#include <string>

#include "tidemark/v1/values.pb.h"

namespace tidemark::postgres {

// OIDs of built-in types: fixed numbers of PostgreSQL's own catalog (src/include/catalog/pg_type.dat).
enum TypeOid : uint32_t {
  kBoolOid = 16,
  kByteaOid = 17,
  kCharOid = 18,
  kNameOid = 19,
  kInt8Oid = 20,
  kInt2Oid = 21,
  kInt4Oid = 23,
  kTextOid = 25,
  kOidOid = 26,
  kJsonOid = 114,
  kFloat4Oid = 700,
  kFloat8Oid = 701,
  kMoneyOid = 790,
  kMoneyArrayOid = 791,
  kInetOid = 869,
  kBpcharOid = 1042,
  kVarcharOid = 1043,
  kDateOid = 1082,
  kTimeOid = 1083,
  kTimestampOid = 1114,
  kTimestamptzOid = 1184,
  kIntervalOid = 1186,
  kNumericOid = 1700,
  kUuidOid = 2950,
  kJsonbOid = 3802,
  kXid8Oid = 5069,
};

// A column's type as pg_type tells it, below all domains.
struct BaseType {
  uint32_t oid = 0;
  int32_t modifier = -1;
  std::string schema;
  std::string name;
  // typtype: b base, c composite, e enum, r range, m multirange.
  char kind = 'b';
  // Of an array: its element's; else 0 and 'b'.
  uint32_t element_oid = 0;
  char element_kind = 'b';
  bool has_send = true;
  // The column's declared type is a domain over this one.
  bool under_domain = false;
  // Under a domain: as format_type() prints it.
  std::string formatted;

  // Quoted and qualified, without a modifier: what a literal is cast to.
  std::string Sql() const;
};

v1::LogicalType LogicalTypeOf(const BaseType& type);

// Whether the type's binary form means the same in every PostgreSQL: only built-in types carry no OIDs of this
// database's own.
bool WireStable(const BaseType& type);

// See v1::Column::wire_type; `native` is the column's native_type.
std::string WireType(const BaseType& type, const std::string& native);

// The expression that reads column `quoted` undecoded.
std::string WireExpression(const v1::Column& column, const std::string& quoted);

// The expression that reads column `quoted` for Arrow: itself where its binary form is decoded, else its text.
std::string ArrowExpression(const BaseType& type, const std::string& quoted);

}  // namespace tidemark::postgres
