#include "worker/connectors/duckdb/duckdb_source.h"

#include <atomic>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "worker/connector/file_identity.h"
#include "worker/connectors/adbc/arrow_chunk_reader.h"
#include "worker/connectors/duckdb/duckdb_catalog.h"
#include "worker/connectors/duckdb/duckdb_file.h"
#include "worker/connectors/duckdb/duckdb_name.h"
#include "worker/connectors/duckdb/duckdb_source_horizon.h"
#include "worker/connectors/duckdb/duckdb_source_partitions.h"
#include "worker/connectors/duckdb/duckdb_source_relation.h"
#include "worker/connectors/duckdb/duckdb_source_type.h"

namespace tidemark::duckdb {
namespace {

// One state of the file, which nothing can be written to. Inside another one it is that one's.
class ReadTransaction {
 public:
  explicit ReadTransaction(adbc::Connection& db) : db_(db) {}
  ~ReadTransaction() {
    if (open_) db_.Execute("ROLLBACK").IgnoreError();
  }
  ReadTransaction(const ReadTransaction&) = delete;
  ReadTransaction& operator=(const ReadTransaction&) = delete;

  absl::Status Begin() {
    TM_RETURN_IF_ERROR(db_.Execute("BEGIN TRANSACTION READ ONLY").status());
    open_ = true;
    return absl::OkStatus();
  }
  bool open() const { return open_; }

 private:
  adbc::Connection& db_;
  bool open_ = false;
};

class RowReader final : public ChunkReader {
 public:
  RowReader(std::unique_ptr<ReadTransaction> transaction, std::unique_ptr<ChunkReader> rows)
      : transaction_(std::move(transaction)), rows_(std::move(rows)) {}

  absl::StatusOr<std::optional<Chunk>> Next() override { return rows_->Next(); }

 private:
  // Ends after the rows have.
  const std::unique_ptr<ReadTransaction> transaction_;
  const std::unique_ptr<ChunkReader> rows_;
};

class FileSourceSession final : public SourceSession {
 public:
  FileSourceSession(std::unique_ptr<FileConnection> file, const std::string& path, const v1::JobSpec& job)
      : file_(std::move(file)), path_(path), job_(job), writers_(WriterQueueOf(path)), snapshot_(db()) {}

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
    if (source->is_table()) capabilities.add_partitionings(v1::PARTITIONING_PHYSICAL);
    capabilities.add_formats(v1::CHUNK_FORMAT_ARROW);
    if (source->is_table()) {
      const TableName& name = source->relation->name;
      TM_ASSIGN_OR_RETURN(
          description.estimated_rows,
          QueryInt(db(), absl::StrCat("SELECT estimated_size FROM duckdb_tables() WHERE database_name "
                                      "= current_database() AND schema_name = ",
                                      Literal(name.schema), " AND table_name = ", Literal(name.table))));
    }
    std::error_code error;
    // Of all its tables, as they are packed.
    if (const auto bytes = std::filesystem::file_size(path_, error); !error)
      description.estimated_bytes = static_cast<int64_t>(bytes);
    description.identity = FileIdentity(path_);
    if (source->relation) description.table_identity = TableIdentity(path_, source->relation->name);
    return description;
  }

  absl::StatusOr<std::string> Identity() override { return FileIdentity(path_); }

  absl::StatusOr<HorizonProbe> ProbeHorizon(const std::optional<LastWindow>& last) override {
    TM_ASSIGN_OR_RETURN(const SourceRelation* source, Resolved());
    return ProbeFileHorizon(
        db(), *writers_, [this] { return cancelled_.load(); }, *source, job_.source(), last);
  }

  absl::StatusOr<bool> MayHoldRowsAbove(const v1::Watermark& high) override {
    TM_ASSIGN_OR_RETURN(const SourceRelation* source, Resolved());
    // What a view or a query takes nobody knows.
    if (!source->is_table()) return true;
    v1::Window above;
    *above.mutable_low() = high;
    TM_ASSIGN_OR_RETURN(const int64_t found, QueryRows(above, "CAST(count(*) > 0 AS INTEGER)"));
    return found != 0;
  }

  absl::StatusOr<bool> IsAbove(const v1::Watermark& value, const v1::Watermark& bound) override {
    TM_ASSIGN_OR_RETURN(const SourceRelation* source, Resolved());
    const v1::Column* column = source->Find(source->watermark);
    if (column == nullptr) return absl::UnimplementedError(absl::StrCat(source->what, " is read without a watermark"));
    TM_ASSIGN_OR_RETURN(const int64_t above,
                        QueryInt(db(), absl::StrCat("SELECT CAST(", TypedLiteral(*column, value.text()), " > ",
                                                    TypedLiteral(*column, bound.text()), " AS INTEGER)")));
    return above != 0;
  }

