#pragma once

#include <map>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "tidemark/v1/spec.pb.h"
#include "tidemark/v1/values.pb.h"
#include "worker/connectors/postgres/postgres_connection.h"
#include "worker/connectors/postgres/postgres_name.h"
#include "worker/connectors/postgres/postgres_target_table.h"

namespace tidemark::postgres {

// The types every PostgreSQL has, by their names without modifiers as format_type() prints them.
using BuiltInTypes = std::map<std::string, BaseType>;
absl::StatusOr<BuiltInTypes> ReadBuiltInTypes(Connection& connection);

// Whether a column made for `source` can take its undecoded form: this server has the type of that form.
bool HasWireType(const v1::Column& source, const BuiltInTypes& types);

// The type of a column made for `source`: that of its undecoded form; else the source's own, if it is a built-in one
// that means here what the source says it means (other systems use the same words for other types: an `integer` of
// SQLite is no int4); else the narrowest.
std::string NewColumnType(const v1::Column& source, const BuiltInTypes& types);

// The columns of a schema by name, in order.
std::vector<std::string> ColumnNames(const v1::TableSchema& schema);

// Creates a run's empty staging table. `table` is the existing target. For a load that will take the table's place it
// gets the table's whole shape, so that it can; else it gets the fed columns alone, with the target's types, and lets
// every row in.
absl::Status CreateStaging(Connection& connection, const QualifiedName& staging,
                           const std::optional<TargetTable>& table, const v1::TableSchema& schema, bool replaces,
                           v1::SwapMode mode);

}  // namespace tidemark::postgres
