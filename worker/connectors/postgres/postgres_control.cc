#include "worker/connectors/postgres/postgres_control.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "worker/connector/fence_error.h"
#include "worker/connector/run_id.h"
#include "worker/connectors/postgres/postgres_error.h"

namespace tidemark::postgres {
namespace {

constexpr int kDdlAttempts = 5;

constexpr const char* kControlDdl[] = {
    // IF NOT EXISTS wants the right to create schemas even where this one was made for the role.
    "DO $$ BEGIN IF pg_catalog.to_regnamespace('tidemark') IS NULL THEN CREATE SCHEMA tidemark; END IF; END $$",
    R"(CREATE TABLE IF NOT EXISTS tidemark.fence (
         target_table text PRIMARY KEY,
         cluster_id text NOT NULL,
         job_uid text NOT NULL,
         epoch bigint NOT NULL))",
    R"(CREATE TABLE IF NOT EXISTS tidemark.ledger (
         run_id text PRIMARY KEY,
         target_table text NOT NULL,
         cluster_id text NOT NULL,
         job_uid text NOT NULL,
         sequence bigint NOT NULL,
         kind text NOT NULL CHECK (kind IN ('window', 'range', 'full')),
         low_type text, low_text text, low_precision integer, low_zone text,
         high_type text, high_text text, high_precision integer, high_zone text,
         rows_read bigint NOT NULL,
         rows_loaded bigint NOT NULL,
         rows_filtered bigint NOT NULL,
         rows_quarantined bigint NOT NULL,
         filtered_by_reason jsonb NOT NULL,
         swap text NOT NULL,
         committed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
         CHECK (rows_read = rows_loaded + rows_filtered + rows_quarantined)))",
    "CREATE INDEX IF NOT EXISTS ledger_chain ON tidemark.ledger (target_table, cluster_id, job_uid, sequence)",
    R"(CREATE TABLE IF NOT EXISTS tidemark.moves (
         run_id text NOT NULL,
         partition integer NOT NULL,
         rows bigint NOT NULL,
         PRIMARY KEY (run_id, partition)))",
    R"(CREATE TABLE IF NOT EXISTS tidemark.quarantine (
         run_id text NOT NULL,
         target_table text NOT NULL,
         reason text NOT NULL,
         payload jsonb NOT NULL,
         at timestamptz NOT NULL DEFAULT clock_timestamp()))",
    "CREATE INDEX IF NOT EXISTS quarantine_run ON tidemark.quarantine (run_id)",
};

// IF NOT EXISTS looks before it writes: two sessions that both found nothing collide on the catalog's unique indexes.
bool IsCreationRace(const absl::Status& status) {
  const std::string state = SqlState(status);
  return state == "23505" || state == "42P06" || state == "42P07" || state == "42710" || state == "XX000";
}

absl::StatusOr<int64_t> ParseCount(const Text& cell) {
  int64_t value = 0;
  if (!cell.has_value() || !absl::SimpleAtoi(*cell, &value))
    return absl::InternalError("a control table holds no number where it must");
  return value;
}

absl::Status Refusal(absl::string_view target, const RunIdentity& run, absl::string_view job,
                     const std::optional<Fence>& fence) {
  if (!fence.has_value()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the fence of ", target, " is gone: its row in tidemark.fence was removed while the run was under way"));
  }
  if (fence->BelongsTo(run)) return FencedOut(Std(target), fence->epoch, run.epoch);
  return ForeignFence(Std(target), *fence, run, Std(job));
}

// The fence's epoch, which nobody raises until the transaction ends; nullopt if the fence is not the run's job's.
absl::StatusOr<std::optional<int64_t>> LockOwnEpoch(Connection& connection, absl::string_view target,
                                                    const RunIdentity& run) {
  TM_ASSIGN_OR_RETURN(
      const std::vector<Row> rows,
      connection.Execute(
          "SELECT epoch FROM tidemark.fence WHERE target_table = $1 AND cluster_id = $2 AND job_uid = $3 FOR SHARE",
          {std::string(target), run.cluster_id, run.job_uid}));
  if (rows.empty()) return std::nullopt;
  return ParseCount(rows[0][0]);
}

