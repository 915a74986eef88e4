#include "worker/connectors/duckdb/duckdb_target.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "common/base/status_macros.h"
#include "worker/connector/fence_error.h"
#include "worker/connector/writer_queue.h"
#include "worker/connectors/duckdb/duckdb_catalog.h"
#include "worker/connectors/duckdb/duckdb_commit.h"
#include "worker/connectors/duckdb/duckdb_control.h"
#include "worker/connectors/duckdb/duckdb_error.h"
#include "worker/connectors/duckdb/duckdb_file.h"
#include "worker/connectors/duckdb/duckdb_name.h"
#include "worker/connectors/duckdb/duckdb_staging.h"
#include "worker/connectors/duckdb/duckdb_type.h"

namespace tidemark::duckdb {
namespace {

class FileTargetSession final : public TargetSession {
 public:
  FileTargetSession(std::string path, TableName table, const v1::JobSpec& job)
      : path_(std::move(path)), table_(std::move(table)), job_(job), queue_(WriterQueueOf(path_)) {}

  absl::StatusOr<TargetDescription> Describe(const v1::TableSchema& source,
                                             const std::vector<v1::ChunkFormat>& source_formats) override {
    TargetDescription description;
    description.capabilities.set_transactional_commit(true);
    description.capabilities.set_local_file(true);
    description.capabilities.add_formats(v1::CHUNK_FORMAT_ARROW);
    if (std::find(source_formats.begin(), source_formats.end(), v1::CHUNK_FORMAT_ARROW) != source_formats.end()) {
      description.formats.push_back(v1::CHUNK_FORMAT_ARROW);
    }
    TM_RETURN_IF_ERROR(CheckJob(source));
    std::error_code ignored;
    if (!std::filesystem::exists(path_, ignored)) return description;
    if (access(path_.c_str(), W_OK) != 0) {
      return absl::PermissionDeniedError(absl::StrCat("DuckDB file ", path_, " is read-only: it cannot be a target"));
    }
    TM_ASSIGN_OR_RETURN(adbc::Connection * db, Opened(FileConnection::Mode::kExisting));
    TM_ASSIGN_OR_RETURN(const std::optional<Relation> table, FindRelation(*db, table_));
    if (table) {
      TM_RETURN_IF_ERROR(CheckTable(*db, *table, source));
      description.table_exists = true;
      description.table_identity = TableIdentity(path_, table->name);
      DescribeTable(*table, &description.schema);
    }
    TM_ASSIGN_OR_RETURN(const bool known, ControlTablesExist(*db));
    if (known) {
      TM_ASSIGN_OR_RETURN(description.ledger, ReadLedgerHead(*db, table_));
      TM_ASSIGN_OR_RETURN(const bool has_rows, LedgerHasRows(*db, table_, description.ledger));
      if (table && has_rows) {
        TM_ASSIGN_OR_RETURN(const int64_t rows,
                            QueryInt(*db, absl::StrCat("SELECT count(*) FROM ", Quoted(table->name))));
        description.ledger.set_emptied(rows == 0);
      }
    }
    return description;
  }

  absl::Status Prepare(const RunIdentity& run, const v1::TableSchema& schema, TakeOver take_over) override {
    TM_ASSIGN_OR_RETURN(const TableName staging, StagingName(run.run_id));
    TM_ASSIGN_OR_RETURN(WriterQueue::Turn turn, Turn());
    TM_ASSIGN_OR_RETURN(adbc::Connection * db, Opened(FileConnection::Mode::kCreate));
    adbc::Transaction transaction(*db);
    TM_RETURN_IF_ERROR(transaction.Begin());
    TM_RETURN_IF_ERROR(CreateControlTables(*db));
    TM_RETURN_IF_ERROR(RaiseFence(*db, table_, job_.name(), run, take_over));
    if (take_over != TakeOver::kNothing) TM_RETURN_IF_ERROR(DropForeignStaging(*db, table_, run));
    if (take_over == TakeOver::kAdopt) TM_RETURN_IF_ERROR(AdoptChain(*db, table_, run));
    TM_ASSIGN_OR_RETURN(const auto committed, ReadLedgerEntry(*db, run.run_id));
    if (committed) return absl::FailedPreconditionError(absl::StrCat("run ", run.run_id, " is committed already"));
    // A run is prepared again when it starts again, with another snapshot and other partitions: nothing staged before
    // may stay.
    TM_RETURN_IF_ERROR(DropStaging(*db, run.run_id));
    TM_RETURN_IF_ERROR(DropDeadStaging(*db, run));
    TM_RETURN_IF_ERROR(CreateStaging(*db, staging, schema));
    TM_RETURN_IF_ERROR(RecordStaging(*db, table_, run));
    return CommitOutcome(transaction.Commit());
  }

