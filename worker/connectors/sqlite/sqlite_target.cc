#include "worker/connectors/sqlite/sqlite_target.h"

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
#include "worker/connectors/sqlite/column_type.h"
#include "worker/connectors/sqlite/sqlite_catalog.h"
#include "worker/connectors/sqlite/sqlite_commit.h"
#include "worker/connectors/sqlite/sqlite_control.h"
#include "worker/connectors/sqlite/sqlite_database.h"
#include "worker/connectors/sqlite/sqlite_merge.h"
#include "worker/connectors/sqlite/sqlite_move.h"
#include "worker/connectors/sqlite/sqlite_swap.h"

namespace tidemark::sqlite {
namespace {

// Other programs' writers are waited for this long at each try; the job's retries say how often.
constexpr absl::Duration kLockWait = absl::Seconds(5);
// For what the next run will do as well.
constexpr absl::Duration kShortLockWait = absl::Seconds(1);

class FileTargetSession final : public TargetSession {
 public:
  FileTargetSession(std::string path, std::string table, const v1::JobSpec& job, std::shared_ptr<WriterQueue> queue)
      : path_(std::move(path)), table_(std::move(table)), job_(job), queue_(std::move(queue)) {}

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
    if (!std::filesystem::exists(path_, ignored)) {
      const std::filesystem::path folder = std::filesystem::path(path_).parent_path();
      if (folder.empty() || std::filesystem::is_directory(folder, ignored)) return description;
      return absl::NotFoundError(
          absl::StrCat("the folder of the SQLite file ", path_, " does not exist: mkdir -p ", folder.string()));
    }
    TM_ASSIGN_OR_RETURN(Database * db, Opened(Database::Mode::kExisting));
    if (db->ReadOnly())
      return absl::PermissionDeniedError(absl::StrCat("SQLite file ", path_, " is read-only: it cannot be a target"));
    TM_ASSIGN_OR_RETURN(const std::optional<Relation> table, FindRelation(*db, table_));
    if (table) {
      TM_RETURN_IF_ERROR(CheckTable(*table, source));
      description.table_exists = true;
      description.table_identity = TableIdentity(path_, *table);
      DescribeTable(*table, &description.schema);
    }
    TM_ASSIGN_OR_RETURN(const bool known, ControlTablesExist(*db));
    if (known) {
      TM_ASSIGN_OR_RETURN(description.ledger, ReadLedgerHead(*db, table_));
      TM_ASSIGN_OR_RETURN(const bool has_rows, LedgerHasRows(*db, table_, description.ledger));
      if (table && has_rows) {
        TM_ASSIGN_OR_RETURN(const auto empty,
                            db->QueryInt(absl::StrCat("SELECT NOT EXISTS (SELECT 1 FROM ", Quoted(table->name), ")")));
        description.ledger.set_emptied(empty.value_or(0) != 0);
      }
    }
    return description;
  }

  absl::Status Prepare(const RunIdentity& run, const v1::TableSchema& schema, TakeOver take_over) override {
    TM_ASSIGN_OR_RETURN(const std::string staging, StagingName(run.run_id));
    TM_ASSIGN_OR_RETURN(WriterQueue::Turn turn, Turn());
    TM_ASSIGN_OR_RETURN(Database * db, Opened(Database::Mode::kCreate));
    // Fails while others read the file in its old mode: then it is for the next run to switch.
    db->SetBusyWait(kShortLockWait);
    const absl::Status wal = db->Exec("PRAGMA journal_mode = WAL");
    db->SetBusyWait(kLockWait);
    if (!wal.ok() && !absl::IsUnavailable(wal)) return wal;
    Transaction transaction(*db);
    TM_RETURN_IF_ERROR(transaction.BeginImmediate());
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
    return transaction.Commit();
  }

  absl::StatusOr<std::unique_ptr<MoveWriter>> BeginMove(const RunIdentity& run, int partition,
                                                        const v1::TableSchema& schema,
                                                        v1::ChunkFormat format) override {
    if (format != v1::CHUNK_FORMAT_ARROW) return absl::InvalidArgumentError("SQLite speaks Arrow only");
    TM_ASSIGN_OR_RETURN(const std::string staging, StagingName(run.run_id));
    TM_ASSIGN_OR_RETURN(Database * db, Opened(Database::Mode::kExisting));
    return MakeMoveWriter({*db, queue_, cancelled_, table_, staging, job_.name(), run, partition, schema});
  }

