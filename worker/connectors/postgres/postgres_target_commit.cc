#include "worker/connectors/postgres/postgres_target_commit.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model/row_counts.h"
#include "worker/connector/commit_check.h"
#include "worker/connector/ledger_chain.h"
#include "worker/connectors/postgres/postgres_control.h"
#include "worker/connectors/postgres/postgres_error.h"
#include "worker/connectors/postgres/postgres_ledger.h"
#include "worker/connectors/postgres/postgres_merge.h"
#include "worker/connectors/postgres/postgres_swap.h"
#include "worker/connectors/postgres/postgres_target_staging.h"
#include "worker/connectors/postgres/postgres_target_table.h"
#include "worker/connectors/postgres/postgres_transaction.h"

namespace tidemark::postgres {
namespace {

constexpr int kAttempts = 5;

// A unique violation is worth another try only where somebody else's row may have come between; one inside staging
// stays.
bool WorthAnotherTry(const absl::Status& status, bool merges) {
  const std::string state = SqlState(status);
  return state == "40001" || state == "40P01" || (merges && state == "23505");
}

absl::StatusOr<int64_t> CountRows(Connection& connection, const QualifiedName& table) {
  TM_ASSIGN_OR_RETURN(const Row row, connection.ExecuteRow(absl::StrCat("SELECT count(*) FROM ", table.Sql())));
  int64_t rows = 0;
  if (!absl::SimpleAtoi(row[0].value_or(""), &rows)) return absl::InternalError("a count is no number");
  return rows;
}

class Committer {
 public:
  Committer(Connection& connection, const v1::JobSpec& job, const QualifiedName& target, const RunIdentity& run,
            const v1::CommitWork& work)
      : connection_(connection),
        job_(job),
        target_(target),
        run_(run),
        work_(work),
        control_name_(ControlName(target)) {}

  // A full window replaces what the target holds, whatever the job's strategy is otherwise.
  bool replaces() const { return work_.window().kind() == v1::WINDOW_KIND_FULL; }

  absl::StatusOr<v1::CommitResult> Try() {
    TM_ASSIGN_OR_RETURN(staging_, StagingName(run_.run_id));
    TM_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(connection_));
    // Another commit of this table may take its time, and must be waited for: it may be this very run's.
    TM_RETURN_IF_ERROR(Run("SET LOCAL lock_timeout = 0"));
    TM_RETURN_IF_ERROR(RaiseFence(connection_, control_name_, run_, job_.name(), TakeOver::kNothing));
    TM_RETURN_IF_ERROR(Run("SET LOCAL lock_timeout = '5s'"));
    TM_ASSIGN_OR_RETURN(const std::optional<LedgerEntry> committed, ReadLedgerEntry(connection_, run_.run_id));
    v1::CommitResult result;
    if (committed.has_value()) {
      *result.mutable_counts() = committed->counts;
      result.set_swap(committed->swap);
      result.set_already_done(true);
      return result;
    }
    TM_ASSIGN_OR_RETURN(const v1::LedgerHead head,
                        ReadLedgerHead(connection_, control_name_, run_.cluster_id, run_.job_uid));
    TM_RETURN_IF_ERROR(CheckChain(head, run_, work_.window(), job_.name()));
    TM_ASSIGN_OR_RETURN(const int64_t rows, TakeStaging());
    result.mutable_counts()->set_read(rows);
    TM_RETURN_IF_ERROR(Apply(head, &result));
    TM_RETURN_IF_ERROR(
        InsertLedgerEntry(connection_, control_name_, run_, work_.window(), result.counts(), result.swap()));
    TM_RETURN_IF_ERROR(DeleteMoves(connection_, run_.run_id));
    TM_RETURN_IF_ERROR(Run(absl::StrCat("DROP TABLE IF EXISTS ", staging_.Sql())));
    TM_RETURN_IF_ERROR(transaction.Commit(absl::StrCat("run ", run_.run_id)));
    return result;
  }

  // The planner's statistics after a merge that changed a good part of the table. The rows are committed: a failure
  // changes nothing.
  void Analyze(const v1::CommitResult& result) {
    if (analyze_above_ < 0 || result.counts().loaded() <= analyze_above_) return;
    Run(absl::StrCat("ANALYZE ", target_.Sql())).IgnoreError();
  }

 private:
  absl::Status Run(const std::string& statement) { return connection_.ExecuteCommand(statement).status(); }