  absl::StatusOr<std::unique_ptr<MoveWriter>> BeginMove(const RunIdentity& run, int partition,
                                                        const v1::TableSchema& schema,
                                                        v1::ChunkFormat format) override {
    if (format != v1::CHUNK_FORMAT_ARROW) return absl::InvalidArgumentError("DuckDB speaks Arrow only");
    TM_ASSIGN_OR_RETURN(const TableName staging, StagingName(run.run_id));
    TM_ASSIGN_OR_RETURN(adbc::Connection * db, Opened(FileConnection::Mode::kExisting));
    return MakeMoveWriter({*db, queue_, cancelled_, table_, staging, job_.name(), run, partition, schema});
  }

  absl::StatusOr<std::vector<v1::StagedMove>> LoadedMoves(const RunIdentity& run) override {
    TM_ASSIGN_OR_RETURN(adbc::Connection * db, WithControlTables());
    if (db == nullptr) return std::vector<v1::StagedMove>();
    return ReadMoves(*db, run.run_id);
  }

  absl::StatusOr<v1::CommitResult> Commit(const RunIdentity& run, const v1::CommitWork& work) override {
    TM_ASSIGN_OR_RETURN(WriterQueue::Turn turn, Turn());
    TM_ASSIGN_OR_RETURN(adbc::Connection * db, Opened(FileConnection::Mode::kExisting));
    return CommitRun(*db, table_, job_, run, work);
  }

  absl::StatusOr<v1::ProbeResult> Probe(const RunIdentity& run) override {
    v1::ProbeResult result;
    TM_ASSIGN_OR_RETURN(const TableName staging, StagingName(run.run_id));
    TM_ASSIGN_OR_RETURN(adbc::Connection * db, WithControlTables());
    if (db == nullptr) return result;
    TM_ASSIGN_OR_RETURN(const auto entry, ReadLedgerEntry(*db, run.run_id));
    if (entry) {
      result.set_committed(true);
      *result.mutable_counts() = entry->counts;
      if (entry->high) *result.mutable_high() = *entry->high;
    }
    TM_ASSIGN_OR_RETURN(const std::vector<v1::StagedMove> moves, ReadMoves(*db, run.run_id));
    result.mutable_moves()->Assign(moves.begin(), moves.end());
    TM_ASSIGN_OR_RETURN(const std::optional<Relation> staged, FindRelation(*db, staging));
    result.set_staging_exists(staged.has_value());
    return result;
  }

  absl::Status Abort(const RunIdentity& run) override {
    TM_ASSIGN_OR_RETURN(const TableName staging, StagingName(run.run_id));
    TM_ASSIGN_OR_RETURN(adbc::Connection * db, WithControlTables());
    if (db == nullptr) return absl::OkStatus();
    // Where nothing is staged there is nothing to write, and no turn to wait for.
    TM_ASSIGN_OR_RETURN(const std::optional<Relation> staged, FindRelation(*db, staging));
    if (!staged) return absl::OkStatus();
    TM_ASSIGN_OR_RETURN(WriterQueue::Turn turn, Turn());
    adbc::Transaction transaction(*db);
    TM_RETURN_IF_ERROR(transaction.Begin());
    // A zombie must not drop what the run's new attempts have staged.
    const absl::Status fence = RaiseFence(*db, table_, job_.name(), run, TakeOver::kNothing);
    if (FenceEpochOf(fence) > 0) return fence;
    TM_RETURN_IF_ERROR(DropStaging(*db, run.run_id));
    return CommitOutcome(transaction.Commit());
  }

  void Cancel() override {
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;
    if (file_ != nullptr) (*file_)->Cancel();
  }

 private:
  absl::StatusOr<WriterQueue::Turn> Turn() {
    return queue_->Wait([this] { return cancelled_.load(); });
  }

  absl::StatusOr<adbc::Connection*> Opened(FileConnection::Mode mode) {
    if (file_ != nullptr) return &**file_;
    TM_ASSIGN_OR_RETURN(auto file, FileConnection::Open(path_, mode));
    absl::MutexLock lock(&mutex_);
    if (cancelled_) return absl::CancelledError("the session was cancelled");
    file_ = std::move(file);
    return &**file_;
  }

  // nullptr if the file is none of Tidemark's yet.
  absl::StatusOr<adbc::Connection*> WithControlTables() {
    std::error_code ignored;
    if (file_ == nullptr && !std::filesystem::exists(path_, ignored)) return nullptr;
    TM_ASSIGN_OR_RETURN(adbc::Connection * db, Opened(FileConnection::Mode::kExisting));
    TM_ASSIGN_OR_RETURN(const bool known, ControlTablesExist(*db));
    return known ? db : nullptr;
  }

