#include "worker/connectors/sqlite/sqlite_source.h"

#include <sqlite3.h>

#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "worker/connector/file_identity.h"
#include "worker/connectors/sqlite/iso_text.h"
#include "worker/connectors/sqlite/sqlite_catalog.h"
#include "worker/connectors/sqlite/sqlite_database.h"
#include "worker/connectors/sqlite/sqlite_horizon.h"
#include "worker/connectors/sqlite/sqlite_partitions.h"
#include "worker/connectors/sqlite/sqlite_row_batch.h"
#include "worker/connectors/sqlite/sqlite_source_relation.h"

namespace tidemark::sqlite {
namespace {

constexpr int64_t kChunkBytes = 1 << 20;
// A scan of this many rows is cheap enough to answer a question no index answers.
constexpr int64_t kCheapScanRows = 200'000;

class RowReader final : public ChunkReader {
 public:
  RowReader(Statement statement, std::unique_ptr<RowBatch> batch, int rowid_column)
      : statement_(std::move(statement)), batch_(std::move(batch)), rowid_column_(rowid_column) {}

  // Every text of column `position` must be spelled as `format`, else the window is not what it seems.
  void CheckSpelling(int position, WatermarkFormat format) {
    watermark_position_ = position;
    format_ = std::move(format);
  }

  absl::StatusOr<std::optional<Chunk>> Next() override {
    while (!done_ && batch_->bytes() < kChunkBytes) {
      TM_ASSIGN_OR_RETURN(const bool row, statement_.Step());
      if (!row) {
        done_ = true;
        // Ends the read transaction now, not when the reader is destroyed.
        statement_.Reset();
        break;
      }
      TM_RETURN_IF_ERROR(batch_->Append(statement_.get(), rowid_column_));
      if (watermark_position_ >= 0) TM_RETURN_IF_ERROR(CheckWatermark());
    }
    if (batch_->rows() == 0) return std::nullopt;
    TM_ASSIGN_OR_RETURN(Chunk chunk, batch_->Finish());
    return chunk;
  }

 private:
  absl::Status CheckWatermark() {
    if (statement_.IsNull(watermark_position_) || format_.Matches(statement_.Text(watermark_position_)))
      return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("watermark column ", sqlite3_column_name(statement_.get(), watermark_position_),
                     rowid_column_ >= 0 ? absl::StrCat(", rowid ", statement_.Int(rowid_column_)) : std::string(),
                     ": a value is not spelled as ", format_.Name(),
                     ", which the others are; spellings that sort differently would lose rows. Rewrite them alike"));
  }

  Statement statement_;
  std::unique_ptr<RowBatch> batch_;
  const int rowid_column_;
  int watermark_position_ = -1;
  WatermarkFormat format_;
  bool done_ = false;
};

class FileSourceSession final : public SourceSession {
 public:
  FileSourceSession(std::unique_ptr<Database> file, const v1::JobSpec& job) : file_(std::move(file)), job_(job) {}

  absl::StatusOr<SourceDescription> Describe() override {
    TM_ASSIGN_OR_RETURN(const SourceRelation* source, Resolved());
    SourceDescription description;
    description.schema = source->schema;
    v1::SourceCapabilities& capabilities = description.capabilities;
    capabilities.set_snapshot(true);
    capabilities.set_horizon(true);
    capabilities.set_local_file(true);
    capabilities.add_partitionings(v1::PARTITIONING_NONE);
    capabilities.add_partitionings(v1::PARTITIONING_KEY);
    if (!source->rowid_name().empty()) capabilities.add_partitionings(v1::PARTITIONING_PHYSICAL);
    capabilities.add_formats(v1::CHUNK_FORMAT_ARROW);
    TM_ASSIGN_OR_RETURN(description.estimated_rows, EstimateRows(db(), *source));
    TM_ASSIGN_OR_RETURN(const auto pages, db().QueryInt("PRAGMA page_count"));
    TM_ASSIGN_OR_RETURN(const auto page_size, db().QueryInt("PRAGMA page_size"));
    // The whole file: an upper bound of the relation.
    if (pages && page_size) description.estimated_bytes = *pages * *page_size;
    description.identity = FileIdentity(file_->path());
    if (source->relation) description.table_identity = TableIdentity(file_->path(), *source->relation);
    if (!file_->WriteAheadLog()) {
      description.notes.push_back(
          "the file is in a rollback-journal mode, where each read keeps writers from committing while it lasts "
          "(PRAGMA journal_mode = WAL ends that); a snapshot is read from a temporary copy");
    }
    return description;
  }

