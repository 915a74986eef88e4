#include "worker/connectors/postgres/postgres_target_move.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/connector/fence_error.h"
#include "worker/connectors/postgres/postgres_control.h"
#include "worker/connectors/postgres/postgres_copy_encode.h"
#include "worker/connectors/postgres/postgres_error.h"
#include "worker/connectors/postgres/postgres_target_table.h"
#include "worker/connectors/postgres/postgres_target_type.h"
#include "worker/connectors/postgres/postgres_transaction.h"

namespace tidemark::postgres {
namespace {

// PostgreSQL manual, COPY, "Binary Format": signature, flags, length of the header's extension; a field count of -1
// ends the file.
constexpr std::string_view kBinaryHeader("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
constexpr std::string_view kBinaryTrailer("\377\377", 2);

// Memory a move keeps from one chunk to the next. A chunk with a large value takes more (bytes double as hexadecimal
// text), and gives it back.
constexpr size_t kKeptBuffer = 4 << 20;

struct MoveIdentity {
  std::string control_name;
  std::string job;
  RunIdentity run;
  int partition = 0;
};

class PostgresMoveWriter final : public MoveWriter {
 public:
  PostgresMoveWriter(Connection& connection, MoveIdentity identity, v1::ChunkFormat format,
                     std::vector<ColumnEncoding> encodings, Transaction transaction)
      : connection_(connection),
        identity_(std::move(identity)),
        format_(format),
        encodings_(std::move(encodings)),
        transaction_(std::move(transaction)) {}

  ~PostgresMoveWriter() override {
    if (copying_) connection_.AbandonCopyIn();
  }

  absl::Status Start(const std::string& copy) {
    TM_RETURN_IF_ERROR(connection_.BeginCopyIn(copy));
    copying_ = true;
    return format_ == v1::CHUNK_FORMAT_PG_COPY_BINARY ? connection_.WriteCopy(kBinaryHeader) : absl::OkStatus();
  }

  absl::Status Write(const Chunk& chunk) override {
    if (chunk.format() != format_) return absl::InternalError("a chunk of another format than the move's");
    rows_ += chunk.rows();
    if (format_ == v1::CHUNK_FORMAT_PG_COPY_BINARY) return connection_.WriteCopy(chunk.pg_tuples());
    buffer_.clear();
    TM_RETURN_IF_ERROR(EncodeCopyText(chunk, encodings_, &buffer_));
    TM_RETURN_IF_ERROR(connection_.WriteCopy(buffer_));
    if (buffer_.capacity() > kKeptBuffer) std::string().swap(buffer_);
    return absl::OkStatus();
  }

  absl::StatusOr<MoveOutcome> Commit() override {
    if (format_ == v1::CHUNK_FORMAT_PG_COPY_BINARY) TM_RETURN_IF_ERROR(connection_.WriteCopy(kBinaryTrailer));
    copying_ = false;
    TM_ASSIGN_OR_RETURN(const int64_t copied, connection_.EndCopyIn());
    if (copied != rows_) {
      return absl::InternalError(absl::StrCat("partition ", identity_.partition, ": ", rows_,
                                              " rows were sent to staging, ", copied, " arrived"));
    }
    TM_RETURN_IF_ERROR(HoldFence(connection_, identity_.control_name, identity_.run, identity_.job));
    const absl::Status recorded =
        connection_
            .ExecuteCommand("INSERT INTO tidemark.moves (run_id, partition, rows) VALUES ($1, $2::integer, $3::bigint)",
                            {identity_.run.run_id, absl::StrCat(identity_.partition), absl::StrCat(rows_)})
            .status();
    if (SqlState(recorded) == "23505") return RecordedByAnother();
    TM_RETURN_IF_ERROR(recorded);
    TM_RETURN_IF_ERROR(transaction_->Commit(absl::StrCat("partition ", identity_.partition)));
    transaction_.reset();
    return MoveOutcome{rows_, false};
  }

 private:
  absl::StatusOr<MoveOutcome> RecordedByAnother() {
    transaction_.reset();
    TM_ASSIGN_OR_RETURN(const std::optional<int64_t> rows,
                        ReadMove(connection_, identity_.run.run_id, identity_.partition));
    if (!rows.has_value())
      return absl::AbortedError(absl::StrCat("partition ", identity_.partition, " was recorded and removed meanwhile"));
    return MoveOutcome{*rows, true};
  }

  Connection& connection_;
  const MoveIdentity identity_;
  const v1::ChunkFormat format_;
  const std::vector<ColumnEncoding> encodings_;
  // Ended only after the copy: the members below are destroyed first.
  std::optional<Transaction> transaction_;
  bool copying_ = false;
  int64_t rows_ = 0;
  std::string buffer_;
};

// The move of an attempt that comes after its sibling's commit.
class DoneMoveWriter final : public MoveWriter {
 public:
  explicit DoneMoveWriter(int64_t rows) : rows_(rows) {}
  absl::Status Write(const Chunk& chunk) override { return absl::OkStatus(); }
  absl::StatusOr<MoveOutcome> Commit() override { return MoveOutcome{rows_, true}; }

 private:
  const int64_t rows_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MoveWriter>> BeginPostgresMove(Connection& connection, const std::string& control_name,
                                                              const std::string& job, const RunIdentity& run,
                                                              int partition, const v1::TableSchema& schema,
                                                              v1::ChunkFormat format) {
  TM_ASSIGN_OR_RETURN(const QualifiedName staging, StagingName(run.run_id));
  TM_ASSIGN_OR_RETURN(const std::optional<TargetTable> table, ReadTargetTable(connection, staging));
  if (!table.has_value()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "run ", run.run_id, " has no staging table in the target: it is committed, aborted or was never prepared"));
  }
  // A zombie is better stopped before its rows are sent; the check that counts is at the end.
  TM_ASSIGN_OR_RETURN(const std::optional<Fence> fence, ReadFence(connection, control_name));
  if (fence.has_value() && fence->BelongsTo(run) && fence->epoch > run.epoch)
    return FencedOut(control_name, fence->epoch, run.epoch);
  TM_ASSIGN_OR_RETURN(const std::optional<int64_t> done, ReadMove(connection, run.run_id, partition));
  if (done.has_value()) return std::make_unique<DoneMoveWriter>(*done);

  const bool binary = format == v1::CHUNK_FORMAT_PG_COPY_BINARY;
  std::vector<ColumnEncoding> encodings;
  std::vector<std::string> names;
  for (const v1::Column& source : schema.columns()) {
    const TargetColumn* column = table->Find(source.name());
    if (column == nullptr || (binary && !TakesWire(source, column->type))) {
      return absl::FailedPreconditionError(
          absl::StrCat("the staging table of run ", run.run_id, " was made for another column ", source.name()));
    }
    encodings.push_back(EncodingFor(source, column->type.base));
    names.push_back(source.name());
  }
  TM_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(connection));
  auto writer = std::make_unique<PostgresMoveWriter>(connection, MoveIdentity{control_name, job, run, partition},
                                                     format, std::move(encodings), std::move(transaction));
  TM_RETURN_IF_ERROR(writer->Start(absl::StrCat("COPY ", staging.Sql(), " (", ColumnList(names), ") FROM STDIN",
                                                binary ? " WITH (FORMAT binary)" : "")));
  return writer;
}

}  // namespace tidemark::postgres
