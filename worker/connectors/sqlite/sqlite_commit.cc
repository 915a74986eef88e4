#include "worker/connectors/sqlite/sqlite_commit.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model/row_counts.h"
#include "worker/connectors/sqlite/sqlite_catalog.h"
#include "worker/connectors/sqlite/sqlite_control.h"
#include "worker/connectors/sqlite/sqlite_merge.h"
#include "worker/connectors/sqlite/sqlite_swap.h"

namespace tidemark::sqlite {
namespace {

absl::StatusOr<int64_t> CheckMoves(Database& db, const RunIdentity& run, const v1::CommitWork& work) {
  std::map<int, int64_t> expected, found;
  int64_t staged = 0;
  for (const v1::StagedMove& move : work.moves()) {
    expected[move.partition()] = move.rows();
    staged += move.rows();
  }
  TM_ASSIGN_OR_RETURN(const std::vector<v1::StagedMove> moves, ReadMoves(db, run.run_id));
  for (const v1::StagedMove& move : moves) found[move.partition()] = move.rows();
  if (expected != found) {
    return absl::FailedPreconditionError(absl::StrCat("run ", run.run_id, " reports ", work.moves_size(), " moves of ",
                                                      staged, " rows, but the target has ", found.size(),
                                                      " others staged"));
  }
  TM_ASSIGN_OR_RETURN(const auto rows,
                      db.QueryInt(absl::StrCat("SELECT count(*) FROM ", Quoted(StagingName(run.run_id)))));
  if (rows.value_or(0) != staged) {
    return absl::FailedPreconditionError(absl::StrCat("staging of run ", run.run_id, " holds ", rows.value_or(0),
                                                      " rows where its moves brought ", staged));
  }
  return staged;
}

// A table that this job has loaded and that is gone is not made anew of one window's rows: the rest would be missing,
// and nothing would say so.
absl::Status CheckTableStands(Database& db, absl::string_view table, const v1::LedgerHead& head, const RunIdentity& run,
                              v1::WindowKind kind) {
  const bool loaded = head.exists() && head.cluster_id() == run.cluster_id && head.job_uid() == run.job_uid;
  if (kind == v1::WINDOW_KIND_FULL || !loaded) return absl::OkStatus();
  TM_ASSIGN_OR_RETURN(const std::optional<Relation> found, FindRelation(db, table));
  if (found) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the target table ", table, " is gone, though the ledger has loads of this job up to ",
                   head.has_high() ? head.high().text() : absl::StrCat("run ", head.run_id()),
                   ": restore it, or run with --full-refresh"));
}

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

absl::StatusOr<std::string> Load(Database& db, const v1::JobSpec& job, const MergeTables& tables,
                                 const v1::CommitWork& work, v1::RowCounts* counts) {
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
  if (!table) TM_RETURN_IF_ERROR(db.Exec(CreateStatement(work.schema(), job.target(), tables.target)));
  if (strategy == v1::LOAD_STRATEGY_UPSERT) {
    TM_RETURN_IF_ERROR(Upsert(db, tables, counts));
    return std::string("merge");
  }
  // A backfill goes over rows that a window may have brought.
  const bool may_be_loaded =
      work.window().overlap() || work.window().nulls() || work.window().kind() == v1::WINDOW_KIND_RANGE;
  if (may_be_loaded && tables.key.empty()) {
    return absl::InvalidArgumentError(
        "target.key is needed to append a window that may hold rows already loaded (lookback, a backfill, or "
        "null_watermark: reread)");
  }
  TM_RETURN_IF_ERROR(Append(db, tables, may_be_loaded, counts));
  return std::string("append");
}

}  // namespace

absl::StatusOr<v1::CommitResult> CommitRun(Database& db, absl::string_view table, const v1::JobSpec& job,
                                           const RunIdentity& run, const v1::CommitWork& work) {
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
  TM_RETURN_IF_ERROR(RaiseFence(db, table, job.name(), run, false));
  TM_ASSIGN_OR_RETURN(const v1::LedgerHead head, ReadLedgerHead(db, table));
  TM_RETURN_IF_ERROR(CheckChain(head, run, work.window(), job.name()));
  TM_RETURN_IF_ERROR(CheckTableStands(db, table, head, run, work.window().kind()));

  MergeTables tables;
  tables.target = std::string(table);
  tables.staging = StagingName(run.run_id);
  tables.run_id = run.run_id;
  tables.watermark = job.source().watermark();
  for (const v1::Column& column : work.schema().columns()) tables.columns.push_back(column.name());
  tables.key.assign(job.target().key().begin(), job.target().key().end());
  TM_ASSIGN_OR_RETURN(const auto staging, FindRelation(db, tables.staging));
  if (!staging)
    return absl::FailedPreconditionError(
        absl::StrCat("run ", run.run_id, " has no staging: it was aborted or never prepared"));

  v1::RowCounts& counts = *result.mutable_counts();
  TM_ASSIGN_OR_RETURN(const int64_t staged, CheckMoves(db, run, work));
  counts.set_read(staged);
  TM_ASSIGN_OR_RETURN(*result.mutable_swap(), Load(db, job, tables, work, &counts));
  if (!Balances(counts)) return absl::InternalError(absl::StrCat("the load does not balance: ", Summary(counts)));
  TM_RETURN_IF_ERROR(DropStaging(db, run.run_id));
  TM_RETURN_IF_ERROR(InsertLedgerEntry(db, table, run, work.window(), counts, result.swap()));
  TM_RETURN_IF_ERROR(transaction.Commit());
  return result;
}

}  // namespace tidemark::sqlite
