#include "worker/connectors/postgres/postgres_relation.h"

#include <map>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"
#include "worker/connectors/postgres/postgres_error.h"
#include "worker/connectors/postgres/postgres_name.h"
#include "worker/connector/query_text.h"

namespace tidemark::postgres {
namespace {

uint32_t Oid(const Text& text) {
  uint32_t oid = 0;
  (void)absl::SimpleAtoi(text.value_or("0"), &oid);
  return oid;
}

int32_t Int(const Text& text) {
  int32_t number = 0;
  (void)absl::SimpleAtoi(text.value_or("0"), &number);
  return number;
}

bool True(const Text& text) { return text == "t"; }

char Letter(const Text& text) { return text.has_value() && !text->empty() ? text->front() : '\0'; }

// A domain's modifier belongs to the type right below it, and a domain over a domain has none of its own.
constexpr char kTypesSql[] = R"(
WITH RECURSIVE below AS (
  SELECT t.oid AS root, t.oid, t.typtype, t.typbasetype, t.typtypmod, NULL::int4 AS modifier FROM pg_type t WHERE t.oid = ANY($1::oid[])
  UNION ALL
  SELECT b.root, t.oid, t.typtype, t.typbasetype, t.typtypmod, b.typtypmod FROM below b JOIN pg_type t ON t.oid = b.typbasetype
  WHERE b.typtype = 'd')
SELECT b.root, t.oid, b.modifier, n.nspname, t.typname, t.typtype, coalesce(e.oid, 0), coalesce(e.typtype, 'b'), t.typsend <> 0,
       format_type(t.oid, b.modifier)
FROM below b JOIN pg_type t ON t.oid = b.oid JOIN pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_type e ON t.typcategory = 'A' AND e.oid = t.typelem
WHERE b.typtype <> 'd')";

// Base types by the OIDs of declared ones.
absl::StatusOr<std::map<uint32_t, BaseType>> LoadTypes(Connection& connection, const std::set<uint32_t>& oids) {
  TM_ASSIGN_OR_RETURN(const std::vector<Row> rows,
                      connection.Execute(kTypesSql, {absl::StrCat("{", absl::StrJoin(oids, ","), "}")}));
  std::map<uint32_t, BaseType> types;
  for (const Row& row : rows) {
    BaseType type;
    type.oid = Oid(row[1]);
    type.under_domain = row[2].has_value();
    type.modifier = type.under_domain ? Int(row[2]) : -1;
    type.schema = row[3].value_or("");
    type.name = row[4].value_or("");
    type.kind = Letter(row[5]);
    type.element_oid = Oid(row[6]);
    type.element_kind = Letter(row[7]);
    type.has_send = True(row[8]);
    type.formatted = row[9].value_or("");
    types[Oid(row[0])] = std::move(type);
  }
  return types;
}

// The columns' types by their declared OIDs and modifiers, in their order.
absl::Status FillTypes(Connection& connection, const std::vector<std::pair<uint32_t, int32_t>>& declared,
                       Relation& relation) {
  std::set<uint32_t> oids;
  for (const auto& [oid, modifier] : declared) oids.insert(oid);
  TM_ASSIGN_OR_RETURN(const auto types, LoadTypes(connection, oids));
  for (size_t i = 0; i < relation.columns.size(); ++i) {
    SourceColumn& column = relation.columns[i];
    const auto found = types.find(declared[i].first);
    if (found == types.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("column ", column.column.name(), " of ", relation.label, " has no type; cast it"));
    }
    column.type = found->second;
    if (!column.type.under_domain) column.type.modifier = declared[i].second;
    *column.column.mutable_type() = LogicalTypeOf(column.type);
  }
  return absl::OkStatus();
}

// Once the columns have their native types.
void SetWireTypes(Relation& relation) {
  for (SourceColumn& column : relation.columns) {
    column.column.set_wire_type(WireType(column.type, column.column.native_type()));
  }
}

constexpr char kTableSql[] = R"(
SELECT c.oid, n.nspname, c.relname, c.relkind, coalesce(a.amname, '') = 'heap',
       has_schema_privilege(n.oid, 'USAGE'), has_any_column_privilege(c.oid, 'SELECT'), has_table_privilege(c.oid, 'SELECT'),
       current_user, row_security_active(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_am a ON a.oid = c.relam
WHERE c.relname = $1 AND CASE WHEN $2 = '' THEN pg_table_is_visible(c.oid) ELSE n.nspname = $2 END)";

constexpr char kColumnsSql[] = R"(
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.atttypid, a.atttypmod, a.attnum,
       has_column_privilege(a.attrelid, a.attnum, 'SELECT'), a.attgenerated
FROM pg_attribute a WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum)";

constexpr char kPrimaryKeySql[] = R"(
SELECT a.attname FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, position), pg_attribute a
WHERE i.indrelid = $1::oid AND i.indisprimary AND k.position <= i.indnkeyatts AND a.attrelid = i.indrelid AND a.attnum = k.attnum
ORDER BY k.position)";

