#include "worker/connectors/postgres/postgres_target_staging.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "worker/connectors/postgres/postgres_swap.h"
#include "worker/connectors/postgres/postgres_swap_catalog.h"

namespace tidemark::postgres {
namespace {

const BaseType* FindType(absl::string_view formatted, const BuiltInTypes& types) {
  std::string base = ParseTypeName(formatted).base;
  // "interval day to second": its fields are part of the name.
  if (absl::StartsWith(base, "interval ") && !absl::EndsWith(base, "[]")) base = "interval";
  const auto found = types.find(base);
  return found == types.end() ? nullptr : &found->second;
}

absl::Status CreateForNewTable(Connection& connection, const QualifiedName& staging, const v1::TableSchema& schema) {
  TM_ASSIGN_OR_RETURN(const BuiltInTypes types, ReadBuiltInTypes(connection));
  std::vector<std::string> columns;
  for (const v1::Column& column : schema.columns()) {
    columns.push_back(absl::StrCat(QuoteIdentifier(column.name()), " ", NewColumnType(column, types),
                                   column.nullable() ? "" : " NOT NULL"));
  }
  return connection
      .ExecuteCommand(absl::StrCat("CREATE TABLE ", staging.Sql(), " (", absl::StrJoin(columns, ", "), ")"))
      .status();
}

// LIKE has no word for the access method and the tablespace.
absl::Status CreateAlike(Connection& connection, const QualifiedName& staging, const QualifiedName& original,
                         uint32_t oid) {
  TM_ASSIGN_OR_RETURN(
      const Row row,
      connection.ExecuteRow("SELECT pg_catalog.format(' USING %I', a.amname) || CASE WHEN s.spcname IS NULL THEN '' "
                            "ELSE pg_catalog.format(' TABLESPACE %I', s.spcname) END "
                            "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_am a ON a.oid = c.relam "
                            "LEFT JOIN pg_catalog.pg_tablespace s ON s.oid = c.reltablespace WHERE c.oid = $1::oid",
                            {absl::StrCat(oid)}));
  TM_RETURN_IF_ERROR(
      connection
          .ExecuteCommand(absl::StrCat(
              "CREATE TABLE ", staging.Sql(), " (LIKE ", original.Sql(),
              " INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING STORAGE INCLUDING COMPRESSION INCLUDING CONSTRAINTS)",
              row[0].value_or("")))
          .status());
  TM_ASSIGN_OR_RETURN(const std::vector<std::string> statements, ShapeStatements(connection, oid, staging));
  for (const std::string& statement : statements) TM_RETURN_IF_ERROR(connection.ExecuteCommand(statement).status());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<BuiltInTypes> ReadBuiltInTypes(Connection& connection) {
  TM_ASSIGN_OR_RETURN(
      const std::vector<Row> rows,
      connection.Execute(
          "SELECT t.oid, t.typname, t.typtype, coalesce(e.oid, 0), coalesce(e.typtype, 'b'), t.typsend <> 0, "
          "pg_catalog.format_type(t.oid, NULL), pg_catalog.format_type(t.oid, -1) FROM pg_catalog.pg_type t "
          "LEFT JOIN pg_catalog.pg_type e ON t.typcategory = 'A' AND e.oid = t.typelem "
          "WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm') AND t.oid < 10000"));
  BuiltInTypes types;
  for (const Row& row : rows) {
    BaseType type;
    if (!absl::SimpleAtoi(*row[0], &type.oid) || !absl::SimpleAtoi(*row[3], &type.element_oid))
      return absl::InternalError("an OID is no number");
    type.schema = "pg_catalog";
    type.name = *row[1];
    type.kind = row[2]->front();
    type.element_kind = row[4]->front();
    type.has_send = row[5] == "t";
    types[*row[7]] = type;
    types[*row[6]] = type;
  }
  return types;
}

bool HasWireType(const v1::Column& source, const BuiltInTypes& types) {
  return FindType(source.wire_type(), types) != nullptr;
}

std::string NewColumnType(const v1::Column& source, const BuiltInTypes& types) {
  if (HasWireType(source, types)) return source.wire_type();
  const BaseType* const native = FindType(source.native_type(), types);
  const bool same = native != nullptr && LogicalTypeOf(*native).kind() == source.type().kind();
  return same ? source.native_type() : NarrowestType(source.type());
}

std::vector<std::string> ColumnNames(const v1::TableSchema& schema) {
  std::vector<std::string> names;
  for (const v1::Column& column : schema.columns()) names.push_back(column.name());
  return names;
}

absl::Status CreateStaging(Connection& connection, const QualifiedName& staging,
                           const std::optional<TargetTable>& table, const v1::TableSchema& schema, bool replaces,
                           v1::SwapMode mode) {
  if (!table.has_value()) return CreateForNewTable(connection, staging, schema);
  const std::vector<std::string> fed = ColumnNames(schema);
  if (replaces) {
    TM_ASSIGN_OR_RETURN(const SwapPlan plan, PlanSwap(connection, *table, mode, fed));
    if (plan.method == SwapMethod::kRename) return CreateAlike(connection, staging, table->name, table->oid);
    if (plan.method == SwapMethod::kShell) {
      TM_ASSIGN_OR_RETURN(const std::optional<Partition> partition, ShellPartition(connection, table->oid));
      if (partition.has_value()) return CreateAlike(connection, staging, partition->name, partition->oid);
    }
  }
  return connection
      .ExecuteCommand(absl::StrCat("CREATE TABLE ", staging.Sql(), " AS SELECT ", ColumnList(fed), " FROM ",
                                   table->name.Sql(), " WITH NO DATA"))
      .status();
}

}  // namespace tidemark::postgres
