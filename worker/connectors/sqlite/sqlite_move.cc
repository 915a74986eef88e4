#include "worker/connectors/sqlite/sqlite_move.h"

#include <arrow/record_batch.h>

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "worker/connectors/sqlite/sqlite_catalog.h"
#include "worker/connectors/sqlite/sqlite_control.h"
#include "worker/connectors/sqlite/sqlite_merge.h"
#include "worker/connectors/sqlite/sqlite_row_binder.h"

namespace tidemark::sqlite {
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
    if (chunk.format() != v1::CHUNK_FORMAT_ARROW)
      return absl::InvalidArgumentError("SQLite is written from Arrow only");
    TM_RETURN_IF_ERROR(binder_->Start(*chunk.arrow()));
    for (int64_t row = 0; row < chunk.rows(); ++row) {
      TM_RETURN_IF_ERROR(binder_->Bind(row, insert_.get(), first_parameter_));
      TM_RETURN_IF_ERROR(insert_.Step().status());
      insert_.Reset();
    }
    rows_ += chunk.rows();
    return absl::OkStatus();
  }

  absl::StatusOr<MoveOutcome> Finish() {
    TM_RETURN_IF_ERROR(Begin());
    if (done_rows_) return MoveOutcome{.rows = *done_rows_, .already_done = true};
    TM_RETURN_IF_ERROR(InsertMove(move_.db, move_.run.run_id, move_.partition, rows_));
    insert_ = Statement();
    TM_RETURN_IF_ERROR(transaction_.Commit());
    return MoveOutcome{.rows = rows_};
  }

  absl::Status Begin() {
    if (turn_) return absl::OkStatus();
    if (ended_) return absl::FailedPreconditionError("the move has ended");
    TM_ASSIGN_OR_RETURN(auto turn, move_.queue->Wait([this] { return move_.cancelled.load(); }));
    turn_.emplace(std::move(turn));
    Database& db = move_.db;
    TM_RETURN_IF_ERROR(transaction_.BeginImmediate());
    TM_ASSIGN_OR_RETURN(const auto table, FindRelation(db, move_.staging));
    if (!table) {
      return absl::FailedPreconditionError(
          absl::StrCat("run ", move_.run.run_id, " has no staging: it was committed or aborted, or never prepared"));
    }
    TM_RETURN_IF_ERROR(RaiseFence(db, move_.table, move_.job, move_.run, TakeOver::kNothing));
    TM_ASSIGN_OR_RETURN(const std::vector<v1::StagedMove> moves, ReadMoves(db, move_.run.run_id));
    for (const v1::StagedMove& move : moves) {
      if (move.partition() == move_.partition) done_rows_ = move.rows();
    }
    std::vector<std::string> columns, declared, places;
    if (table->Find(kPartitionColumn) != nullptr) {
      columns.emplace_back(Quoted(kPartitionColumn));
      places.emplace_back("?");
      first_parameter_ = 2;
    }
    for (const v1::Column& column : move_.schema.columns()) {
      const CatalogColumn* held = table->Find(column.name());
      if (held == nullptr)
        return absl::FailedPreconditionError(
            absl::StrCat("staging of run ", move_.run.run_id, " lacks the column ", column.name()));
      columns.push_back(Quoted(column.name()));
      declared.push_back(held->declared);
      places.emplace_back("?");
    }
    TM_ASSIGN_OR_RETURN(binder_, RowBinder::Create(move_.schema, declared, table->rowid_column));
    TM_ASSIGN_OR_RETURN(
        insert_, db.Prepare(absl::StrCat("INSERT INTO ", Quoted(move_.staging), " (", absl::StrJoin(columns, ", "),
                                         ") VALUES (", absl::StrJoin(places, ", "), ")")));
    if (first_parameter_ == 2) insert_.BindInt(1, move_.partition);
    return absl::OkStatus();
  }

  // Also after an error: others must not wait until the writer is destroyed.
  void End() {
    ended_ = true;
    insert_ = Statement();
    transaction_.Rollback();
    turn_.reset();
  }

  MoveInto move_;
  // In this order: the statement goes before the transaction ends, and that before the next writer's turn.
  std::optional<WriterQueue::Turn> turn_;
  Transaction transaction_;
  std::unique_ptr<RowBinder> binder_;
  Statement insert_;
  bool ended_ = false;
  int first_parameter_ = 1;
  int64_t rows_ = 0;
  std::optional<int64_t> done_rows_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MoveWriter>> MakeMoveWriter(MoveInto move) {
  return std::make_unique<StagingWriter>(std::move(move));
}

}  // namespace tidemark::sqlite
