#include "worker/connectors/postgres/postgres_target_describe.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "worker/connectors/postgres/postgres_control.h"
#include "worker/connectors/postgres/postgres_identity.h"
#include "worker/connectors/postgres/postgres_ledger.h"
#include "worker/connectors/postgres/postgres_swap.h"
#include "worker/connectors/postgres/postgres_target_staging.h"
#include "worker/connectors/postgres/postgres_target_table.h"
#include "worker/connectors/postgres/postgres_target_type.h"

namespace tidemark::postgres {
namespace {

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::vector<std::string> Key(const v1::JobSpec& job) { return {job.target().key().begin(), job.target().key().end()}; }

// True in the first cell of a one-row query.
absl::StatusOr<bool> Holds(Connection& connection, const std::string& condition, const std::vector<Text>& params) {
  TM_ASSIGN_OR_RETURN(const Row row, connection.ExecuteRow(absl::StrCat("SELECT ", condition), params));
  return row[0] == "t";
}

absl::StatusOr<std::string> CurrentUser(Connection& connection) {
  TM_ASSIGN_OR_RETURN(const Row row, connection.ExecuteRow("SELECT pg_catalog.quote_ident(current_user)"));
  return *row[0];
}

absl::Status Denied(Connection& connection, const std::string& grant) {
  TM_ASSIGN_OR_RETURN(const std::string user, CurrentUser(connection));
  return absl::PermissionDeniedError(absl::StrCat("the target's role may not load: GRANT ", grant, " TO ", user));
}

absl::Status CheckWritable(Connection& connection) {
  TM_ASSIGN_OR_RETURN(const bool standby, Holds(connection, "pg_catalog.pg_is_in_recovery()", {}));
  if (standby)
    return absl::InvalidArgumentError(
        "the target is a standby, which takes no writes; name the primary in the connection");
  return absl::OkStatus();
}

absl::Status CheckControlPrivileges(Connection& connection, bool exist) {
  if (!exist) {
    TM_ASSIGN_OR_RETURN(
        const Row row,
        connection.ExecuteRow("SELECT CASE WHEN pg_catalog.to_regnamespace('tidemark') IS NULL "
                              "THEN pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') "
                              "ELSE pg_catalog.has_schema_privilege('tidemark', 'CREATE, USAGE') END, "
                              "CASE WHEN pg_catalog.to_regnamespace('tidemark') IS NULL "
                              "THEN 'CREATE ON DATABASE ' || pg_catalog.quote_ident(pg_catalog.current_database()) "
                              "ELSE 'USAGE, CREATE ON SCHEMA tidemark' END"));
    return row[0] == "t" ? absl::OkStatus() : Denied(connection, *row[1]);
  }
  TM_ASSIGN_OR_RETURN(const bool schema, Holds(connection,
                                               "pg_catalog.has_schema_privilege('tidemark', 'CREATE') AND "
                                               "pg_catalog.has_schema_privilege('tidemark', 'USAGE')",
                                               {}));
  if (!schema) return Denied(connection, "USAGE, CREATE ON SCHEMA tidemark");
  TM_ASSIGN_OR_RETURN(
      const bool tables,
      Holds(connection,
            "pg_catalog.bool_and(pg_catalog.has_table_privilege('tidemark.' || t, p)) FROM "
            "pg_catalog.unnest(ARRAY['fence', 'ledger', "
            "'moves', 'quarantine']) t, pg_catalog.unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p",
            {}));
  return tables ? absl::OkStatus()
                : Denied(connection, "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tidemark");
}

absl::Status CheckKeyInSource(const v1::JobSpec& job, const v1::TableSchema& source) {
  const std::vector<std::string> names = ColumnNames(source);
  const std::vector<std::string> key = Key(job);
  if (job.target().strategy() == v1::LOAD_STRATEGY_UPSERT && key.empty())
    return absl::InvalidArgumentError("strategy: upsert needs a key in the target");
  for (const std::string& column : key) {
    if (!Contains(names, column)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the key's column ", column, " is not among the source's columns (", absl::StrJoin(names, ", "), ")"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckNewTable(Connection& connection, const QualifiedName& target) {
  const std::vector<Text> schema = {target.schema};
  TM_ASSIGN_OR_RETURN(const bool exists,
                      Holds(connection, "count(*) > 0 FROM pg_catalog.pg_namespace WHERE nspname = $1", schema));
  const std::string quoted = QuoteIdentifier(target.schema);
  if (exists) {
    TM_ASSIGN_OR_RETURN(
        const bool may,
        Holds(connection,
              "pg_catalog.has_schema_privilege($1, 'CREATE') AND pg_catalog.has_schema_privilege($1, 'USAGE')",
              schema));
    return may ? absl::OkStatus() : Denied(connection, absl::StrCat("USAGE, CREATE ON SCHEMA ", quoted));
  }
  TM_ASSIGN_OR_RETURN(
      const Row row,
      connection.ExecuteRow("SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'), "
                            "pg_catalog.quote_ident(pg_catalog.current_database())"));
  return row[0] == "t" ? absl::OkStatus() : Denied(connection, absl::StrCat("CREATE ON DATABASE ", *row[1]));
}

// A key needs a type that can be compared: the server knows which ones can.
absl::Status CheckKeyOfNewTable(Connection& connection, const v1::JobSpec& job, const v1::TableSchema& source) {
  const std::vector<std::string> key = Key(job);
  if (key.empty()) return absl::OkStatus();
  TM_ASSIGN_OR_RETURN(const BuiltInTypes types, ReadBuiltInTypes(connection));
  for (const v1::Column& column : source.columns()) {
    if (!Contains(key, column.name())) continue;
    const std::string type = NewColumnType(column, types);
    const absl::Status compared = connection.Execute(absl::StrCat("SELECT NULL::", type, " = NULL::", type)).status();
    if (!absl::IsNotFound(compared)) {
      TM_RETURN_IF_ERROR(compared);
      continue;
    }
    return absl::InvalidArgumentError(absl::StrCat("the key's column ", column.name(), " would be ", type,
                                                   ", which PostgreSQL cannot compare; cast it in the source's query, "
                                                   "or name another key"));
  }
  return absl::OkStatus();
}

absl::Status CheckColumns(const v1::JobSpec& job, const TargetTable& table, const v1::TableSchema& source) {
  const std::string name = table.name.Sql();
  const std::vector<std::string> fed = ColumnNames(source);
  const std::vector<std::string> key = Key(job);
  for (const v1::Column& column : source.columns()) {
    const TargetColumn* found = table.Find(column.name());
    if (found == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("column ", column.name(), " of the source is missing in ", name, ": ALTER TABLE ", name,
                       " ADD COLUMN ", QuoteIdentifier(column.name()), " ..., or leave it out of the source"));
    }
    if (found->generated) {
      return absl::InvalidArgumentError(absl::StrCat("column ", column.name(), " of ", name,
                                                     " is generated and takes no values; leave it out of the source"));
    }
    if (found->identity_always && job.target().strategy() == v1::LOAD_STRATEGY_UPSERT &&
        !Contains(key, column.name())) {
      return absl::InvalidArgumentError(absl::StrCat("column ", column.name(), " of ", name,
                                                     " is GENERATED ALWAYS AS IDENTITY and cannot be updated; "
                                                     "make it GENERATED BY DEFAULT, or leave it out of the source"));
    }
    TM_RETURN_IF_ERROR(CheckAssignable(column, found->type));
  }
  for (const TargetColumn& column : table.columns) {
    if (column.not_null && !column.has_default && !column.generated && !Contains(fed, column.name)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "column ", column.name, " of ", name, " is NOT NULL without a default, and the source does not feed it"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckKeyIndex(const v1::JobSpec& job, const TargetTable& table) {
  if (job.target().strategy() != v1::LOAD_STRATEGY_UPSERT) return absl::OkStatus();
  std::vector<std::string> wanted = Key(job);
  std::sort(wanted.begin(), wanted.end());
  for (std::vector<std::string> columns : table.unique_keys) {
    std::sort(columns.begin(), columns.end());
    if (columns == wanted) return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("an upsert into ", table.name.Sql(),
                                                 " needs a unique index on exactly its key: CREATE UNIQUE INDEX ON ",
                                                 table.name.Sql(), " (", ColumnList(Key(job)), ")"));
}

absl::Status CheckPrivileges(Connection& connection, const v1::JobSpec& job, const TargetTable& table,
                             const std::optional<SwapPlan>& swap) {
  TM_ASSIGN_OR_RETURN(const bool usage,
                      Holds(connection, "pg_catalog.has_schema_privilege($1, 'USAGE')", {table.name.schema}));
  if (!usage) return Denied(connection, absl::StrCat("USAGE ON SCHEMA ", QuoteIdentifier(table.name.schema)));
  // What the statements of the load need, by strategy. A rename needs ownership alone, which its plan has looked at.
  std::vector<std::string> wanted = {"INSERT"};
  if (swap.has_value()) {
    if (swap->method == SwapMethod::kRename) wanted.clear();
    if (swap->method == SwapMethod::kTruncateInsert) wanted = {"SELECT", "INSERT", "TRUNCATE"};
    if (swap->method == SwapMethod::kDeleteInsert) wanted = {"SELECT", "INSERT", "DELETE"};
    if (swap->method == SwapMethod::kShell && !table.owned) {
      return absl::PermissionDeniedError(
          absl::StrCat("swap: shell needs the ownership of ", table.name.Sql(),
                       "; ALTER TABLE ... OWNER TO the target's role, or swap: truncate_insert"));
    }
  } else if (job.target().strategy() == v1::LOAD_STRATEGY_UPSERT) {
    wanted = {"SELECT", "INSERT", "UPDATE"};
  } else if (!job.target().key().empty()) {
    wanted.push_back("SELECT");
  }
  std::vector<std::string> missing;
  for (const std::string& privilege : wanted) {
    TM_ASSIGN_OR_RETURN(const bool held, Holds(connection, "pg_catalog.has_table_privilege($1::oid, $2)",
                                               {absl::StrCat(table.oid), privilege}));
    if (!held) missing.push_back(privilege);
  }
  return missing.empty() ? absl::OkStatus()
                         : Denied(connection, absl::StrCat(absl::StrJoin(missing, ", "), " ON ", table.name.Sql()));
}

absl::Status CheckKind(Connection& connection, const TargetTable& table) {
  if (table.kind != 'r' && table.kind != 'p') {
    return absl::InvalidArgumentError(absl::StrCat(
        "target ", table.name.Sql(), " is no table (a view, a foreign table or the like); name the table itself"));
  }
  TM_ASSIGN_OR_RETURN(
      const bool rules,
      Holds(connection, "count(*) > 0 FROM pg_catalog.pg_rewrite WHERE ev_class = $1::oid AND is_instead",
            {absl::StrCat(table.oid)}));
  if (rules)
    return absl::InvalidArgumentError(absl::StrCat(
        "target ", table.name.Sql(), " has an INSTEAD rule, which would send rows elsewhere; drop the rule"));
  return absl::OkStatus();
}

// Where policies apply to the role, it may not see all rows.
absl::Status CheckRowSecurity(Connection& connection, const v1::JobSpec& job, const TargetTable& table,
                              TargetDescription* description) {
  TM_ASSIGN_OR_RETURN(const bool active,
                      Holds(connection, "pg_catalog.row_security_active($1::oid)", {absl::StrCat(table.oid)}));
  if (!active) return absl::OkStatus();
  const std::string what = absl::StrCat("row security is active on target ", table.name.Sql(), " for this role");
  if (job.target().strategy() == v1::LOAD_STRATEGY_INCREMENTAL && job.target().key().empty()) {
    description->notes.push_back(what);
    return absl::OkStatus();
  }
  return absl::PermissionDeniedError(
      absl::StrCat(what,
                   ": rows that it may not see could neither be replaced nor matched; load as the table's owner, or "
                   "ALTER ROLE ... BYPASSRLS"));
}

absl::Status DescribeExisting(Connection& connection, const v1::JobSpec& job, const TargetTable& table,
                              const v1::TableSchema& source, TargetDescription* description) {
  TM_RETURN_IF_ERROR(CheckKind(connection, table));
  TM_RETURN_IF_ERROR(CheckRowSecurity(connection, job, table, description));
  TM_RETURN_IF_ERROR(CheckColumns(job, table, source));
  TM_RETURN_IF_ERROR(CheckKeyIndex(job, table));
  std::optional<SwapPlan> swap;
  if (job.target().strategy() == v1::LOAD_STRATEGY_FULL) {
    TM_ASSIGN_OR_RETURN(swap, PlanSwap(connection, table, job.target().swap(), ColumnNames(source)));
    if (!swap->obstacles.empty()) {
      description->notes.push_back(
          absl::StrCat(table.name.Sql(), " is rewritten in place (truncate, then insert), because ",
                       absl::StrJoin(swap->obstacles, ", "),
                       "; readers in older snapshots may see it empty (swap: delete_insert avoids that)"));
    }
  }
  TM_RETURN_IF_ERROR(CheckPrivileges(connection, job, table, swap));
  description->table_exists = true;
  for (const TargetColumn& column : table.columns) {
    v1::Column* out = description->schema.add_columns();
    out->set_name(column.name);
    *out->mutable_type() = LogicalTypeOf(column.type.below);
    out->set_native_type(column.type.declared);
    out->set_nullable(!column.not_null);
  }
  description->schema.mutable_primary_key()->Add(table.primary_key.begin(), table.primary_key.end());
  return absl::OkStatus();
}

absl::StatusOr<bool> WireFits(Connection& connection, const std::optional<TargetTable>& table,
                              const v1::TableSchema& source) {
  if (table.has_value()) {
    return std::all_of(source.columns().begin(), source.columns().end(), [&](const v1::Column& column) {
      const TargetColumn* found = table->Find(column.name());
      return found != nullptr && TakesWire(column, found->type);
    });
  }
  TM_ASSIGN_OR_RETURN(const BuiltInTypes types, ReadBuiltInTypes(connection));
  return std::all_of(source.columns().begin(), source.columns().end(),
                     [&](const v1::Column& column) { return HasWireType(column, types); });
}

// An insert-only role may not look: then it cannot tell.
absl::StatusOr<bool> IsEmpty(Connection& connection, const TargetTable& table) {
  TM_ASSIGN_OR_RETURN(const bool readable, Holds(connection, "pg_catalog.has_table_privilege($1::oid, 'SELECT')",
                                                 {absl::StrCat(table.oid)}));
  if (!readable) return false;
  return Holds(connection, absl::StrCat("NOT EXISTS (SELECT FROM ", table.name.Sql(), ")"), {});
}

absl::Status DescribeLedger(Connection& connection, const std::string& control_name,
                            const std::optional<TargetTable>& table, TargetDescription* description) {
  // By time, since the sequences of different jobs are not comparable. The fence does not tell: whoever took it over
  // may have loaded nothing yet, and the rows in the table are still the other's.
  TM_ASSIGN_OR_RETURN(const std::vector<Row> last,
                      connection.Execute("SELECT cluster_id, job_uid FROM tidemark.ledger WHERE target_table = $1 AND "
                                         "kind IN ('window', 'full') ORDER BY committed_at DESC LIMIT 1",
                                         {control_name}));
  std::optional<Fence> owner;
  if (last.empty()) {
    TM_ASSIGN_OR_RETURN(owner, ReadFence(connection, control_name));
  } else {
    owner = Fence{*last[0][0], *last[0][1]};
  }
  if (!owner.has_value()) return absl::OkStatus();
  TM_ASSIGN_OR_RETURN(description->ledger, ReadLedgerHead(connection, control_name, owner->cluster_id, owner->job_uid));
  TM_ASSIGN_OR_RETURN(const bool has_rows, LedgerHasRows(connection, control_name, owner->cluster_id, owner->job_uid));
  if (table.has_value() && has_rows) {
    TM_ASSIGN_OR_RETURN(const bool empty, IsEmpty(connection, *table));
    description->ledger.set_emptied(empty);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TargetDescription> DescribeTarget(Connection& connection, const v1::JobSpec& job,
                                                 const QualifiedName& target, const v1::TableSchema& source,
                                                 const std::vector<v1::ChunkFormat>& source_formats) {
  if (target.schema == "tidemark") {
    return absl::InvalidArgumentError(absl::StrCat(
        "target ", target.Sql(), ": the schema tidemark holds what Tidemark keeps for itself; use another"));
  }
  if (target.schema == "information_schema" || target.schema.starts_with("pg_")) {
    return absl::InvalidArgumentError(
        absl::StrCat("target ", target.Sql(), ": the schema ", target.schema, " is PostgreSQL's own; use another"));
  }
  TM_RETURN_IF_ERROR(CheckWritable(connection));
  TM_ASSIGN_OR_RETURN(const bool controlled, ControlTablesExist(connection));
  TM_RETURN_IF_ERROR(CheckControlPrivileges(connection, controlled));
  TM_RETURN_IF_ERROR(CheckKeyInSource(job, source));

  TargetDescription description;
  TM_ASSIGN_OR_RETURN(const std::optional<TargetTable> table, ReadTargetTable(connection, target));
  if (table.has_value()) {
    TM_RETURN_IF_ERROR(DescribeExisting(connection, job, *table, source, &description));
    TM_ASSIGN_OR_RETURN(description.table_identity, TableIdentity(connection, table->oid));
  } else {
    TM_RETURN_IF_ERROR(CheckNewTable(connection, target));
    TM_RETURN_IF_ERROR(CheckKeyOfNewTable(connection, job, source));
    description.notes.push_back(
        absl::StrCat(target.Sql(), " does not exist yet and is created from the source's schema"));
  }
  if (controlled) TM_RETURN_IF_ERROR(DescribeLedger(connection, ControlName(target), table, &description));

  TM_ASSIGN_OR_RETURN(const bool wire, WireFits(connection, table, source));
  if (wire && std::find(source_formats.begin(), source_formats.end(), v1::CHUNK_FORMAT_PG_COPY_BINARY) !=
                  source_formats.end()) {
    description.formats.push_back(v1::CHUNK_FORMAT_PG_COPY_BINARY);
  }
  description.formats.push_back(v1::CHUNK_FORMAT_ARROW);
  description.capabilities.set_transactional_commit(true);
  description.capabilities.add_formats(v1::CHUNK_FORMAT_PG_COPY_BINARY);
  description.capabilities.add_formats(v1::CHUNK_FORMAT_ARROW);
  return description;
}

}  // namespace tidemark::postgres
