#pragma once

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "tidemark/v1/values.pb.h"

namespace tidemark::duckdb {

// What a column of `data_type` with `comment` (see LogicalTypeOf) is read as, exactly: beyond LogicalTypeOf, whole
// numbers of more than 64 bits as decimals without bounds, enums as text, lists, structs, maps and unions as JSON.
// nullopt for a type that none of this and no text stands for.
std::optional<v1::LogicalType> SourceTypeOf(absl::string_view data_type, absl::string_view comment);

// The expression that reads `column`, of SourceTypeOf, as what adbc::ReadChunks makes its logical type of.
std::string ReadExpression(const v1::Column& column);

// Whether every value of `column` has one text that DuckDB reads back, and its order is that of its texts read back.
bool CanBeCutBy(const v1::Column& column);

// `text` as a value of `column`.
std::string TypedLiteral(const v1::Column& column, absl::string_view text);

}  // namespace tidemark::duckdb