  absl::StatusOr<bool> HorizonReached(const v1::Watermark& until) override {
    TM_ASSIGN_OR_RETURN(const HorizonProbe probe, ProbeHorizon(std::nullopt));
    TM_ASSIGN_OR_RETURN(const bool below, IsAbove(until, probe.high));
    return !below;
  }

  absl::StatusOr<int64_t> CountNullWatermarks() override {
    TM_ASSIGN_OR_RETURN(const SourceRelation* source, Resolved());
    if (source->watermark.empty()) return 0;
    return QueryRows({}, absl::StrCat("count(*) FILTER (", Quoted(source->watermark), " IS NULL)"));
  }

  absl::StatusOr<std::string> OpenSnapshot() override {
    if (snapshot_.open()) return std::string();
    TM_RETURN_IF_ERROR(snapshot_.Begin());
    // The first look at the file pins its state. The relation may have changed since it was resolved.
    source_.reset();
    TM_RETURN_IF_ERROR(Resolved().status());
    return std::string();
  }

  absl::Status ImportSnapshot(std::string_view) override {
    return absl::UnimplementedError("a snapshot of a DuckDB file belongs to the one session that opened it");
  }

  absl::StatusOr<std::vector<v1::PartitionFacts>> DescribePartitions(const v1::Window& window, std::string_view by,
                                                                     int wanted) override {
    TM_ASSIGN_OR_RETURN(const SourceRelation* source, Resolved());
    TM_ASSIGN_OR_RETURN(const auto transaction, Transaction());
    return DescribeFilePartitions(db(), *source, window, Abs(by), wanted, snapshot_.open());
  }

  absl::StatusOr<std::unique_ptr<ChunkReader>> Read(const ReadRequest& request) override {
    TM_ASSIGN_OR_RETURN(const SourceRelation* source, Resolved());
    if (request.format != v1::CHUNK_FORMAT_ARROW) return absl::InvalidArgumentError("DuckDB speaks Arrow only");
    TM_ASSIGN_OR_RETURN(Selection selection, source->SelectWindow(request.window));
    TM_RETURN_IF_ERROR(source->SelectRange(request.range, &selection));
    std::vector<std::string> columns;
    for (const v1::Column& column : request.schema.columns()) {
      const v1::Column* found = source->Find(column.name());
      if (found == nullptr || found->native_type() != column.native_type()) {
        return absl::NotFoundError(
            absl::StrCat(source->what, " no longer has the column ", column.name(), " ", column.native_type()));
      }
      columns.push_back(ReadExpression(*found));
    }
    TM_ASSIGN_OR_RETURN(auto transaction, Transaction());
    TM_ASSIGN_OR_RETURN(auto rows, db().Read(absl::StrCat("SELECT ", absl::StrJoin(columns, ", "), selection.Sql())));
    return std::make_unique<RowReader>(std::move(transaction), adbc::ReadChunks(std::move(rows), request.schema));
  }

  void Cancel() override {
    cancelled_ = true;
    db().Cancel();
  }

 private:
  adbc::Connection& db() const { return **file_; }

  absl::StatusOr<const SourceRelation*> Resolved() {
    if (!source_) {
      TM_ASSIGN_OR_RETURN(source_, ResolveSource(db(), path_, job_));
    }
    return &*source_;
  }

  // Null inside the snapshot.
  absl::StatusOr<std::unique_ptr<ReadTransaction>> Transaction() {
    if (snapshot_.open()) return nullptr;
    auto transaction = std::make_unique<ReadTransaction>(db());
    TM_RETURN_IF_ERROR(transaction->Begin());
    return transaction;
  }

  // A number about the rows of the window.
  absl::StatusOr<int64_t> QueryRows(const v1::Window& window, absl::string_view aggregate) {
    TM_ASSIGN_OR_RETURN(const SourceRelation* source, Resolved());
    TM_ASSIGN_OR_RETURN(const Selection selection, source->SelectWindow(window));
    TM_ASSIGN_OR_RETURN(const auto transaction, Transaction());
    return QueryInt(db(), absl::StrCat("SELECT ", aggregate, selection.Sql()));
  }

  const std::unique_ptr<FileConnection> file_;
  const std::string path_;
  const v1::JobSpec job_;
  const std::shared_ptr<WriterQueue> writers_;
  std::optional<SourceRelation> source_;
  ReadTransaction snapshot_;
  std::atomic<bool> cancelled_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<SourceSession>> OpenSourceSession(const std::string& path, const v1::JobSpec& job) {
  TM_ASSIGN_OR_RETURN(auto file, FileConnection::Open(path, FileConnection::Mode::kExisting));
  return std::make_unique<FileSourceSession>(std::move(file), path, job);
}

}  // namespace tidemark::duckdb
