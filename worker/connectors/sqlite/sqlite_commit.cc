#include "worker/connectors/sqlite/sqlite_commit.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model/row_counts.h"
#include "worker/connector/commit_check.h"
#include "worker/connector/ledger_chain.h"
#include "worker/connectors/sqlite/sqlite_catalog.h"
#include "worker/connectors/sqlite/sqlite_control.h"
#include "worker/connectors/sqlite/sqlite_merge.h"
#include "worker/connectors/sqlite/sqlite_swap.h"

namespace tidemark::sqlite {
namespace {

// A full refresh of a job that otherwise appends or merges: its rows were staged for that, and move into a table of
// their own first.
absl::Status LoadAside(Database& db, absl::string_view aside, const v1::JobSpec& job, const MergeTables& tables,
                       const v1::CommitWork& work, v1::RowCounts* counts) {
  TM_ASSIGN_OR_RETURN(const std::optional<Relation> table, FindRelation(db, tables.target));
  std::string create = CreateStatement(work.schema(), job.target(), aside);
  if (table) {
    TM_ASSIGN_OR_RETURN(create, CloneStatement(*table, aside));
  }
  TM_RETURN_IF_ERROR(db.Exec(create));
  MergeTables into = tables;
  into.target = std::string(aside);
  return Append(db, into, /*skip_loaded=*/false, counts);
}

// Behind `head`, the last window or full row of the table. Returns how.
absl::StatusOr<std::string> Load(Database& db, const v1::JobSpec& job, const RunIdentity& run,
                                 const v1::LedgerHead& head, const MergeTables& tables, const v1::CommitWork& work,
                                 v1::RowCounts* counts) {
  const v1::LoadStrategy strategy = job.target().strategy();
  if (strategy == v1::LOAD_STRATEGY_FULL) {
    counts->set_loaded(counts->read());
    return SwapIn(db, tables.staging, tables.target, job.target().swap(), tables.columns);
  }
  if (!tables.key.empty()) TM_RETURN_IF_ERROR(QuarantineNullKeys(db, tables, counts));
  if (strategy == v1::LOAD_STRATEGY_UPSERT) TM_RETURN_IF_ERROR(KeepOneRowPerKey(db, tables, counts));
  if (work.window().kind() == v1::WINDOW_KIND_FULL) {
    const std::string aside = absl::StrCat("_tidemark_new_", tables.run_id);
    TM_RETURN_IF_ERROR(LoadAside(db, aside, job, tables, work, counts));
    return SwapIn(db, aside, tables.target, job.target().swap(), tables.columns);
  }
  TM_ASSIGN_OR_RETURN(const std::optional<Relation> table, FindRelation(db, tables.target));
  if (!table) {
    TM_RETURN_IF_ERROR(CheckNothingIsLost(head, run, tables.target));
    TM_RETURN_IF_ERROR(db.Exec(CreateStatement(work.schema(), job.target(), tables.target)));
  }
  if (strategy == v1::LOAD_STRATEGY_UPSERT) {
    TM_RETURN_IF_ERROR(Upsert(db, tables, counts));
    return std::string("merge");
  }
  TM_RETURN_IF_ERROR(CheckAppend(head, run, work.window(), job.target()));
  TM_RETURN_IF_ERROR(Append(db, tables, MayHoldLoadedRows(work.window()), counts));
  return std::string("append");
}

}  // namespace

absl::StatusOr<v1::CommitResult> CommitRun(Database& db, absl::string_view table, const v1::JobSpec& job,
                                           const RunIdentity& run, const v1::CommitWork& work) {
  TM_ASSIGN_OR_RETURN(const std::string staging_name, StagingName(run.run_id));
  v1::CommitResult result;
  Transaction transaction(db);
  TM_RETURN_IF_ERROR(transaction.BeginImmediate());
  TM_ASSIGN_OR_RETURN(const bool known, ControlTablesExist(db));
  if (!known)
    return absl::FailedPreconditionError(
        absl::StrCat("run ", run.run_id, " was never prepared in SQLite file ", db.path()));
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

  MergeTables tables;
  tables.target = std::string(table);
  tables.staging = staging_name;
  tables.run_id = run.run_id;
  tables.watermark = job.source().watermark();
  for (const v1::Column& column : work.schema().columns()) tables.columns.push_back(column.name());
  tables.key.assign(job.target().key().begin(), job.target().key().end());
  TM_ASSIGN_OR_RETURN(const auto staging, FindRelation(db, tables.staging));
  if (!staging)
    return absl::FailedPreconditionError(
        absl::StrCat("run ", run.run_id, " has no staging: it was aborted or never prepared"));

  v1::RowCounts& counts = *result.mutable_counts();
  TM_ASSIGN_OR_RETURN(std::vector<v1::StagedMove> moves, ReadMoves(db, run.run_id));
  TM_ASSIGN_OR_RETURN(const int64_t moved, CheckMoves(std::move(moves), work));
  TM_ASSIGN_OR_RETURN(const auto held, db.QueryInt(absl::StrCat("SELECT count(*) FROM ", Quoted(tables.staging))));
  TM_RETURN_IF_ERROR(CheckStagedRows(held.value_or(0), moved));
  counts.set_read(moved);
  TM_ASSIGN_OR_RETURN(*result.mutable_swap(), Load(db, job, run, head, tables, work, &counts));
  if (!Balances(counts)) return absl::InternalError(absl::StrCat("the load does not balance: ", Summary(counts)));
  TM_RETURN_IF_ERROR(DropStaging(db, run.run_id));
  TM_RETURN_IF_ERROR(InsertLedgerEntry(db, table, run, work.window(), counts, result.swap()));
  TM_RETURN_IF_ERROR(transaction.Commit());
  return result;
}

}  // namespace tidemark::sqlite
