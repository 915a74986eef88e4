#include "worker/connectors/postgres/postgres_swap.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "worker/connectors/postgres/postgres_error.h"
#include "worker/connectors/postgres/postgres_swap_catalog.h"

namespace tidemark::postgres {
namespace {

constexpr int kLockAttempts = 5;
constexpr char kLockTimeoutState[] = "55P03";

absl::Status Run(Connection& connection, const std::string& statement) {
  return connection.ExecuteCommand(statement).status();
}

absl::Status RunAll(Connection& connection, const std::vector<std::string>& statements) {
  for (const std::string& statement : statements) TM_RETURN_IF_ERROR(Run(connection, statement));
  return absl::OkStatus();
}

// One relation in the place of another.
struct Replacement {
  QualifiedName old_name;
  uint32_t old_oid = 0;
  QualifiedName staging;
  // The partitioned table whose partition is replaced.
  std::optional<TargetTable> shell;
};

absl::Status Replace(Connection& connection, const Replacement& replacement) {
  const QualifiedName& name = replacement.old_name;
  const uint32_t old_oid = replacement.old_oid;
  TM_ASSIGN_OR_RETURN(const std::vector<std::string> builds, BuildStatements(connection, old_oid, replacement.staging));
  TM_RETURN_IF_ERROR(RunAll(connection, builds));
  TM_RETURN_IF_ERROR(Run(connection, absl::StrCat("ANALYZE ", replacement.staging.Sql())));

  if (replacement.shell.has_value())
    TM_RETURN_IF_ERROR(LockTable(connection, replacement.shell->name, "ACCESS EXCLUSIVE"));
  TM_RETURN_IF_ERROR(LockTable(connection, name, "ACCESS EXCLUSIVE"));
  TM_ASSIGN_OR_RETURN(const uint32_t locked_oid, RelationOid(connection, name));
  if (locked_oid != old_oid)
    return absl::AbortedError(absl::StrCat(name.Sql(), " was replaced by somebody else meanwhile"));
  TM_ASSIGN_OR_RETURN(const std::vector<std::string> obstacles,
                      RenameObstacles(connection, old_oid, replacement.shell.has_value()));
  if (!obstacles.empty()) return absl::InvalidArgumentError(absl::StrJoin(obstacles, ", "));

  TM_ASSIGN_OR_RETURN(const std::vector<std::string> before, CatalogPicture(connection, old_oid));
  TM_ASSIGN_OR_RETURN(const uint32_t staging_oid, RelationOid(connection, replacement.staging));
  TM_ASSIGN_OR_RETURN(const std::vector<std::string> carry, CarryStatements(connection, old_oid, staging_oid));
  TM_ASSIGN_OR_RETURN(const std::vector<std::string> release, ReleaseStatements(connection, old_oid));
  TM_RETURN_IF_ERROR(RunAll(connection, release));
  if (replacement.shell.has_value()) {
    TM_RETURN_IF_ERROR(
        Run(connection, absl::StrCat("ALTER TABLE ", replacement.shell->name.Sql(), " DETACH PARTITION ", name.Sql())));
  }
  TM_RETURN_IF_ERROR(Run(connection, absl::StrCat("DROP TABLE ", name.Sql())));
  TM_RETURN_IF_ERROR(Run(connection, absl::StrCat("ALTER TABLE ", replacement.staging.Sql(), " SET SCHEMA ",
                                                  QuoteIdentifier(name.schema))));
  TM_RETURN_IF_ERROR(
      Run(connection, absl::StrCat("ALTER TABLE ", QualifiedName{name.schema, replacement.staging.name}.Sql(),
                                   " RENAME TO ", QuoteIdentifier(name.name))));
  TM_RETURN_IF_ERROR(RunAll(connection, carry));
  if (replacement.shell.has_value()) {
    TM_RETURN_IF_ERROR(Run(connection, absl::StrCat("ALTER TABLE ", replacement.shell->name.Sql(), " ATTACH PARTITION ",
                                                    name.Sql(), " DEFAULT")));
  }
  TM_ASSIGN_OR_RETURN(const std::vector<std::string> after, CatalogPicture(connection, staging_oid));
  const auto [lost, gained] = std::mismatch(before.begin(), before.end(), after.begin(), after.end());
  if (lost == before.end() && gained == after.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the new table would differ in ", lost != before.end() ? *lost : *gained));
}

// Whether another way to the same end is worth a try: the table, not the server, the data or a cancel, stood against
// the first.
bool IsObstacle(const absl::Status& status) {
  if (Std(absl::string_view(SqlState(status))).substr(0, 2) == "23") return false;
  return absl::IsInvalidArgument(status) || absl::IsNotFound(status) || absl::IsPermissionDenied(status) ||
         absl::IsAlreadyExists(status) || absl::IsInternal(status) || absl::IsUnimplemented(status);
}

absl::Status RewriteInPlace(Connection& connection, const SwapInput& input, bool truncate) {
  const std::string table = input.table.name.Sql();
  // DELETE leaves readers alone: only other writers must wait.
  TM_RETURN_IF_ERROR(LockTable(connection, input.table.name, truncate ? "ACCESS EXCLUSIVE" : "SHARE ROW EXCLUSIVE"));
  TM_RETURN_IF_ERROR(Run(connection, absl::StrCat(truncate ? "TRUNCATE " : "DELETE FROM ", table)));
  bool overriding = false;
  for (const std::string& column : input.fed) {
    const TargetColumn* found = input.table.Find(column);
    overriding = overriding || (found != nullptr && found->identity_always);
  }
  TM_ASSIGN_OR_RETURN(const int64_t inserted,
                      connection.ExecuteCommand(absl::StrCat("INSERT INTO ", table, " (", ColumnList(input.fed), ")",
                                                             overriding ? " OVERRIDING SYSTEM VALUE" : "", " SELECT ",
                                                             ColumnList(input.fed), " FROM ", input.staging.Sql())));
  if (inserted != input.rows) {
    return absl::InvalidArgumentError(absl::StrCat("of ", input.rows, " rows ", inserted, " arrived in ", table,
                                                   "; a trigger or a rule of the table drops or adds rows"));
  }
  TM_ASSIGN_OR_RETURN(const Row row, connection.ExecuteRow(absl::StrCat("SELECT count(*) FROM ", table)));
  if (row[0] != absl::StrCat(inserted)) {
    return absl::InvalidArgumentError(
        absl::StrCat(table, " holds ", row[0].value_or("?"), " rows where ", inserted,
                     " were loaded; a trigger of the table keeps rows from being deleted, or adds some"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Replacement> ReplacementFor(Connection& connection, const SwapInput& input, SwapMethod method) {
  Replacement replacement;
  replacement.staging = input.staging;
  if (method == SwapMethod::kRename) {
    replacement.old_name = input.table.name;
    replacement.old_oid = input.table.oid;
    return replacement;
  }
  TM_ASSIGN_OR_RETURN(const std::optional<Partition> partition, ShellPartition(connection, input.table.oid));
  if (!partition.has_value())
    return absl::AbortedError(absl::StrCat("the partitions of ", input.table.name.Sql(), " have changed"));
  replacement.old_name = partition->name;
  replacement.old_oid = partition->oid;
  replacement.shell = input.table;
  return replacement;
}

std::vector<std::string> ColumnNames(const TargetTable& table) {
  std::vector<std::string> names;
  for (const TargetColumn& column : table.columns) names.push_back(column.name);
  return names;
}

absl::Status RefuseReferenced(Connection& connection, const TargetTable& table) {
  TM_ASSIGN_OR_RETURN(const std::vector<std::string> keys, ReferencingKeys(connection, table.oid));
  if (keys.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("a full load cannot replace the rows of ", table.name.Sql(),
                                                 ": foreign key ", absl::StrJoin(keys, ", "),
                                                 " points to them; drop the key, or use strategy: upsert"));
}

absl::StatusOr<std::vector<std::string>> ObstaclesTo(Connection& connection, const TargetTable& table,
                                                     const std::vector<std::string>& fed) {
  TM_ASSIGN_OR_RETURN(std::vector<std::string> obstacles,
                      RenameObstacles(connection, table.oid, /*is_shell_partition=*/false));
  for (const TargetColumn& column : table.columns) {
    const bool is_fed = std::find(fed.begin(), fed.end(), column.name) != fed.end();
    if (column.identity && !is_fed)
      obstacles.push_back(absl::StrCat("its identity column ", column.name, " is not fed by the source"));
  }
  return obstacles;
}

}  // namespace

absl::StatusOr<SwapPlan> PlanSwap(Connection& connection, const TargetTable& table, v1::SwapMode mode,
                                  const std::vector<std::string>& fed) {
  SwapPlan plan;
  const std::string name = table.name.Sql();
  std::optional<Partition> shell;
  if (table.kind == 'p') {
    TM_ASSIGN_OR_RETURN(shell, ShellPartition(connection, table.oid));
  }
  switch (mode) {
    case v1::SWAP_MODE_SHELL:
      if (!shell.has_value()) {
        return absl::InvalidArgumentError(absl::StrCat(
            "swap: shell needs ", name, " to be a partitioned table whose only partition is its DEFAULT partition"));
      }
      plan.method = SwapMethod::kShell;
      break;
    case v1::SWAP_MODE_RENAME: {
      TM_ASSIGN_OR_RETURN(plan.obstacles, ObstaclesTo(connection, table, fed));
      if (!plan.obstacles.empty()) {
        return absl::InvalidArgumentError(absl::StrCat("swap: rename cannot replace ", name, ": ",
                                                       absl::StrJoin(plan.obstacles, ", "),
                                                       "; swap: auto rewrites it in place"));
      }
      break;
    }
    case v1::SWAP_MODE_TRUNCATE_INSERT:
      plan.method = SwapMethod::kTruncateInsert;
      break;
    case v1::SWAP_MODE_DELETE_INSERT:
      plan.method = SwapMethod::kDeleteInsert;
      break;
    default: {
      if (shell.has_value() && table.owned) {
        plan.method = SwapMethod::kShell;
        break;
      }
      TM_ASSIGN_OR_RETURN(plan.obstacles, ObstaclesTo(connection, table, fed));
      plan.method = plan.obstacles.empty() ? SwapMethod::kRename : SwapMethod::kTruncateInsert;
    }
  }
  if (plan.method != SwapMethod::kRename) TM_RETURN_IF_ERROR(RefuseReferenced(connection, table));
  return plan;
}

absl::StatusOr<std::string> SwapIn(Connection& connection, const SwapInput& input) {
  TM_ASSIGN_OR_RETURN(SwapPlan plan, PlanSwap(connection, input.table, input.mode, input.fed));
  const bool may_rewrite = input.mode == v1::SWAP_MODE_AUTO || input.mode == v1::SWAP_MODE_UNSPECIFIED;
  if (plan.method == SwapMethod::kRename || plan.method == SwapMethod::kShell) {
    TM_ASSIGN_OR_RETURN(const std::optional<TargetTable> staging, ReadTargetTable(connection, input.staging));
    absl::Status replaced = absl::InvalidArgumentError("its columns have changed since the run began");
    TM_RETURN_IF_ERROR(Run(connection, "SAVEPOINT tidemark_swap"));
    if (staging.has_value() && ColumnNames(*staging) == ColumnNames(input.table)) {
      TM_ASSIGN_OR_RETURN(const Replacement replacement, ReplacementFor(connection, input, plan.method));
      replaced = Replace(connection, replacement);
    }
    if (replaced.ok()) return std::string(plan.method == SwapMethod::kRename ? "rename" : "shell");
    if (!IsObstacle(replaced)) return Annotate(replaced, absl::StrCat("cannot replace ", input.table.name.Sql()));
    if (!may_rewrite) {
      return absl::InvalidArgumentError(absl::StrCat("cannot replace ", input.table.name.Sql(), ": ",
                                                     replaced.message(), "; swap: auto rewrites it in place"));
    }
    TM_RETURN_IF_ERROR(Run(connection, "ROLLBACK TO SAVEPOINT tidemark_swap"));
    TM_RETURN_IF_ERROR(RefuseReferenced(connection, input.table));
    plan.method = SwapMethod::kTruncateInsert;
  }
  const bool truncate = plan.method == SwapMethod::kTruncateInsert;
  TM_RETURN_IF_ERROR(RewriteInPlace(connection, input, truncate));
  return std::string(truncate ? "truncate_insert" : "delete_insert");
}

absl::Status BecomeTable(Connection& connection, const QualifiedName& staging, const QualifiedName& name,
                         const std::vector<std::string>& key, bool unique, bool shell) {
  constexpr size_t kMaxNameBytes = 63;
  constexpr absl::string_view kSuffix = "_default";
  QualifiedName table = name;
  if (shell) table.name = absl::StrCat(name.name.substr(0, kMaxNameBytes - kSuffix.size()), kSuffix);
  TM_ASSIGN_OR_RETURN(
      const Row row,
      connection.ExecuteRow("SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = $1", {name.schema}));
  if (row[0] == "0") TM_RETURN_IF_ERROR(Run(connection, absl::StrCat("CREATE SCHEMA ", QuoteIdentifier(name.schema))));
  TM_RETURN_IF_ERROR(
      Run(connection, absl::StrCat("ALTER TABLE ", staging.Sql(), " SET SCHEMA ", QuoteIdentifier(name.schema))));
  TM_RETURN_IF_ERROR(Run(connection, absl::StrCat("ALTER TABLE ", QualifiedName{name.schema, staging.name}.Sql(),
                                                  " RENAME TO ", QuoteIdentifier(table.name))));
  TM_RETURN_IF_ERROR(Run(connection, absl::StrCat("COMMENT ON TABLE ", table.Sql(), " IS NULL")));
  // Without a name of ours: the server finds a free one after the table's.
  const std::string primary_key = absl::StrCat(" ADD PRIMARY KEY (", ColumnList(key), ")");
  if (!key.empty()) {
    TM_RETURN_IF_ERROR(
        Run(connection, unique ? absl::StrCat("ALTER TABLE ", table.Sql(), primary_key)
                               : absl::StrCat("CREATE INDEX ON ", table.Sql(), " (", ColumnList(key), ")")));
  }
  if (shell) {
    std::string by = key.empty() ? std::string() : key.front();
    if (by.empty()) {
      TM_ASSIGN_OR_RETURN(const std::optional<TargetTable> made, ReadTargetTable(connection, table));
      if (!made.has_value() || made->columns.empty()) return absl::InvalidArgumentError("a shell needs a column");
      by = made->columns.front().name;
    }
    TM_RETURN_IF_ERROR(Run(connection, absl::StrCat("CREATE TABLE ", name.Sql(), " (LIKE ", table.Sql(),
                                                    ") PARTITION BY LIST (", QuoteIdentifier(by), ")")));
    if (!key.empty() && unique)
      TM_RETURN_IF_ERROR(Run(connection, absl::StrCat("ALTER TABLE ", name.Sql(), primary_key)));
    TM_RETURN_IF_ERROR(
        Run(connection, absl::StrCat("ALTER TABLE ", name.Sql(), " ATTACH PARTITION ", table.Sql(), " DEFAULT")));
  }
  return Run(connection, absl::StrCat("ANALYZE ", table.Sql()));
}

absl::Status LockTable(Connection& connection, const QualifiedName& table, const std::string& lock) {
  for (int attempt = 1;; ++attempt) {
    TM_RETURN_IF_ERROR(Run(connection, "SAVEPOINT tidemark_lock"));
    TM_RETURN_IF_ERROR(Run(connection, "SET LOCAL lock_timeout = '5s'"));
    const absl::Status locked = Run(connection, absl::StrCat("LOCK TABLE ", table.Sql(), " IN ", lock, " MODE"));
    if (locked.ok()) return Run(connection, "RELEASE SAVEPOINT tidemark_lock");
    if (SqlState(locked) != kLockTimeoutState) return locked;
    TM_RETURN_IF_ERROR(Run(connection, "ROLLBACK TO SAVEPOINT tidemark_lock"));
    if (attempt < kLockAttempts) continue;
    TM_ASSIGN_OR_RETURN(
        const std::vector<Row> holders,
        connection.Execute(
            "SELECT DISTINCT pg_catalog.format('%s (%s)', a.pid, a.application_name) FROM pg_catalog.pg_locks l "
            "JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid WHERE l.relation = pg_catalog.to_regclass($1) "
            "AND l.granted AND l.pid <> pg_catalog.pg_backend_pid() LIMIT 5",
            {table.Sql()}));
    const std::string names =
        absl::StrJoin(holders, ", ", [](std::string* out, const Row& row) { out->append(row[0].value_or("?")); });
    return absl::AbortedError(absl::StrCat("could not lock ", table.Sql(), " in ", kLockAttempts, " tries of 5 s",
                                           names.empty() ? "" : "; held by process ", names));
  }
}

}  // namespace tidemark::postgres
