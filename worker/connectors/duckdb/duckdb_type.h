#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "tidemark/v1/values.pb.h"

namespace tidemark::duckdb {

// The type of a column of ours, which holds every value of `type` exactly. VARCHAR for a decimal of more than 38 digits
// or without bounds, an interval, and whatever else is text on its way: CommentOf says what it is.
std::string DeclaredType(const v1::LogicalType& type);

// The comment a column of ours has where DeclaredType does not say what its values are: "decimal", "decimal(60,5)";
// empty where it does.
std::string CommentOf(const v1::LogicalType& type);

// What a column of DuckDB's `data_type`, as duckdb_columns() spells it, with `comment` holds. KIND_OTHER for the types
// that Tidemark has no word for.
v1::LogicalType LogicalTypeOf(absl::string_view data_type, absl::string_view comment);

// Whether a column of `data_type` holds every value of `type` exactly.
bool Holds(absl::string_view data_type, const v1::LogicalType& type);

}  // namespace tidemark::duckdb
