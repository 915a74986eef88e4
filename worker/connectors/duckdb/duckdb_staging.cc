#include "worker/connectors/duckdb/duckdb_staging.h"

#include <arrow/record_batch.h>

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "worker/connectors/duckdb/duckdb_catalog.h"
#include "worker/connectors/duckdb/duckdb_control.h"
#include "worker/connectors/duckdb/duckdb_error.h"
#include "worker/connectors/duckdb/duckdb_staging_batch.h"
#include "worker/connectors/duckdb/duckdb_type.h"

namespace tidemark::duckdb {
namespace {

class StagingWriter final : public MoveWriter {
 public:
  explicit StagingWriter(MoveInto move) : move_(std::move(move)), transaction_(move_.db) {}

  absl::Status Write(const Chunk& chunk) override {
    absl::Status status = Insert(chunk);
    if (!status.ok()) End();
    return status;
  }

  absl::StatusOr<MoveOutcome> Commit() override {
    absl::StatusOr<MoveOutcome> outcome = Finish();
    End();
    return outcome;
  }

 private:
  absl::Status Insert(const Chunk& chunk) {
    TM_RETURN_IF_ERROR(Begin());
    if (done_rows_) return absl::OkStatus();
    if (chunk.format() != v1::CHUNK_FORMAT_ARROW) {
      return absl::InvalidArgumentError("DuckDB is written from Arrow only");
    }
    TM_ASSIGN_OR_RETURN(const auto rows, StagingBatch(move_.schema, *chunk.arrow(), move_.partition));
    TM_RETURN_IF_ERROR(move_.db.Ingest(move_.staging, *rows).status());
    rows_ += chunk.rows();
    return absl::OkStatus();
  }

  absl::StatusOr<MoveOutcome> Finish() {
    TM_RETURN_IF_ERROR(Begin());
    if (done_rows_) return MoveOutcome{.rows = *done_rows_, .already_done = true};
    TM_ASSIGN_OR_RETURN(const int64_t held, HeldRows());
    if (held - held_before_ != rows_) {
      return absl::UnavailableError(absl::StrCat("DuckDB: of ", rows_, " rows ", held - held_before_,
                                                 " arrived in staging, and no error was told (is its disk full?)"));
    }
    TM_RETURN_IF_ERROR(InsertMove(move_.db, move_.run.run_id, move_.partition, rows_));
    TM_RETURN_IF_ERROR(CommitOutcome(transaction_.Commit()));
    return MoveOutcome{.rows = rows_};
  }

  absl::Status Begin() {
    if (turn_) return absl::OkStatus();
    if (ended_) return absl::FailedPreconditionError("the move has ended");
    TM_ASSIGN_OR_RETURN(auto turn, move_.queue->Wait([this] { return move_.cancelled.load(); }));
    turn_.emplace(std::move(turn));
    TM_RETURN_IF_ERROR(transaction_.Begin());
    TM_ASSIGN_OR_RETURN(const auto staging, FindRelation(move_.db, move_.staging));
    if (!staging) {
      return absl::FailedPreconditionError(
          absl::StrCat("run ", move_.run.run_id, " has no staging: it was committed or aborted, or never prepared"));
    }
    TM_RETURN_IF_ERROR(RaiseFence(move_.db, move_.table, move_.job, move_.run, TakeOver::kNothing));
    TM_ASSIGN_OR_RETURN(const std::vector<v1::StagedMove> moves, ReadMoves(move_.db, move_.run.run_id));
    for (const v1::StagedMove& move : moves) {
      if (move.partition() == move_.partition) done_rows_ = move.rows();
    }
    TM_RETURN_IF_ERROR(CheckColumns(*staging));
    TM_ASSIGN_OR_RETURN(held_before_, HeldRows());
    return absl::OkStatus();
  }

  // A bulk load goes by the order of the columns.
  absl::Status CheckColumns(const Relation& staging) const {
    const size_t wanted = static_cast<size_t>(move_.schema.columns_size());
    bool same = staging.columns.size() == wanted + 1;
    for (size_t i = 0; same && i < wanted; ++i) {
      const v1::Column& column = move_.schema.columns(static_cast<int>(i));
      same = staging.columns[i].name == column.name() && staging.columns[i].data_type == DeclaredType(column.type());
    }
    if (same) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat("staging of run ", move_.run.run_id, " was prepared for other columns"));
  }

  absl::StatusOr<int64_t> HeldRows() {
    return QueryInt(move_.db, absl::StrCat("SELECT count(*) FROM ", Quoted(move_.staging)));
  }

  // Also after an error: others must not wait until the writer is destroyed.
  void End() {
    ended_ = true;
    transaction_.Rollback();
    turn_.reset();
  }

  MoveInto move_;
  // In this order: the transaction ends before the next writer's turn.
  std::optional<WriterQueue::Turn> turn_;
  adbc::Transaction transaction_;
  bool ended_ = false;
  int64_t rows_ = 0;
  int64_t held_before_ = 0;
  std::optional<int64_t> done_rows_;
};

}  // namespace

absl::Status CreateStaging(adbc::Connection& db, const TableName& staging, const v1::TableSchema& schema) {
  std::vector<std::string> columns;
  for (const v1::Column& column : schema.columns()) {
    columns.push_back(absl::StrCat(Quoted(column.name()), " ", DeclaredType(column.type())));
  }
  columns.push_back(absl::StrCat(Quoted(kPartitionColumn), " INTEGER"));
  return db.Execute(absl::StrCat("CREATE TABLE ", Quoted(staging), " (", absl::StrJoin(columns, ", "), ")")).status();
}

absl::StatusOr<std::unique_ptr<MoveWriter>> MakeMoveWriter(MoveInto move) {
  return std::make_unique<StagingWriter>(std::move(move));
}

}  // namespace tidemark::duckdb