  // What a job asks for that no state of the file can give.
  absl::Status CheckJob(const v1::TableSchema& source) const {
    if (absl::EqualsIgnoreCase(table_.schema, "tidemark")) {
      return absl::InvalidArgumentError(
          absl::StrCat("table ", Quoted(table_), ": the schema tidemark is Tidemark's own"));
    }
    if (job_.target().swap() == v1::SWAP_MODE_SHELL || job_.target().swap() == v1::SWAP_MODE_RENAME) {
      return absl::InvalidArgumentError(
          "target.swap: a DuckDB table is replaced by delete_insert, which costs it no more than a rename; use auto or "
          "delete_insert");
    }
    if (job_.target().strategy() == v1::LOAD_STRATEGY_UPSERT && job_.target().key().empty()) {
      return absl::InvalidArgumentError("target.key is needed by strategy upsert");
    }
    for (const std::string& part : job_.target().key()) {
      if (std::none_of(source.columns().begin(), source.columns().end(),
                       [&](const v1::Column& column) { return absl::EqualsIgnoreCase(column.name(), part); })) {
        return absl::InvalidArgumentError(absl::StrCat("target.key names ", part, ", which the source has not"));
      }
    }
    for (const v1::Column& column : source.columns()) {
      if (absl::StartsWithIgnoreCase(column.name(), "_tidemark_")) {
        return absl::InvalidArgumentError(absl::StrCat("column ", column.name(),
                                                       ": names that begin with _tidemark_ are taken; give it another "
                                                       "in a query"));
      }
      const auto same = std::count_if(source.columns().begin(), source.columns().end(), [&](const v1::Column& other) {
        return absl::EqualsIgnoreCase(other.name(), column.name());
      });
      if (same > 1) {
        return absl::InvalidArgumentError(
            absl::StrCat("two columns are called ", column.name(),
                         " but for the case of letters, which DuckDB does not tell apart"));
      }
      // As text it has another order, by which an upsert would take the older version for the newer.
      if (job_.target().strategy() == v1::LOAD_STRATEGY_UPSERT && !CommentOf(column.type()).empty() &&
          absl::EqualsIgnoreCase(column.name(), job_.source().watermark())) {
        return absl::InvalidArgumentError(
            absl::StrCat("watermark ", column.name(), " is a ", CommentOf(column.type()),
                         ", which DuckDB can only hold as text: cast it in a query to a decimal of at most 38 digits"));
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckTable(adbc::Connection& db, const Relation& table, const v1::TableSchema& source) const {
    if (table.is_view) {
      return absl::InvalidArgumentError(absl::StrCat(table.name.table, " is a view: it cannot be a target"));
    }
    std::vector<std::string> columns, nulls;
    for (const v1::Column& column : source.columns()) {
      const CatalogColumn* held = table.Find(column.name());
      if (held == nullptr) {
        return absl::InvalidArgumentError(absl::StrCat("table ", table.name.table, " lacks the column ", column.name(),
                                                       ": ALTER TABLE ", Quoted(table.name), " ADD COLUMN ",
                                                       Quoted(column.name()), " ", DeclaredType(column.type())));
      }
      if (!Holds(held->data_type, column.type())) {
        return absl::InvalidArgumentError(
            absl::StrCat("column ", held->name, " of table ", table.name.table, " is ", held->data_type,
                         ", which does not hold every value of the source's exactly: ALTER TABLE ", Quoted(table.name),
                         " ALTER ", Quoted(held->name), " TYPE ", DeclaredType(column.type())));
      }
      columns.push_back(column.name());
      nulls.push_back(absl::StrCat("NULL::", DeclaredType(column.type())));
    }
    // Binds, and runs nothing: a generated column refuses here what it would refuse at the commit.
    const absl::Status bound = db.Query(absl::StrCat("EXPLAIN INSERT INTO ", Quoted(table.name), " (",
                                                     ColumnList(columns), ") SELECT ", absl::StrJoin(nulls, ", ")))
                                   .status();
    if (absl::IsInvalidArgument(bound)) {
      return absl::InvalidArgumentError(absl::StrCat("table ", table.name.table, ": ", bound.message()));
    }
    return bound;
  }

  static void DescribeTable(const Relation& table, v1::TableSchema* schema) {
    for (const CatalogColumn& held : table.columns) {
      v1::Column* column = schema->add_columns();
      column->set_name(held.name);
      column->set_native_type(held.data_type);
      column->set_nullable(!held.not_null);
      *column->mutable_type() = LogicalTypeOf(held.data_type, held.comment);
    }
    for (const std::string& name : table.primary_key) schema->add_primary_key(name);
  }

  const std::string path_;
  const TableName table_;
  const v1::JobSpec job_;
  const std::shared_ptr<WriterQueue> queue_;

  absl::Mutex mutex_;
  std::atomic<bool> cancelled_ = false;
  // Written once, under the mutex; used by the session's thread without it.
  std::unique_ptr<FileConnection> file_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TargetSession>> OpenTargetSession(const std::string& path, const v1::JobSpec& job) {
  TM_ASSIGN_OR_RETURN(TableName table, ParseTableName(job.target().table()));
  return std::make_unique<FileTargetSession>(path, std::move(table), job);
}

}  // namespace tidemark::duckdb
