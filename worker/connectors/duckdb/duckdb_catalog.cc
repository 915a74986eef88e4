#include "worker/connectors/duckdb/duckdb_catalog.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "worker/connector/file_identity.h"

namespace tidemark::duckdb {
namespace {

// The rows of `function`, one of DuckDB's own about its catalog, that are about `name`. Of the file, and not of what is
// temporary.
std::string About(absl::string_view columns, absl::string_view function, const TableName& name,
                  absl::string_view called = "table_name") {
  return absl::StrCat("SELECT ", columns, " FROM ", function,
                      "() WHERE database_name = current_database() AND lower(schema_name) = lower(",
                      Literal(name.schema), ") AND lower(", called, ") = lower(", Literal(name.table), ")");
}

}  // namespace

const CatalogColumn* Relation::Find(absl::string_view column) const {
  for (const CatalogColumn& each : columns) {
    if (absl::EqualsIgnoreCase(each.name, column)) return &each;
  }
  return nullptr;
}

absl::StatusOr<std::optional<Relation>> FindRelation(adbc::Connection& db, const TableName& name) {
  TM_ASSIGN_OR_RETURN(
      const auto found,
      db.Query(absl::StrCat(About("schema_name, table_name, FALSE", "duckdb_tables", name), " UNION ALL ",
                            About("schema_name, view_name, TRUE", "duckdb_views", name, "view_name"))));
  if (found.empty()) return std::nullopt;
  Relation relation;
  relation.name = {*found[0][0], *found[0][1]};
  relation.is_view = found[0][2] == "true";
  TM_ASSIGN_OR_RETURN(
      const auto columns,
      db.Query(absl::StrCat(About("column_name, data_type, comment, NOT is_nullable", "duckdb_columns", relation.name),
                            " ORDER BY column_index")));
  for (const auto& row : columns) {
    relation.columns.push_back(
        {.name = *row[0], .data_type = *row[1], .comment = row[2].value_or(""), .not_null = row[3] == "true"});
  }
  if (relation.is_view) return relation;
  TM_ASSIGN_OR_RETURN(const auto key, db.Query(absl::StrCat(
                                          About("unnest(constraint_column_names)", "duckdb_constraints", relation.name),
                                          " AND constraint_type = 'PRIMARY KEY'")));
  for (const auto& row : key) relation.primary_key.push_back(*row[0]);
  return relation;
}

std::string TableIdentity(const std::string& path, const TableName& name) {
  const std::string file = FileIdentity(path);
  return file.empty() ? file : absl::StrCat(file, "/", KeyOf(name));
}

absl::StatusOr<int64_t> QueryInt(adbc::Connection& db, absl::string_view sql) {
  TM_ASSIGN_OR_RETURN(const auto rows, db.Query(sql));
  int64_t number = 0;
  if (rows.empty() || !rows[0].at(0)) return number;
  if (!absl::SimpleAtoi(*rows[0][0], &number)) return absl::InternalError(absl::StrCat("no number: ", *rows[0][0]));
  return number;
}

std::string ColumnList(const std::vector<std::string>& columns, absl::string_view alias) {
  return absl::StrJoin(columns, ", ", [&](std::string* out, const std::string& column) {
    absl::StrAppend(out, alias, alias.empty() ? "" : ".", Quoted(column));
  });
}

}  // namespace tidemark::duckdb