// Staging tables of this role's that say whose they are: as sequence, job, cluster and target table, between spaces.
constexpr absl::string_view kLabelledStaging =
    "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "JOIN pg_catalog.pg_description d ON d.classoid = 'pg_catalog.pg_class'::regclass AND d.objoid = c.oid AND "
    "d.objsubid = 0 "
    "WHERE n.nspname = 'tidemark' AND c.relname LIKE 'stg\\_%' AND pg_catalog.pg_has_role(c.relowner, 'USAGE') "
    "AND d.description ~ '^[0-9]+ [^ ]+ [^ ]+ ' ";

std::string Owner(const RunIdentity& run) { return absl::StrCat(run.job_uid, " ", run.cluster_id); }

absl::Status Label(Connection& connection, const QualifiedName& staging, absl::string_view target,
                   const RunIdentity& run, int64_t sequence) {
  const std::string label = absl::StrCat(sequence, " ", Owner(run), " ", target);
  return connection.ExecuteCommand(absl::StrCat("COMMENT ON TABLE ", staging.Sql(), " IS ", QuoteLiteral(label)))
      .status();
}

}  // namespace

std::string ControlName(const QualifiedName& table) {
  const auto plain = [](const std::string& part) { return part.find_first_of(".\"") == std::string::npos; };
  if (plain(table.schema) && plain(table.name)) return absl::StrCat(table.schema, ".", table.name);
  return table.Sql();
}

absl::StatusOr<QualifiedName> StagingName(absl::string_view run_id) {
  TM_RETURN_IF_ERROR(CheckRunId(Std(run_id)));
  return QualifiedName{std::string(kControlSchema), absl::StrCat("stg_", run_id)};
}

absl::StatusOr<bool> ControlTablesExist(Connection& connection) {
  TM_ASSIGN_OR_RETURN(
      const Row row,
      connection.ExecuteRow(
          "SELECT count(*) = 6 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
          "WHERE n.nspname = 'tidemark' AND c.relname IN ('fence', 'ledger', 'ledger_chain', 'moves', "
          "'quarantine', 'quarantine_run')"));
  return row[0] == "t";
}