  absl::StatusOr<std::string> Identity() override { return FileIdentity(file_->path()); }

  absl::StatusOr<HorizonProbe> ProbeHorizon(const std::optional<LastWindow>& last) override {
    TM_ASSIGN_OR_RETURN(const SourceRelation* source, Resolved());
    return ProbeFileHorizon(*file_, *source, job_.source(), last);
  }

  absl::StatusOr<bool> MayHoldRowsAbove(const v1::Watermark& high) override {
    TM_ASSIGN_OR_RETURN(const SourceRelation* source, Resolved());
    if (source->watermark.empty()) return false;
    if (!source->Indexed(source->watermark)) {
      TM_ASSIGN_OR_RETURN(const int64_t rows, EstimateRows(db(), *source));
      if (rows < 0 || rows > kCheapScanRows) return true;
    }
    v1::Window above;
    *above.mutable_low() = high;
    TM_ASSIGN_OR_RETURN(const Selection selection, source->SelectWindow(above));
    TM_ASSIGN_OR_RETURN(Statement statement,
                        db().Prepare(absl::StrCat("SELECT 1 FROM ", source->from, selection.Where(), " LIMIT 1")));
    selection.ApplyTo(statement);
    return statement.Step();
  }

  absl::StatusOr<bool> IsAbove(const v1::Watermark& value, const v1::Watermark& bound) override {
    return CompareByValue(value.text(), bound.text()) > 0;
  }

  absl::StatusOr<bool> HorizonReached(const v1::Watermark& until) override {
    TM_ASSIGN_OR_RETURN(const HorizonProbe probe, ProbeHorizon(std::nullopt));
    return !probe.high.text().empty() && CompareByValue(probe.high.text(), until.text()) >= 0;
  }

  absl::StatusOr<int64_t> CountNullWatermarks() override {
    TM_ASSIGN_OR_RETURN(const SourceRelation* source, Resolved());
    if (source->watermark.empty()) return 0;
    TM_ASSIGN_OR_RETURN(Selection selection, source->SelectWindow({}));
    selection.And(absl::StrCat(Quoted(source->watermark), " IS NULL"));
    TM_ASSIGN_OR_RETURN(Statement statement,
                        db().Prepare(absl::StrCat("SELECT count(*) FROM ", source->from, selection.Where())));
    selection.ApplyTo(statement);
    TM_ASSIGN_OR_RETURN(const bool row, statement.Step());
    return row ? statement.Int(0) : 0;
  }

  absl::StatusOr<std::string> OpenSnapshot() override {
    if (in_snapshot_) return std::string();
    // The types were settled on a sample: in the snapshot they must be settled anew.
    source_.reset();
    if (!file_->WriteAheadLog() && EnoughRoomForCopy()) {
      TM_ASSIGN_OR_RETURN(auto copy, Database::TemporaryCopy(*file_));
      absl::MutexLock lock(&mutex_);
      if (cancelled_) return absl::CancelledError("the session was cancelled");
      copy_ = std::move(copy);
    } else {
      // Deferred: the first read pins the state.
      TM_RETURN_IF_ERROR(file_->Exec("BEGIN; SELECT count(*) FROM sqlite_schema"));
    }
    in_snapshot_ = true;
    return std::string();
  }