  absl::StatusOr<std::vector<v1::StagedMove>> LoadedMoves(const RunIdentity& run) override {
    TM_ASSIGN_OR_RETURN(Database * db, WithControlTables());
    if (db == nullptr) return std::vector<v1::StagedMove>();
    return ReadMoves(*db, run.run_id);
  }

  absl::StatusOr<v1::CommitResult> Commit(const RunIdentity& run, const v1::CommitWork& work) override {
    TM_ASSIGN_OR_RETURN(WriterQueue::Turn turn, Turn());
    TM_ASSIGN_OR_RETURN(Database * db, Opened(Database::Mode::kExisting));
    return CommitRun(*db, table_, job_, run, work);
  }

  absl::StatusOr<v1::ProbeResult> Probe(const RunIdentity& run) override {
    v1::ProbeResult result;
    TM_ASSIGN_OR_RETURN(const std::string staging, StagingName(run.run_id));
    TM_ASSIGN_OR_RETURN(Database * db, WithControlTables());
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
    TM_ASSIGN_OR_RETURN(const std::string staging, StagingName(run.run_id));
    lock_wait_ = kShortLockWait;
    TM_ASSIGN_OR_RETURN(Database * db, WithControlTables());
    if (db == nullptr) return absl::OkStatus();
    // Where nothing is staged there is nothing to write, and no lock to wait for.
    TM_ASSIGN_OR_RETURN(const std::optional<Relation> staged, FindRelation(*db, staging));
    if (!staged) return absl::OkStatus();
    TM_ASSIGN_OR_RETURN(WriterQueue::Turn turn, Turn());
    Transaction transaction(*db);
    TM_RETURN_IF_ERROR(transaction.BeginImmediate());
    // A zombie must not drop what the run's new attempts have staged.
    const absl::Status fence = RaiseFence(*db, table_, job_.name(), run, TakeOver::kNothing);
    if (FenceEpochOf(fence) > 0) return fence;
    TM_RETURN_IF_ERROR(DropStaging(*db, run.run_id));
    return transaction.Commit();
  }

  void Cancel() override {
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;
    if (db_ != nullptr) db_->Cancel();
  }

 private:
  absl::StatusOr<WriterQueue::Turn> Turn() {
    return queue_->Wait([this] { return cancelled_.load(); });
  }

  absl::StatusOr<Database*> Opened(Database::Mode mode) {
    if (db_ != nullptr) return db_.get();
    // The wait for a lock may be as long while the file is opened: it ends by Cancel too.
    TM_ASSIGN_OR_RETURN(auto db, Database::Open(path_, mode, {.busy_wait = lock_wait_, .cancelled = &cancelled_}));
    // legacy_alter_table: a rename must not rewrite the views that name the table; foreign_keys off: a swap must fire
    // no cascade.
    TM_RETURN_IF_ERROR(
        db->Exec("PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF; PRAGMA legacy_alter_table = ON; PRAGMA "
                 "secure_delete = FAST"));
    TM_RETURN_IF_ERROR(RegisterWatermarkOrder(*db));
    absl::MutexLock lock(&mutex_);
    if (cancelled_) return absl::CancelledError("the session was cancelled");
    db_ = std::move(db);
    return db_.get();
  }

  // nullptr if the file is none of Tidemark's yet.
  absl::StatusOr<Database*> WithControlTables() {
    std::error_code ignored;
    if (db_ == nullptr && !std::filesystem::exists(path_, ignored)) return nullptr;
    TM_ASSIGN_OR_RETURN(Database * db, Opened(Database::Mode::kExisting));
    TM_ASSIGN_OR_RETURN(const bool known, ControlTablesExist(*db));
    return known ? db : nullptr;
  }

