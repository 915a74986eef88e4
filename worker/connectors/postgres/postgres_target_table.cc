#include "worker/connectors/postgres/postgres_target_table.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"

namespace tidemark::postgres {
namespace {

// One row per column: name, declared type, type below all domains; NOT NULL, default, generated, identity; the type
// below all domains as BaseType has it.
constexpr char kColumnsSql[] = R"(
WITH RECURSIVE base AS (
  SELECT a.attnum, a.atttypid AS type, a.atttypmod AS modifier, t.typtype, t.typbasetype, t.typtypmod,
         t.typnotnull AS not_null, t.typdefault IS NOT NULL AS has_default
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
   WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT b.attnum, b.typbasetype, b.typtypmod, t.typtype, t.typbasetype, t.typtypmod,
         b.not_null OR t.typnotnull, b.has_default OR t.typdefault IS NOT NULL
    FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.typbasetype
   WHERE b.typtype = 'd'
)
SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), pg_catalog.format_type(b.type, b.modifier),
       a.attnotnull OR b.not_null, (a.atthasdef AND a.attgenerated = '') OR a.attidentity <> '' OR b.has_default,
       a.attgenerated <> '', a.attidentity,
       b.type, b.modifier, n.nspname, t.typname, t.typtype, coalesce(e.oid, 0), coalesce(e.typtype, 'b'), t.typsend <> 0,
       a.atttypid <> b.type
  FROM pg_catalog.pg_attribute a JOIN base b ON b.attnum = a.attnum AND b.typtype <> 'd'
  JOIN pg_catalog.pg_type t ON t.oid = b.type JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_type e ON t.typcategory = 'A' AND e.oid = t.typelem
 WHERE a.attrelid = $1::oid
 ORDER BY a.attnum)";

// One row per column of a key, keys in order of their index: index, whether it is the primary key, column.
constexpr char kKeysSql[] = R"(
SELECT i.indexrelid, i.indisprimary, a.attname
  FROM pg_catalog.pg_index i
  CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, position)
  JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
 WHERE i.indrelid = $1::oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
   AND k.position <= i.indnkeyatts
 ORDER BY i.indisprimary DESC, i.indexrelid, k.position)";

bool IsTrue(const Text& cell) { return cell == "t"; }

absl::Status ReadColumns(Connection& connection, TargetTable* table) {
  TM_ASSIGN_OR_RETURN(const std::vector<Row> rows, connection.Execute(kColumnsSql, {absl::StrCat(table->oid)}));
  for (const Row& row : rows) {
    TargetColumn column;
    column.name = *row[0];
    column.type.declared = *row[1];
    column.type.base = *row[2];
    column.not_null = IsTrue(row[3]);
    column.has_default = IsTrue(row[4]);
    column.generated = IsTrue(row[5]);
    column.identity = !row[6]->empty();
    column.identity_always = row[6] == "a";
    BaseType& type = column.type.below;
    if (!absl::SimpleAtoi(*row[7], &type.oid) || !absl::SimpleAtoi(*row[8], &type.modifier) ||
        !absl::SimpleAtoi(*row[12], &type.element_oid) || row[11]->empty() || row[13]->empty()) {
      return absl::InternalError(absl::StrCat("cannot read the type of column ", column.name));
    }
    type.schema = *row[9];
    type.name = *row[10];
    type.kind = row[11]->front();
    type.element_kind = row[13]->front();
    type.has_send = IsTrue(row[14]);
    type.under_domain = IsTrue(row[15]);
    table->columns.push_back(std::move(column));
  }
  return absl::OkStatus();
}

absl::Status ReadKeys(Connection& connection, TargetTable* table) {
  TM_ASSIGN_OR_RETURN(const std::vector<Row> rows, connection.Execute(kKeysSql, {absl::StrCat(table->oid)}));
  Text index;
  for (const Row& row : rows) {
    if (row[0] != index) table->unique_keys.emplace_back();
    index = row[0];
    table->unique_keys.back().push_back(*row[2]);
    if (IsTrue(row[1])) table->primary_key.push_back(*row[2]);
  }
  return absl::OkStatus();
}

}  // namespace

const TargetColumn* TargetTable::Find(absl::string_view column) const {
  for (const TargetColumn& candidate : columns) {
    if (candidate.name == column) return &candidate;
  }
  return nullptr;
}

absl::StatusOr<QualifiedName> ResolveTargetName(Connection& connection, const std::string& table) {
  TM_ASSIGN_OR_RETURN(QualifiedName name, ParseQualifiedName(table));
  if (!name.schema.empty()) return name;
  TM_ASSIGN_OR_RETURN(const Row row,
                      connection.ExecuteRow(
                          "SELECT coalesce((SELECT n.nspname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
                          "ON n.oid = c.relnamespace WHERE c.oid = pg_catalog.to_regclass($1)), "
                          "pg_catalog.current_schema())",
                          {name.Sql()}));
  if (!row[0].has_value()) {
    return absl::NotFoundError(absl::StrCat(
        "target table ", table, " names no schema, and no schema of the search path exists; write schema.table"));
  }
  name.schema = *row[0];
  return name;
}

absl::StatusOr<std::optional<TargetTable>> ReadTargetTable(Connection& connection, const QualifiedName& name) {
  TM_ASSIGN_OR_RETURN(
      const std::vector<Row> rows,
      connection.Execute("SELECT c.oid, c.relkind, pg_catalog.pg_has_role(c.relowner, 'USAGE'), c.reltuples::bigint "
                         "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
                         "WHERE n.nspname = $1 AND c.relname = $2",
                         {name.schema, name.name}));
  if (rows.empty()) return std::nullopt;
  TargetTable table;
  table.name = name;
  int64_t estimated = -1;
  if (!absl::SimpleAtoi(*rows[0][0], &table.oid) || rows[0][1]->empty() || !absl::SimpleAtoi(*rows[0][3], &estimated)) {
    return absl::InternalError(absl::StrCat("cannot read the catalog entry of ", name.Sql()));
  }
  table.kind = rows[0][1]->front();
  table.owned = IsTrue(rows[0][2]);
  table.estimated_rows = estimated;
  TM_RETURN_IF_ERROR(ReadColumns(connection, &table));
  TM_RETURN_IF_ERROR(ReadKeys(connection, &table));
  return table;
}

std::string ColumnList(const std::vector<std::string>& columns) {
  return absl::StrJoin(columns, ", ",
                       [](std::string* out, const std::string& name) { out->append(QuoteIdentifier(name)); });
}

std::string ColumnList(const std::vector<std::string>& columns, absl::string_view alias) {
  return absl::StrJoin(columns, ", ", [&](std::string* out, const std::string& name) {
    absl::StrAppend(out, alias, ".", QuoteIdentifier(name));
  });
}

}  // namespace tidemark::postgres
