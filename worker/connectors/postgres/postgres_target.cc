#include "worker/connectors/postgres/postgres_target.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/connectors/postgres/postgres_connection.h"
#include "worker/connectors/postgres/postgres_control.h"
#include "worker/connectors/postgres/postgres_error.h"
#include "worker/connectors/postgres/postgres_ledger.h"
#include "worker/connectors/postgres/postgres_name.h"
#include "worker/connectors/postgres/postgres_target_commit.h"
#include "worker/connectors/postgres/postgres_target_describe.h"
#include "worker/connectors/postgres/postgres_target_move.h"
#include "worker/connectors/postgres/postgres_target_staging.h"
#include "worker/connectors/postgres/postgres_target_table.h"
#include "worker/connectors/postgres/postgres_transaction.h"

namespace tidemark::postgres {
namespace {

class PostgresTarget final : public TargetSession {
 public:
  PostgresTarget(std::unique_ptr<Connection> connection, v1::JobSpec job, QualifiedName target)
      : connection_(std::move(connection)),
        job_(std::move(job)),
        target_(std::move(target)),
        control_name_(ControlName(target_)) {}

  absl::StatusOr<TargetDescription> Describe(const v1::TableSchema& source,
                                             const std::vector<v1::ChunkFormat>& source_formats) override {
    return DescribeTarget(*connection_, job_, target_, source, source_formats);
  }

  absl::Status Prepare(const RunIdentity& run, const v1::TableSchema& schema, TakeOver take_over) override {
    TM_ASSIGN_OR_RETURN(const QualifiedName staging, StagingName(run.run_id));
    TM_RETURN_IF_ERROR(CreateControlTables(*connection_));
    TM_RETURN_IF_ERROR(DropDeadStaging(*connection_, run));
    TM_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(*connection_));
    // First of all, so that its row stays locked: a zombie that passed it and then stood still would drop what a newer
    // leader's moves have staged meanwhile.
    TM_RETURN_IF_ERROR(RaiseFence(*connection_, control_name_, run, job_.name(), take_over));
    if (take_over != TakeOver::kNothing) TM_RETURN_IF_ERROR(InheritStaging(*connection_, control_name_, run));
    if (take_over == TakeOver::kAdopt) TM_RETURN_IF_ERROR(AdoptChain(*connection_, control_name_, run));
    TM_ASSIGN_OR_RETURN(const std::optional<LedgerEntry> committed, ReadLedgerEntry(*connection_, run.run_id));
    if (committed.has_value())
      return absl::FailedPreconditionError(absl::StrCat("run ", run.run_id, " is committed already"));

    // A run is prepared again when it starts again, with another snapshot and other partitions: nothing staged before
    // may stay.
    TM_RETURN_IF_ERROR(DropStaging(staging, run.run_id));
    TM_ASSIGN_OR_RETURN(const std::optional<TargetTable> table, ReadTargetTable(*connection_, target_));
    const bool replaces = take_over == TakeOver::kReplace || job_.target().strategy() == v1::LOAD_STRATEGY_FULL;
    TM_RETURN_IF_ERROR(CreateStaging(*connection_, staging, table, schema, replaces, job_.target().swap()));
    TM_RETURN_IF_ERROR(LabelStaging(*connection_, staging, control_name_, run));
    return transaction.Commit(absl::StrCat("the staging table of run ", run.run_id));
  }

  absl::StatusOr<std::unique_ptr<MoveWriter>> BeginMove(const RunIdentity& run, int partition,
                                                        const v1::TableSchema& schema,
                                                        v1::ChunkFormat format) override {
    return BeginPostgresMove(*connection_, control_name_, job_.name(), run, partition, schema, format);
  }

  absl::StatusOr<std::vector<v1::StagedMove>> LoadedMoves(const RunIdentity& run) override {
    TM_ASSIGN_OR_RETURN(const bool controlled, ControlTablesExist(*connection_));
    if (!controlled) return std::vector<v1::StagedMove>();
    return ReadMoves(*connection_, run.run_id);
  }

  absl::StatusOr<v1::CommitResult> Commit(const RunIdentity& run, const v1::CommitWork& work) override {
    return CommitToTarget(*connection_, job_, target_, run, work);
  }

  absl::StatusOr<v1::ProbeResult> Probe(const RunIdentity& run) override {
    v1::ProbeResult result;
    TM_ASSIGN_OR_RETURN(const QualifiedName staging, StagingName(run.run_id));
    TM_ASSIGN_OR_RETURN(const bool controlled, ControlTablesExist(*connection_));
    if (!controlled) return result;
    // One snapshot for all of it: the session of a worker that is gone may commit the run at this very moment, and a
    // ledger from before that with a staging from after it would look like a run that is lost.
    TM_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(*connection_));
    TM_RETURN_IF_ERROR(
        connection_->ExecuteCommand("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY").status());
    TM_ASSIGN_OR_RETURN(const std::optional<LedgerEntry> entry, ReadLedgerEntry(*connection_, run.run_id));
    if (entry.has_value()) {
      result.set_committed(true);
      *result.mutable_counts() = entry->counts;
      if (entry->high.has_value()) *result.mutable_high() = *entry->high;
    }
    TM_ASSIGN_OR_RETURN(const std::vector<v1::StagedMove> moves, ReadMoves(*connection_, run.run_id));
    for (const v1::StagedMove& move : moves) *result.add_moves() = move;
    TM_ASSIGN_OR_RETURN(const std::optional<TargetTable> table, ReadTargetTable(*connection_, staging));
    result.set_staging_exists(table.has_value());
    return result;
  }

  absl::Status Abort(const RunIdentity& run) override {
    TM_ASSIGN_OR_RETURN(const QualifiedName staging, StagingName(run.run_id));
    TM_ASSIGN_OR_RETURN(const bool controlled, ControlTablesExist(*connection_));
    if (!controlled) return absl::OkStatus();
    // What the run left is its own, whoever owns the table now; but a zombie must not take it from a newer leader's
    // run.
    TM_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(*connection_));
    TM_RETURN_IF_ERROR(HoldFenceAgainstSuccessors(*connection_, control_name_, run));
    TM_RETURN_IF_ERROR(DropStaging(staging, run.run_id));
    return transaction.Commit(absl::StrCat("the abort of run ", run.run_id));
  }

  void Cancel() override { connection_->Cancel(); }

 private:
  absl::Status DropStaging(const QualifiedName& staging, const std::string& run_id) {
    TM_RETURN_IF_ERROR(EndWritersOf(*connection_, staging));
    TM_RETURN_IF_ERROR(connection_->ExecuteCommand(absl::StrCat("DROP TABLE IF EXISTS ", staging.Sql())).status());
    return DeleteMoves(*connection_, run_id);
  }

  const std::unique_ptr<Connection> connection_;
  const v1::JobSpec job_;
  const QualifiedName target_;
  const std::string control_name_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TargetSession>> OpenPostgresTarget(const v1::ConnectionSpec& connection,
                                                                  const v1::JobSpec& job,
                                                                  const SessionOptions& options) {
  auto opened = Connection::Open(connection.dsn(), options, ConnectionSettings());
  if (!opened.ok()) return Annotate(opened.status(), absl::StrCat("connection ", connection.name()));
  TM_ASSIGN_OR_RETURN(QualifiedName target, ResolveTargetName(**opened, job.target().table()));
  return std::make_unique<PostgresTarget>(*std::move(opened), job, std::move(target));
}

}  // namespace tidemark::postgres
