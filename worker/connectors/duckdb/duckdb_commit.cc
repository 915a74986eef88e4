#include "worker/connectors/duckdb/duckdb_commit.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/model/row_counts.h"
#include "worker/connector/commit_check.h"
#include "worker/connector/ledger_chain.h"
#include "worker/connectors/duckdb/duckdb_catalog.h"
#include "worker/connectors/duckdb/duckdb_control.h"
#include "worker/connectors/duckdb/duckdb_error.h"
#include "worker/connectors/duckdb/duckdb_merge.h"
#include "worker/connectors/duckdb/duckdb_type.h"

namespace tidemark::duckdb {
namespace {

// Without keys and indexes: a merge needs none, and they would make every load dearer.
absl::Status CreateTarget(adbc::Connection& db, const MergeTables& tables, v1::LoadStrategy strategy) {
  std::vector<std::string> columns;
  for (const v1::Column& column : tables.schema.columns()) {
    const bool in_key = strategy == v1::LOAD_STRATEGY_UPSERT &&
                        std::any_of(tables.key.begin(), tables.key.end(), [&](const std::string& part) {
                          return absl::EqualsIgnoreCase(part, column.name());
                        });
    columns.push_back(absl::StrCat(Quoted(column.name()), " ", DeclaredType(column.type()), in_key ? " NOT NULL" : ""));
  }
  TM_RETURN_IF_ERROR(db.Execute(absl::StrCat("CREATE SCHEMA IF NOT EXISTS ", Quoted(tables.target.schema))).status());
  TM_RETURN_IF_ERROR(
      db.Execute(absl::StrCat("CREATE TABLE ", Quoted(tables.target), " (", absl::StrJoin(columns, ", "), ")"))
          .status());
  for (const v1::Column& column : tables.schema.columns()) {
    const std::string comment = CommentOf(column.type());
    if (comment.empty()) continue;
    TM_RETURN_IF_ERROR(db.Execute(absl::StrCat("COMMENT ON COLUMN ", Quoted(tables.target), ".", Quoted(column.name()),
                                               " IS ", Literal(comment)))
                           .status());
  }
  return absl::OkStatus();
}

// DuckDB's bulk load takes any text for JSON, and fails at every query of it.
absl::Status CheckJson(adbc::Connection& db, const MergeTables& tables) {
  for (const v1::Column& column : tables.schema.columns()) {
    if (column.type().kind() != v1::LogicalType::KIND_JSON) continue;
    TM_ASSIGN_OR_RETURN(const int64_t invalid,
                        QueryInt(db, absl::StrCat("SELECT count(*) FROM ", Quoted(tables.staging),
                                                  " WHERE NOT json_valid(", Quoted(column.name()), "::VARCHAR)")));
    if (invalid == 0) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("column ", column.name(), " holds texts that are not JSON in ", invalid, " rows"));
  }
  return absl::OkStatus();
}

// Behind `head`, the last window or full row of the table. Returns how.
absl::StatusOr<std::string> Load(adbc::Connection& db, const v1::JobSpec& job, const RunIdentity& run,
                                 const v1::LedgerHead& head, const MergeTables& tables, const v1::CommitWork& work,
                                 v1::RowCounts* counts) {
  const v1::LoadStrategy strategy = job.target().strategy();
  const bool replaces = strategy == v1::LOAD_STRATEGY_FULL || work.window().kind() == v1::WINDOW_KIND_FULL;
  TM_RETURN_IF_ERROR(CheckJson(db, tables));
  if (strategy != v1::LOAD_STRATEGY_FULL && !tables.key.empty()) {
    TM_RETURN_IF_ERROR(QuarantineNullKeys(db, tables, counts));
  }
  if (strategy == v1::LOAD_STRATEGY_UPSERT) TM_RETURN_IF_ERROR(KeepOneRowPerKey(db, tables, counts));
  TM_ASSIGN_OR_RETURN(const std::optional<Relation> table, FindRelation(db, tables.target));
  if (!table) {
    if (!replaces) TM_RETURN_IF_ERROR(CheckNothingIsLost(head, run, tables.target.table));
    TM_RETURN_IF_ERROR(CreateTarget(db, tables, strategy));
  }
  if (replaces) {
    TM_RETURN_IF_ERROR(Replace(db, tables, counts));
    return std::string(table ? "delete_insert" : "create");
  }
  if (strategy == v1::LOAD_STRATEGY_UPSERT) {
    // Into a table that is new there is nothing to find.
    TM_RETURN_IF_ERROR(table ? Upsert(db, tables, counts) : Append(db, tables, /*skip_loaded=*/false, counts));
    return std::string("merge");
  }
  TM_RETURN_IF_ERROR(CheckAppend(head, run, work.window(), job.target()));
  TM_RETURN_IF_ERROR(Append(db, tables, MayHoldLoadedRows(work.window()), counts));
  return std::string("append");
}

}  // namespace