  absl::Status ImportSnapshot(std::string_view) override {
    return absl::UnimplementedError("a snapshot of a SQLite file belongs to the one session that opened it");
  }

  absl::StatusOr<std::vector<v1::PartitionFacts>> DescribePartitions(const v1::Window& window, std::string_view by,
                                                                     int wanted) override {
    TM_ASSIGN_OR_RETURN(const SourceRelation* source, Resolved());
    return DescribeFilePartitions(db(), *source, window, Abs(by), wanted, in_snapshot_);
  }

  absl::StatusOr<std::unique_ptr<ChunkReader>> Read(const ReadRequest& request) override {
    TM_ASSIGN_OR_RETURN(const SourceRelation* source, Resolved());
    if (request.format != v1::CHUNK_FORMAT_ARROW) return absl::InvalidArgumentError("SQLite speaks Arrow only");
    TM_ASSIGN_OR_RETURN(Selection selection, source->SelectWindow(request.window));
    TM_RETURN_IF_ERROR(source->SelectRange(request.range, &selection));
    std::vector<std::string> columns;
    int watermark = -1;
    for (const v1::Column& column : request.schema.columns()) {
      if (source->Find(column.name()) == nullptr) {
        return absl::NotFoundError(absl::StrCat(source->what, " no longer has the column ", column.name()));
      }
      if (column.name() == source->watermark) watermark = static_cast<int>(columns.size());
      columns.push_back(Quoted(column.name()));
    }
    int rowid_column = -1;
    if (const std::string rowid = source->rowid_name(); !rowid.empty()) {
      rowid_column = static_cast<int>(columns.size());
      columns.push_back(rowid);
    }
    TM_ASSIGN_OR_RETURN(Statement statement, db().Prepare(absl::StrCat("SELECT ", absl::StrJoin(columns, ", "),
                                                                       " FROM ", source->from, selection.Where())));
    selection.ApplyTo(statement);
    TM_ASSIGN_OR_RETURN(auto batch, RowBatch::Create(request.schema));
    auto reader = std::make_unique<RowReader>(std::move(statement), std::move(batch), rowid_column);
    if (watermark >= 0 && request.window.has_high() && request.window.high().type() != kIntegerWatermark) {
      if (auto format = WatermarkFormat::Of(request.window.high().text()))
        reader->CheckSpelling(watermark, *std::move(format));
    }
    return reader;
  }

  void Cancel() override {
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;
    file_->Cancel();
    if (copy_ != nullptr) copy_->Cancel();
  }

 private:
  // What reads go to: the file, or its copy.
  Database& db() { return copy_ != nullptr ? *copy_ : *file_; }

  absl::StatusOr<const SourceRelation*> Resolved() {
    if (!source_) {
      TM_ASSIGN_OR_RETURN(source_, ResolveSource(db(), job_));
    }
    return &*source_;
  }

  bool EnoughRoomForCopy() const {
    std::error_code error;
    const auto size = std::filesystem::file_size(file_->path(), error);
    if (error) return false;
    const auto room = std::filesystem::space(std::filesystem::temp_directory_path(error), error);
    return !error && room.available / 2 > size;
  }

  const std::unique_ptr<Database> file_;
  const v1::JobSpec job_;
  std::optional<SourceRelation> source_;
  bool in_snapshot_ = false;

  absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  // Written once, under the mutex; read by the session's thread without it.
  std::unique_ptr<Database> copy_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<SourceSession>> OpenSourceSession(const std::string& path, const v1::JobSpec& job) {
  TM_ASSIGN_OR_RETURN(auto file, Database::Open(path, Database::Mode::kExisting));
  // Nothing a job says can write to its source; the barrier alone lifts this for a moment.
  TM_RETURN_IF_ERROR(file->Exec("PRAGMA query_only = ON"));
  return std::make_unique<FileSourceSession>(std::move(file), job);
}

}  // namespace tidemark::sqlite