absl::Status LoadColumns(Connection& connection, const std::string& user, Relation& relation) {
  const std::string oid = absl::StrCat(relation.oid);
  TM_ASSIGN_OR_RETURN(const std::vector<Row> rows, connection.Execute(kColumnsSql, {oid}));
  std::vector<std::pair<uint32_t, int32_t>> declared;
  std::vector<std::string> forbidden;
  for (const Row& row : rows) {
    SourceColumn column;
    column.column.set_name(row[0].value_or(""));
    column.column.set_native_type(row[1].value_or(""));
    column.column.set_nullable(!True(row[2]));
    column.number = Int(row[5]);
    if (!True(row[6])) forbidden.push_back(QuoteIdentifier(*row[0]));
    if (Letter(row[7]) != '\0')
      relation.notes.push_back(absl::StrCat("column ", *row[0], " is generated: its values are copied"));
    declared.emplace_back(Oid(row[3]), Int(row[4]));
    relation.columns.push_back(std::move(column));
  }
  if (!forbidden.empty()) {
    return absl::PermissionDeniedError(absl::StrCat("no right to read all of ", relation.label, ": GRANT SELECT (",
                                                    absl::StrJoin(forbidden, ", "), ") ON ", relation.sql, " TO ",
                                                    QuoteIdentifier(user)));
  }
  if (relation.columns.empty()) return absl::InvalidArgumentError(absl::StrCat(relation.label, " has no columns"));
  TM_RETURN_IF_ERROR(FillTypes(connection, declared, relation));
  SetWireTypes(relation);
  TM_ASSIGN_OR_RETURN(const std::vector<Row> key, connection.Execute(kPrimaryKeySql, {oid}));
  for (const Row& row : key) relation.primary_key.push_back(row[0].value_or(""));
  return absl::OkStatus();
}

// A base relation of a plan: schema and name.
using BaseRelation = std::pair<std::string, std::string>;

void CollectBaseRelations(const nlohmann::json& plan, std::set<BaseRelation>& found, bool& foreign) {
  if (plan.is_object()) {
    foreign = foreign || plan.value("Node Type", "") == "Foreign Scan";
    if (plan.contains("Relation Name")) found.emplace(plan.value("Schema", ""), plan.value("Relation Name", ""));
  }
  if (!plan.is_structured()) return;
  for (const nlohmann::json& part : plan) CollectBaseRelations(part, found, foreign);
}

absl::StatusOr<Relation> LoadTable(Connection& connection, const std::string& table) {
  TM_ASSIGN_OR_RETURN(const QualifiedName name, ParseQualifiedName(table));
  TM_ASSIGN_OR_RETURN(const std::vector<Row> rows, connection.Execute(kTableSql, {name.name, name.schema}));
  if (rows.empty()) {
    return absl::NotFoundError(absl::StrCat("table ", name.Sql(), " does not exist in this database",
                                            name.schema.empty() ? "'s search path; write schema.table" : "",
                                            " (names are taken as given: capitals matter)"));
  }
  const Row& row = rows[0];
  const std::string user = row[8].value_or("");
  const QualifiedName full{row[1].value_or(""), row[2].value_or("")};
  Relation relation;
  relation.oid = Oid(row[0]);
  relation.kind = Letter(row[3]);
  relation.sql = full.Sql();
  relation.label = absl::StrCat("table ", full.Sql());
  relation.heap = True(row[4]) && (relation.kind == 'r' || relation.kind == 'm');
  static constexpr std::string_view kReadable = "rpvmf";
  if (kReadable.find(relation.kind) == std::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat(full.Sql(), " is not a table or view"));
  }
  if (!True(row[5])) {
    return absl::PermissionDeniedError(absl::StrCat("no right to use the schema of ", full.Sql(),
                                                    ": GRANT USAGE ON SCHEMA ", QuoteIdentifier(full.schema), " TO ",
                                                    QuoteIdentifier(user)));
  }
  if (!True(row[6]) && !True(row[7])) {
    return absl::PermissionDeniedError(
        absl::StrCat("no right to read ", full.Sql(), ": GRANT SELECT ON ", full.Sql(), " TO ", QuoteIdentifier(user)));
  }
  if (True(row[9])) {
    relation.notes.push_back(absl::StrCat("row-level security is active on ", full.Sql(), ": only the rows that ", user,
                                          " may see are read"));
  }
  TM_RETURN_IF_ERROR(LoadColumns(connection, user, relation));
  return relation;
}