  // What a job asks for that no state of the file can give.
  absl::Status CheckJob(const v1::TableSchema& source) const {
    if (absl::StartsWithIgnoreCase(table_, "_tidemark_") || absl::StartsWithIgnoreCase(table_, "sqlite_")) {
      return absl::InvalidArgumentError(
          absl::StrCat("table ", table_, ": names that begin with _tidemark_ or sqlite_ are taken"));
    }
    if (job_.target().swap() == v1::SWAP_MODE_SHELL) {
      return absl::InvalidArgumentError(
          "target.swap: shell needs partitioned tables, which SQLite has not; use auto, rename or delete_insert");
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
                         " but for the case of letters, which SQLite does not tell apart"));
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckTable(const Relation& table, const v1::TableSchema& source) const {
    if (table.kind != Relation::Kind::kTable) {
      return absl::InvalidArgumentError(absl::StrCat(table.name, " is a ",
                                                     table.kind == Relation::Kind::kView ? "view" : "virtual table",
                                                     ": it cannot be a target"));
    }
    for (const v1::Column& column : source.columns()) {
      const CatalogColumn* held = table.Find(column.name());
      if (held == nullptr) {
        return absl::InvalidArgumentError(absl::StrCat("table ", table.name, " lacks the column ", column.name(),
                                                       ": ALTER TABLE ", Quoted(table.name), " ADD COLUMN ",
                                                       Quoted(column.name()), " ", DeclaredType(column.type())));
      }
      if (held->generated) {
        return absl::InvalidArgumentError(
            absl::StrCat("column ", held->name, " of table ", table.name, " is generated: it cannot be loaded"));
      }
      if (const std::string why = WhyNotHeld(column.type(), held->declared, table.strict); !why.empty()) {
        return absl::InvalidArgumentError(absl::StrCat("column ", held->name, " of table ", table.name, " ", why));
      }
    }
    for (const CatalogColumn& held : table.columns) {
      const bool fed = std::any_of(source.columns().begin(), source.columns().end(), [&](const v1::Column& column) {
        return absl::EqualsIgnoreCase(column.name(), held.name);
      });
      if (held.not_null && !held.has_default && !held.generated && held.name != table.rowid_column && !fed) {
        return absl::InvalidArgumentError(absl::StrCat("column ", held.name, " of table ", table.name,
                                                       " is NOT NULL without a default, and the source does not feed "
                                                       "it"));
      }
    }
    const std::vector<std::string> key(job_.target().key().begin(), job_.target().key().end());
    if (job_.target().strategy() == v1::LOAD_STRATEGY_UPSERT && !table.UniqueOver(key)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "table ", table.name, " has no unique index over target.key: CREATE UNIQUE INDEX ",
          Quoted(absl::StrCat(table.name, "_key")), " ON ", Quoted(table.name), " (", ColumnList(key), ")"));
    }
    return absl::OkStatus();
  }

  static void DescribeTable(const Relation& table, v1::TableSchema* schema) {
    for (const CatalogColumn& held : table.columns) {
      v1::Column* column = schema->add_columns();
      column->set_name(held.name);
      column->set_native_type(held.declared);
      column->set_nullable(!held.not_null);
      if (const auto type = LogicalTypeOf(held.declared)) {
        *column->mutable_type() = *type;
      } else {
        column->mutable_type()->set_kind(v1::LogicalType::KIND_OTHER);
      }
    }
    for (const std::string& name : table.PrimaryKey()) schema->add_primary_key(name);
  }

  // A full load stages into what will be the table. Others stage rows and the partition they came with, in columns
  // declared and collated as the target's, so that nothing changes on the way from one to the other.
  absl::Status CreateStaging(Database& db, const std::string& name, const v1::TableSchema& schema) {
    TM_ASSIGN_OR_RETURN(const std::optional<Relation> table, FindRelation(db, table_));
    if (job_.target().strategy() == v1::LOAD_STRATEGY_FULL) {
      if (!table) return db.Exec(CreateStatement(schema, job_.target(), name));
      TM_ASSIGN_OR_RETURN(const std::string statement, CloneStatement(*table, name));
      return db.Exec(statement);
    }
    std::vector<std::string> columns = {absl::StrCat(Quoted(kPartitionColumn), " INTEGER NOT NULL")};
    for (const v1::Column& column : schema.columns()) {
      const CatalogColumn* held = table ? table->Find(column.name()) : nullptr;
      columns.push_back(absl::StrCat(
          Quoted(column.name()), " ", held != nullptr ? held->declared : DeclaredType(column.type()),
          held != nullptr && !held->collation.empty() ? absl::StrCat(" COLLATE ", Quoted(held->collation)) : ""));
    }
    return db.Exec(absl::StrCat("CREATE TABLE ", Quoted(name), " (", absl::StrJoin(columns, ", "), ")"));
  }

  const std::string path_;
  const std::string table_;
  const v1::JobSpec job_;
  const std::shared_ptr<WriterQueue> queue_;

  absl::Duration lock_wait_ = kLockWait;

  absl::Mutex mutex_;
  std::atomic<bool> cancelled_ = false;
  // Written once, under the mutex; used by the session's thread without it.
  std::unique_ptr<Database> db_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TargetSession>> OpenTargetSession(const std::string& path, const v1::JobSpec& job,
                                                                 std::shared_ptr<WriterQueue> queue) {
  TM_ASSIGN_OR_RETURN(std::string table, PlainTableName(job.target().table()));
  return std::make_unique<FileTargetSession>(path, std::move(table), job, std::move(queue));
}

}  // namespace tidemark::sqlite