absl::Status CreateControlTables(Connection& connection) {
  // IF NOT EXISTS asks for the right to create even where nothing is missing.
  TM_ASSIGN_OR_RETURN(const bool exist, ControlTablesExist(connection));
  if (exist) return absl::OkStatus();
  for (const char* statement : kControlDdl) {
    absl::Status status;
    for (int attempt = 0; attempt < kDdlAttempts; ++attempt) {
      status = connection.ExecuteCommand(statement).status();
      if (!IsCreationRace(status)) break;
    }
    if (!status.ok())
      return Annotate(status, "cannot create Tidemark's control tables in the schema tidemark of the target");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<Fence>> ReadFence(Connection& connection, absl::string_view target) {
  TM_ASSIGN_OR_RETURN(
      const std::vector<Row> rows,
      connection.Execute("SELECT cluster_id, job_uid, epoch FROM tidemark.fence WHERE target_table = $1",
                         {std::string(target)}));
  if (rows.empty()) return std::nullopt;
  TM_ASSIGN_OR_RETURN(const int64_t epoch, ParseCount(rows[0][2]));
  return Fence{*rows[0][0], *rows[0][1], epoch};
}

absl::Status RaiseFence(Connection& connection, absl::string_view target, const RunIdentity& run, absl::string_view job,
                        TakeOver take_over) {
  const std::vector<Text> identity = {std::string(target), run.cluster_id, run.job_uid, absl::StrCat(run.epoch)};
  // Twice: whoever lost the race for the first claim finds the other's row at the second look, and it may be below its
  // own epoch.
  int64_t raised = 0;
  for (int look = 0; look < 2; ++look) {
    TM_ASSIGN_OR_RETURN(
        raised, connection.ExecuteCommand("UPDATE tidemark.fence SET epoch = $4::bigint WHERE target_table = $1 "
                                          "AND cluster_id = $2 AND job_uid = $3 AND epoch <= $4::bigint",
                                          identity));
    if (raised == 1) return absl::OkStatus();
    TM_ASSIGN_OR_RETURN(
        raised, connection.ExecuteCommand("INSERT INTO tidemark.fence (target_table, cluster_id, job_uid, epoch) "
                                          "VALUES ($1, $2, $3, $4::bigint) ON CONFLICT (target_table) DO NOTHING",
                                          identity));
    if (raised == 1) return absl::OkStatus();
  }
  if (take_over != TakeOver::kNothing) {
    // Epochs of different clusters are not comparable: the owner changes, whatever its epoch was.
    TM_ASSIGN_OR_RETURN(
        raised,
        connection.ExecuteCommand(
            "UPDATE tidemark.fence SET cluster_id = $2, job_uid = $3, epoch = $4::bigint WHERE target_table = $1 "
            "AND (cluster_id <> $2 OR job_uid <> $3 OR epoch <= $4::bigint)",
            identity));
    if (raised == 1) return absl::OkStatus();
  }
  TM_ASSIGN_OR_RETURN(const std::optional<Fence> fence, ReadFence(connection, target));
  return Refusal(target, run, job, fence);
}

absl::Status HoldFence(Connection& connection, absl::string_view target, const RunIdentity& run,
                       absl::string_view job) {
  // Raised before it is locked for sharing: two moves that both shared the row and then both wanted to raise it would
  // deadlock.
  TM_ASSIGN_OR_RETURN(std::optional<Fence> fence, ReadFence(connection, target));
  if (fence.has_value() && fence->BelongsTo(run) && fence->epoch < run.epoch)
    return RaiseFence(connection, target, run, job, TakeOver::kNothing);
  TM_ASSIGN_OR_RETURN(const std::optional<int64_t> epoch, LockOwnEpoch(connection, target, run));
  if (epoch.has_value() && *epoch <= run.epoch) return absl::OkStatus();
  TM_ASSIGN_OR_RETURN(fence, ReadFence(connection, target));
  return Refusal(target, run, job, fence);
}

absl::Status HoldFenceAgainstSuccessors(Connection& connection, absl::string_view target, const RunIdentity& run) {
  TM_ASSIGN_OR_RETURN(const std::optional<int64_t> epoch, LockOwnEpoch(connection, target, run));
  if (epoch.has_value() && *epoch > run.epoch) return FencedOut(Std(target), *epoch, run.epoch);
  return absl::OkStatus();
}

absl::StatusOr<std::optional<int64_t>> ReadMove(Connection& connection, absl::string_view run_id, int partition) {
  TM_ASSIGN_OR_RETURN(
      const std::vector<Row> rows,
      connection.Execute("SELECT rows FROM tidemark.moves WHERE run_id = $1 AND partition = $2::integer",
                         {std::string(run_id), absl::StrCat(partition)}));
  if (rows.empty()) return std::nullopt;
  return ParseCount(rows[0][0]);
}

absl::StatusOr<std::vector<v1::StagedMove>> ReadMoves(Connection& connection, absl::string_view run_id) {
  TM_ASSIGN_OR_RETURN(
      const std::vector<Row> rows,
      connection.Execute("SELECT partition, rows FROM tidemark.moves WHERE run_id = $1 ORDER BY partition",
                         {std::string(run_id)}));
  std::vector<v1::StagedMove> moves;
  for (const Row& row : rows) {
    TM_ASSIGN_OR_RETURN(const int64_t partition, ParseCount(row[0]));
    TM_ASSIGN_OR_RETURN(const int64_t count, ParseCount(row[1]));
    v1::StagedMove& move = moves.emplace_back();
    move.set_partition(static_cast<int>(partition));
    move.set_rows(count);
  }
  return moves;
}

absl::Status DeleteMoves(Connection& connection, absl::string_view run_id) {
  return connection.ExecuteCommand("DELETE FROM tidemark.moves WHERE run_id = $1", {std::string(run_id)}).status();
}

absl::Status EndWritersOf(Connection& connection, const QualifiedName& staging) {
  return connection
      .Execute(
          "SELECT pg_catalog.pg_terminate_backend(l.pid) FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a "
          "ON a.pid = l.pid "
          "WHERE l.locktype = 'relation' AND l.relation = pg_catalog.to_regclass($1) AND l.pid <> "
          "pg_catalog.pg_backend_pid() "
          "AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) "
          "AND a.application_name LIKE 'tidemark%' AND pg_catalog.pg_has_role(a.usesysid, 'MEMBER')",
          {staging.Sql()})
      .status();
}

absl::Status LabelStaging(Connection& connection, const QualifiedName& staging, absl::string_view target,
                          const RunIdentity& run) {
  return Label(connection, staging, target, run, run.sequence);
}

absl::Status InheritStaging(Connection& connection, absl::string_view target, const RunIdentity& run) {
  TM_ASSIGN_OR_RETURN(const std::vector<Row> rows,
                      connection.Execute(absl::StrCat(kLabelledStaging,
                                                      "AND pg_catalog.substring(d.description, '^[0-9]+ [^ ]+ [^ ]+ "
                                                      "(.*)$') = $1 AND pg_catalog.substring(d.description, '^[0-9]+ "
                                                      "([^ ]+ [^ ]+) ') <> $2"),
                                         {std::string(target), Owner(run)}));
  for (const Row& row : rows) {
    // Below every run's.
    constexpr int64_t kDead = 0;
    const absl::Status labelled = Label(connection, {std::string(kControlSchema), *row[0]}, target, run, kDead);
    // Whoever left it has just dropped it.
    if (absl::IsNotFound(labelled)) return absl::AbortedError(labelled.message());
    TM_RETURN_IF_ERROR(labelled);
  }
  return absl::OkStatus();
}

absl::Status DropDeadStaging(Connection& connection, const RunIdentity& run) {
  TM_ASSIGN_OR_RETURN(
      const std::vector<Row> rows,
      connection.Execute(absl::StrCat(kLabelledStaging,
                                      "AND pg_catalog.substring(d.description, '^[0-9]+ ([^ ]+ [^ ]+) ') = $1 "
                                      "AND pg_catalog.split_part(d.description, ' ', 1)::bigint < $2::bigint"),
                         {Owner(run), absl::StrCat(run.sequence)}));
  for (const Row& row : rows) {
    const QualifiedName staging{std::string(kControlSchema), *row[0]};
    TM_RETURN_IF_ERROR(connection.ExecuteCommand("BEGIN").status());
    absl::Status dropped =
        connection.ExecuteCommand(absl::StrCat("LOCK TABLE ", staging.Sql(), " IN ACCESS EXCLUSIVE MODE NOWAIT"))
            .status();
    if (dropped.ok()) dropped = connection.ExecuteCommand(absl::StrCat("DROP TABLE ", staging.Sql())).status();
    if (dropped.ok()) dropped = DeleteMoves(connection, staging.name.substr(sizeof("stg_") - 1));
    TM_RETURN_IF_ERROR(connection.ExecuteCommand(dropped.ok() ? "COMMIT" : "ROLLBACK").status());
    // Aborted: in use, so somebody replays it. NotFound: another session has dropped it meanwhile.
    if (!dropped.ok() && !absl::IsAborted(dropped) && !absl::IsNotFound(dropped)) return dropped;
  }
  return absl::OkStatus();
}

}  // namespace tidemark::postgres