absl::StatusOr<Relation> LoadQuery(Connection& connection, const std::string& query) {
  Relation relation;
  relation.label = "the query";
  TM_ASSIGN_OR_RETURN(relation.sql, CleanQuery(query));
  // NULL takes whatever type the place asks for: the watermark's own is not known before its column is.
  TM_ASSIGN_OR_RETURN(const std::string bound, BindPlaceholders(relation.sql, "NULL", "NULL"));
  const auto described = connection.DescribeStatement(absl::StrCat("SELECT * FROM ", AsSubselect(bound)));
  if (!described.ok()) return Annotate(described.status(), "the source query");
  std::vector<std::pair<uint32_t, int32_t>> declared;
  std::set<std::string> names;
  std::vector<std::string> formats;
  for (const ResultColumn& result : *described) {
    if (!names.insert(result.name).second || result.name == "?column?") {
      return absl::InvalidArgumentError(
          absl::StrCat("the source query needs a distinct name for every column; give column ",
                       relation.columns.size() + 1, " (", result.name, ") an alias"));
    }
    SourceColumn column;
    column.column.set_name(result.name);
    column.column.set_nullable(true);
    relation.columns.push_back(std::move(column));
    declared.emplace_back(result.type_oid, result.type_modifier);
    formats.push_back(absl::StrCat("format_type(", result.type_oid, ", ", result.type_modifier, ")"));
  }
  if (formats.empty()) return absl::InvalidArgumentError("the source query returns no columns");
  TM_RETURN_IF_ERROR(FillTypes(connection, declared, relation));
  TM_ASSIGN_OR_RETURN(const std::vector<Row> natives,
                      connection.Execute(absl::StrCat("SELECT unnest(ARRAY[", absl::StrJoin(formats, ", "), "])")));
  for (size_t i = 0; i < natives.size(); ++i) relation.columns[i].column.set_native_type(natives[i][0].value_or(""));
  SetWireTypes(relation);
  return relation;
}

}  // namespace

const SourceColumn* Relation::Find(std::string_view name) const {
  for (const SourceColumn& column : columns) {
    if (column.column.name() == name) return &column;
  }
  return nullptr;
}

absl::StatusOr<const SourceColumn*> Relation::Column(std::string_view name) const {
  if (const SourceColumn* column = Find(name)) return column;
  return absl::NotFoundError(absl::StrCat(
      label, " has no column ", std::string(name), "; it has ",
      absl::StrJoin(columns, ", ",
                    [](std::string* out, const SourceColumn& column) { out->append(column.column.name()); })));
}

absl::StatusOr<Relation> LoadRelation(Connection& connection, const v1::SourceSpec& source) {
  if (source.table().empty() == source.query().empty()) {
    return absl::InvalidArgumentError("a PostgreSQL source needs either a table or a query");
  }
  return source.table().empty() ? LoadQuery(connection, source.query()) : LoadTable(connection, source.table());
}

absl::Status LoadWhatItReads(Connection& connection, const std::string& watermark, Relation& relation) {
  if (relation.reads_known) return absl::OkStatus();
  std::string from = relation.sql;
  if (relation.is_query()) {
    // As a subquery, whose value the planner does not know: nothing is pruned for it.
    const SourceColumn* const typed = relation.Find(watermark);
    const std::string unknown =
        typed == nullptr ? "NULL" : absl::StrCat("(SELECT NULL::", typed->column.native_type(), ")");
    TM_ASSIGN_OR_RETURN(const std::string bound, BindPlaceholders(relation.sql, unknown, unknown));
    from = AsSubselect(bound);
  }
  // The server's own plan, in which views, heirs and partitions are resolved.
  TM_ASSIGN_OR_RETURN(const std::vector<Row> lines,
                      connection.Execute(absl::StrCat("EXPLAIN (VERBOSE, FORMAT JSON) SELECT * FROM ", from)));
  const std::string text = lines.empty() ? std::string() : lines[0][0].value_or("");
  const nlohmann::json plan = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  std::set<BaseRelation> found;
  bool foreign = plan.is_discarded();
  CollectBaseRelations(plan, found, foreign);
  relation.foreign = foreign;
  relation.reads_known = true;
  if (found.empty()) return absl::OkStatus();
  const std::string list = absl::StrJoin(found, ", ", [](std::string* out, const BaseRelation& base) {
    absl::StrAppend(out, "(", QuoteLiteral(base.first), ", ", QuoteLiteral(base.second), ")");
  });
  TM_ASSIGN_OR_RETURN(const Row row,
                      connection.ExecuteRow(absl::StrCat(
                          "SELECT bool_or(c.relkind = 'f'), bool_or(EXISTS (SELECT FROM pg_subscription_rel s WHERE "
                          "s.srrelid = c.oid)), bool_or(c.relkind = 'm') FROM (VALUES ",
                          list,
                          ") base(nspname, relname) JOIN pg_namespace n ON n.nspname = base.nspname JOIN pg_class c ON "
                          "c.relnamespace = n.oid AND c.relname = base.relname")));
  relation.foreign = relation.foreign || True(row[0]);
  relation.replicated = True(row[1]);
  relation.materialized = True(row[2]);
  return absl::OkStatus();
}

}  // namespace tidemark::postgres
