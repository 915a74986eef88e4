#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "tidemark/v1/values.pb.h"
#include "worker/connectors/postgres/postgres_copy_encode.h"
#include "worker/connectors/postgres/postgres_source_type.h"

namespace tidemark::postgres {

// A type as format_type() prints it, taken apart: "timestamp(3) without time zone" is {"timestamp without time zone",
// {3}}.
struct TypeName {
  // Without its modifiers; an array keeps its brackets.
  std::string base;
  std::vector<int> modifiers;
};
TypeName ParseTypeName(absl::string_view formatted);

// The narrowest type that holds every value of the logical type exactly.
std::string NarrowestType(const v1::LogicalType& type);

// What a target's column is, as far as a value's way into it goes.
struct ColumnType {
  // As declared, e.g. "numeric(15,2)" or the name of a domain.
  std::string declared;
  // Of a domain the type below all domains; else `declared`.
  std::string base;
  BaseType below;
};

// Whether every value of `source` arrives in a column of `target` unchanged or is refused by the server.
// InvalidArgument for a conversion that could round, truncate or reinterpret silently, and for types that have nothing
// to do with one another; the message says what to do, and calls the column by its name.
absl::Status CheckAssignable(const v1::Column& source, const ColumnType& target);

// Whether undecoded tuples of `source` may be written to a column of `target`: it is of the very same built-in type, or
// an enum, whose binary form is its label's text.
bool TakesWire(const v1::Column& source, const ColumnType& target);

// How values of `source` are written for a column whose base type is `target_base`.
ColumnEncoding EncodingFor(const v1::Column& source, absl::string_view target_base);

}  // namespace tidemark::postgres
