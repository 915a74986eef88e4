#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/connectors/adbc/adbc_connection.h"

namespace tidemark::duckdb {

using adbc::TableName;

// `name` as a quoted SQL identifier.
std::string Quoted(absl::string_view name);
// "schema"."table".
std::string Quoted(const TableName& name);

// `text` as a SQL string.
std::string Literal(absl::string_view text);

// The table a user calls `name`: "orders" and "main.orders" are one; in double quotes a part may hold anything.
// InvalidArgument if it has three parts, an empty one, or an open quote.
absl::StatusOr<TableName> ParseTableName(absl::string_view name);

// One text for one table of a file, as DuckDB tells tables apart: not by the case of letters.
std::string KeyOf(const TableName& name);

}  // namespace tidemark::duckdb