  // Checks staging against the moves and keeps everybody else out of it until the end. Returns its rows.
  absl::StatusOr<int64_t> TakeStaging() {
    TM_ASSIGN_OR_RETURN(std::vector<v1::StagedMove> moves, ReadMoves(connection_, run_.run_id));
    TM_ASSIGN_OR_RETURN(const int64_t moved, CheckMoves(std::move(moves), work_));
    TM_RETURN_IF_ERROR(EndWritersOf(connection_, staging_));
    const absl::Status locked = LockTable(connection_, staging_, "ACCESS EXCLUSIVE");
    if (absl::IsNotFound(locked)) {
      return absl::FailedPreconditionError(absl::StrCat(
          "run ", run_.run_id, " has no staging table in the target: it is aborted or was never prepared"));
    }
    TM_RETURN_IF_ERROR(locked);
    TM_ASSIGN_OR_RETURN(const int64_t rows, CountRows(connection_, staging_));
    TM_RETURN_IF_ERROR(CheckStagedRows(rows, moved));
    return rows;
  }

  MergeTables Tables(const std::optional<TargetTable>& table) const {
    MergeTables tables;
    tables.target = target_;
    tables.staging = staging_;
    tables.columns = ColumnNames(work_.schema());
    tables.key = {job_.target().key().begin(), job_.target().key().end()};
    const std::string& watermark = job_.source().watermark();
    if (std::find(tables.columns.begin(), tables.columns.end(), watermark) != tables.columns.end())
      tables.watermark = watermark;
    for (const std::string& column : tables.columns) {
      const TargetColumn* found = table.has_value() ? table->Find(column) : nullptr;
      tables.overriding_identity = tables.overriding_identity || (found != nullptr && found->identity_always);
    }
    tables.run_id = run_.run_id;
    tables.control_name = control_name_;
    return tables;
  }

  absl::Status Apply(const v1::LedgerHead& head, v1::CommitResult* result) {
    v1::RowCounts* counts = result->mutable_counts();
    TM_ASSIGN_OR_RETURN(const std::optional<TargetTable> table, ReadTargetTable(connection_, target_));
    const MergeTables tables = Tables(table);
    const bool upsert = job_.target().strategy() == v1::LOAD_STRATEGY_UPSERT;
    const bool skip_loaded = MayHoldLoadedRows(work_.window());
    const bool append = !upsert && !replaces();
    if (append) TM_RETURN_IF_ERROR(CheckAppend(head, run_, work_.window(), job_.target()));
    if (upsert || (append && skip_loaded)) TM_RETURN_IF_ERROR(QuarantineNullKeys(connection_, tables, counts));
    if (upsert) TM_RETURN_IF_ERROR(KeepOneRowPerKey(connection_, tables, counts));
    const int64_t rest = Remaining(*counts);
    if (!table.has_value()) {
      if (!replaces()) TM_RETURN_IF_ERROR(CheckNothingIsLost(head, run_, control_name_));
      result->set_swap("create");
      counts->set_loaded(rest);
      return CreateTable(tables, append);
    }
    if (replaces()) {
      TM_ASSIGN_OR_RETURN(*result->mutable_swap(),
                          SwapIn(connection_, SwapInput{*table, staging_, tables.columns, job_.target().swap(), rest}));
      counts->set_loaded(rest);
      if (result->swap() != "rename" && result->swap() != "shell") analyze_above_ = 0;
      return absl::OkStatus();
    }
    analyze_above_ = std::max<int64_t>(table->estimated_rows, 0) / 10;
    if (upsert) return Upsert(connection_, tables, counts);
    if (skip_loaded) TM_RETURN_IF_ERROR(RemoveLoaded(connection_, tables, counts));
    return Append(connection_, tables, counts);
  }

  // Staging becomes the table. Versions of one key may be appended later: an append's key is an index, not a
  // constraint.
  absl::Status CreateTable(const MergeTables& tables, bool append) {
    std::vector<std::string> key = tables.key;
    if (key.empty() && replaces()) key = {work_.schema().primary_key().begin(), work_.schema().primary_key().end()};
    const bool shell = replaces() && job_.target().swap() == v1::SWAP_MODE_SHELL;
    return Annotate(BecomeTable(connection_, staging_, target_, key, /*unique=*/!append, shell),
                    absl::StrCat("cannot create ", target_.Sql()));
  }

  Connection& connection_;
  const v1::JobSpec& job_;
  const QualifiedName& target_;
  const RunIdentity& run_;
  const v1::CommitWork& work_;
  const std::string control_name_;
  QualifiedName staging_;
  // ANALYZE if more rows than these were loaded; -1: never.
  int64_t analyze_above_ = -1;
};

}  // namespace

absl::StatusOr<v1::CommitResult> CommitToTarget(Connection& connection, const v1::JobSpec& job,
                                                const QualifiedName& target, const RunIdentity& run,
                                                const v1::CommitWork& work) {
  for (int attempt = 1;; ++attempt) {
    Committer committer(connection, job, target, run, work);
    absl::StatusOr<v1::CommitResult> result = committer.Try();
    if (result.ok()) {
      committer.Analyze(*result);
      return result;
    }
    if (attempt == kAttempts || !WorthAnotherTry(result.status(), !committer.replaces())) return result.status();
  }
}

}  // namespace tidemark::postgres