absl::StatusOr<v1::CommitResult> CommitRun(adbc::Connection& db, const TableName& table, const v1::JobSpec& job,
                                           const RunIdentity& run, const v1::CommitWork& work) {
  MergeTables tables;
  tables.target = table;
  TM_ASSIGN_OR_RETURN(tables.staging, StagingName(run.run_id));
  tables.schema = work.schema();
  for (const v1::Column& column : work.schema().columns()) tables.columns.push_back(column.name());
  tables.key.assign(job.target().key().begin(), job.target().key().end());
  tables.watermark = job.source().watermark();
  tables.run_id = run.run_id;

  v1::CommitResult result;
  adbc::Transaction transaction(db);
  TM_RETURN_IF_ERROR(transaction.Begin());
  TM_ASSIGN_OR_RETURN(const bool known, ControlTablesExist(db));
  if (!known) {
    return absl::FailedPreconditionError(absl::StrCat("run ", run.run_id, " was never prepared in this DuckDB file"));
  }
  // The ledger before the fence: what has been committed is committed, whoever asks.
  TM_ASSIGN_OR_RETURN(const auto entry, ReadLedgerEntry(db, run.run_id));
  if (entry) {
    *result.mutable_counts() = entry->counts;
    result.set_swap(entry->swap);
    result.set_already_done(true);
    return result;
  }
  TM_RETURN_IF_ERROR(RaiseFence(db, table, job.name(), run, TakeOver::kNothing));
  TM_ASSIGN_OR_RETURN(const v1::LedgerHead head, ReadLedgerHead(db, table));
  TM_RETURN_IF_ERROR(CheckChain(head, run, work.window(), job.name()));
  TM_ASSIGN_OR_RETURN(const auto staging, FindRelation(db, tables.staging));
  if (!staging) {
    return absl::FailedPreconditionError(
        absl::StrCat("run ", run.run_id, " has no staging: it was aborted or never prepared"));
  }

  v1::RowCounts& counts = *result.mutable_counts();
  TM_ASSIGN_OR_RETURN(std::vector<v1::StagedMove> moves, ReadMoves(db, run.run_id));
  TM_ASSIGN_OR_RETURN(const int64_t moved, CheckMoves(std::move(moves), work));
  TM_ASSIGN_OR_RETURN(const int64_t held, QueryInt(db, absl::StrCat("SELECT count(*) FROM ", Quoted(tables.staging))));
  TM_RETURN_IF_ERROR(CheckStagedRows(held, moved));
  counts.set_read(moved);
  TM_ASSIGN_OR_RETURN(*result.mutable_swap(), Load(db, job, run, head, tables, work, &counts));
  if (!Balances(counts)) return absl::InternalError(absl::StrCat("the load does not balance: ", Summary(counts)));
  TM_RETURN_IF_ERROR(DropStaging(db, run.run_id));
  TM_RETURN_IF_ERROR(InsertLedgerEntry(db, table, run, work.window(), counts, result.swap()));
  TM_RETURN_IF_ERROR(CommitOutcome(transaction.Commit()));
  return result;
}

}  // namespace tidemark::duckdb
