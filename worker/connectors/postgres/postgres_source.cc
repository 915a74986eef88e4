#include "worker/connectors/postgres/postgres_source.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "worker/connectors/postgres/postgres_copy_reader.h"
#include "worker/connectors/postgres/postgres_decode.h"
#include "worker/connectors/postgres/postgres_error.h"
#include "worker/connectors/postgres/postgres_horizon.h"
#include "worker/connectors/postgres/postgres_identity.h"
#include "worker/connectors/postgres/postgres_name.h"
#include "worker/connectors/postgres/postgres_open_transactions.h"
#include "worker/connectors/postgres/postgres_partitions.h"
#include "worker/connectors/postgres/postgres_replay.h"
#include "worker/connectors/postgres/postgres_source_type.h"

namespace tidemark::postgres {
namespace {

constexpr char kSavepoint[] = "tidemark_read";
// Chunks of a source with a rate limit hold this share of a second's rows: a reader that waits for its share does not
// leave the server waiting longer than a connection's timeouts allow.
constexpr int64_t kChunksPerSecond = 4;
constexpr absl::Duration kSourceLockTimeout = absl::Seconds(30);

// What LOCK TABLE takes. A view's tables, and a query's, are not ours to find.
bool IsLockable(const Relation& relation) { return relation.kind == 'r' || relation.kind == 'p'; }

}  // namespace

absl::StatusOr<std::unique_ptr<SourceSession>> PostgresSource::Open(const v1::ConnectionSpec& connection,
                                                                    const v1::JobSpec& job,
                                                                    const SessionOptions& options) {
  return Open(connection, job, options, ServerTimeouts());
}

absl::StatusOr<std::unique_ptr<SourceSession>> PostgresSource::Open(const v1::ConnectionSpec& connection,
                                                                    const v1::JobSpec& job,
                                                                    const SessionOptions& options,
                                                                    const ServerTimeouts& timeouts) {
  ConnectionSettings settings;
  settings.timeouts = timeouts;
  settings.lock_timeout = kSourceLockTimeout;
  settings.read_only = true;
  auto opened = Connection::Open(connection.dsn(), options, settings);
  if (!opened.ok()) return Annotate(opened.status(), absl::StrCat("connection ", connection.name()));
  return std::unique_ptr<SourceSession>(new PostgresSource(*std::move(opened), job, connection.max_rows_per_second()));
}

PostgresSource::~PostgresSource() {
  std::optional<std::thread> keeper;
  {
    absl::MutexLock lock(&mutex_);
    closing_ = true;
    keeper = std::move(keeper_);
    keeper_.reset();
  }
  if (keeper.has_value()) keeper->join();
}

absl::Status PostgresSource::Load() {
  TM_RETURN_IF_ERROR(CheckIdle());
  if (relation_.has_value()) return absl::OkStatus();
  auto relation = LoadRelation(*connection_, job_.source());
  if (!relation.ok()) return Explain(relation.status());
  auto sql = ReadSql::Create(&relation_.emplace(*std::move(relation)), &job_);
  if (!sql.ok()) {
    relation_.reset();
    return sql.status();
  }
  sql_ = *std::move(sql);
  return absl::OkStatus();
}

absl::Status PostgresSource::LoadReads() {
  TM_RETURN_IF_ERROR(Load());
  return Explain(LoadWhatItReads(*connection_, job_.source().watermark(), *relation_));
}

absl::Status PostgresSource::LoadWithWatermark() {
  TM_RETURN_IF_ERROR(Load());
  if (sql_->watermark() == nullptr) {
    return absl::UnimplementedError(
        absl::StrCat("job ", job_.name(), " names no watermark column, and so has no horizon"));
  }
  return absl::OkStatus();
}

absl::Status PostgresSource::CheckIdle() const {
  if (reading_) return absl::FailedPreconditionError("the session is reading: finish its reader first");
  return absl::OkStatus();
}

absl::Status PostgresSource::CheckOutsideSnapshot() const {
  if (in_snapshot_) return absl::FailedPreconditionError("the horizon is probed before a snapshot, never inside it");
  return absl::OkStatus();
}

absl::Status PostgresSource::Explain(const absl::Status& status) {
  if (status.ok() || !in_snapshot_ || absl::IsCancelled(status)) return status;
  // A failed transaction, a standby's recovery conflict and a lost connection all take the snapshot with them.
  const std::string sqlstate = SqlState(status);
  const bool lost = !connection_->alive() || absl::IsUnavailable(status) || sqlstate == "25P02" || sqlstate == "40001";
  if (!lost) return status;
  return Annotate(WithCode(status, absl::StatusCode::kDataLoss), "the snapshot is gone with its session");
}

absl::StatusOr<SourceDescription> PostgresSource::Describe() {
  absl::MutexLock lock(&mutex_);
  TM_RETURN_IF_ERROR(LoadReads());
  SourceDescription description;
  for (const SourceColumn& column : relation_->columns) *description.schema.add_columns() = column.column;
  for (const std::string& name : relation_->primary_key) description.schema.add_primary_key(name);
  v1::SourceCapabilities& capabilities = description.capabilities;
  capabilities.set_snapshot(true);
  capabilities.set_snapshot_export(true);
  capabilities.set_horizon(sql_->watermark() != nullptr);
  if (relation_->heap) capabilities.add_partitionings(v1::PARTITIONING_PHYSICAL);
  capabilities.add_partitionings(v1::PARTITIONING_KEY);
  capabilities.add_partitionings(v1::PARTITIONING_NONE);
  capabilities.add_formats(v1::CHUNK_FORMAT_PG_COPY_BINARY);
  capabilities.add_formats(v1::CHUNK_FORMAT_ARROW);
  auto rows = EstimateRows(*connection_, *sql_, v1::Window());
  if (!rows.ok()) return Explain(rows.status());
  auto bytes = EstimateBytes(*connection_, *relation_);
  if (!bytes.ok()) return Explain(bytes.status());
  auto identity = SourceIdentity(*connection_);
  if (!identity.ok()) return Explain(identity.status());
  description.estimated_rows = *rows;
  description.estimated_bytes = *bytes;
  description.identity = *std::move(identity);
  description.notes = relation_->notes;
  if (!relation_->is_query()) {
    auto table_identity = TableIdentity(*connection_, relation_->oid);
    if (!table_identity.ok()) return Explain(table_identity.status());
    description.table_identity = *std::move(table_identity);
  }
  return description;
}

absl::StatusOr<std::string> PostgresSource::Identity() {
  absl::MutexLock lock(&mutex_);
  TM_RETURN_IF_ERROR(CheckIdle());
  auto identity = SourceIdentity(*connection_);
  if (!identity.ok()) return Explain(identity.status());
  return identity;
}

absl::StatusOr<std::string> PostgresSource::Position() {
  absl::MutexLock lock(&mutex_);
  TM_RETURN_IF_ERROR(CheckIdle());
  const auto row =
      connection_->ExecuteRow("SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_insert_lsn()::text END");
  if (!row.ok()) return Explain(row.status());
  if (!(*row)[0].has_value()) {
    return absl::InvalidArgumentError(
        "the dsn leads to a standby, and the connection has replicas: the dsn of such a connection is their primary's");
  }
  return *(*row)[0];
}

absl::StatusOr<absl::Duration> PostgresSource::AwaitPosition(std::string_view position, absl::Duration limit) {
  absl::MutexLock lock(&mutex_);
  TM_RETURN_IF_ERROR(CheckIdle());
  TM_RETURN_IF_ERROR(CheckOutsideSnapshot());
  auto waited = AwaitReplay(*connection_, position, limit);
  if (!waited.ok()) return Explain(waited.status());
  return waited;
}

absl::StatusOr<HorizonProbe> PostgresSource::ProbeHorizon(const std::optional<LastWindow>& last) {
  absl::MutexLock lock(&mutex_);
  TM_RETURN_IF_ERROR(CheckOutsideSnapshot());
  TM_RETURN_IF_ERROR(LoadWithWatermark());
  TM_RETURN_IF_ERROR(LoadReads());
  return Horizon(connection_.get(), &*sql_, &job_.source()).Probe(last);
}

absl::StatusOr<bool> PostgresSource::IsAbove(const v1::Watermark& value, const v1::Watermark& bound) {
  absl::MutexLock lock(&mutex_);
  TM_RETURN_IF_ERROR(LoadWithWatermark());
  return Horizon(connection_.get(), &*sql_, &job_.source()).IsAbove(value, bound);
}

absl::StatusOr<bool> PostgresSource::HorizonReached(const v1::Watermark& until) {
  absl::MutexLock lock(&mutex_);
  TM_RETURN_IF_ERROR(CheckOutsideSnapshot());
  TM_RETURN_IF_ERROR(LoadWithWatermark());
  return Horizon(connection_.get(), &*sql_, &job_.source()).Reached(until);
}

absl::StatusOr<bool> PostgresSource::MayHoldRowsAbove(const v1::Watermark& high) {
  absl::MutexLock lock(&mutex_);
  TM_RETURN_IF_ERROR(LoadWithWatermark());
  if (relation_->kind != 'r' && relation_->kind != 'p' && relation_->kind != 'm') return true;
  const SourceColumn& watermark = *sql_->watermark();
  const auto indexed = connection_->ExecuteRow(
      "SELECT EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam "
      "WHERE i.indrelid = $1::oid AND "
      "i.indkey[0] = $2::int2 AND i.indisvalid AND i.indpred IS NULL AND (a.amname = 'btree' OR c.relkind = 'I'))",
      {absl::StrCat(relation_->oid), absl::StrCat(watermark.number)});
  if (!indexed.ok()) return Explain(indexed.status());
  if ((*indexed)[0] != "t") return true;
  const std::string column = QuoteIdentifier(watermark.column.name());
  const auto above = connection_->ExecuteRow(
      absl::StrCat("SELECT max(", column, ") > ", TypedLiteral(watermark.type, high.text()), " FROM ", relation_->sql));
  if (!above.ok()) return Explain(above.status());
  return (*above)[0] == "t";
}

absl::StatusOr<int64_t> PostgresSource::CountNullWatermarks() {
  absl::MutexLock lock(&mutex_);
  TM_RETURN_IF_ERROR(LoadWithWatermark());
  TM_ASSIGN_OR_RETURN(const std::string from, sql_->From(v1::Window()));
  const auto row = connection_->ExecuteRow(absl::StrCat("SELECT count(*) FROM ", from, " WHERE ",
                                                        QuoteIdentifier(sql_->watermark()->column.name()), " IS NULL"));
  if (!row.ok()) return Explain(row.status());
  int64_t count = 0;
  (void)absl::SimpleAtoi((*row)[0].value_or("0"), &count);
  return count;
}

absl::StatusOr<std::string> PostgresSource::OpenSnapshot() {
  absl::MutexLock lock(&mutex_);
  TM_RETURN_IF_ERROR(CheckIdle());
  TM_RETURN_IF_ERROR(CheckOutsideSnapshot());
  TM_RETURN_IF_ERROR(Load());
  TM_RETURN_IF_ERROR(connection_->ExecuteCommand("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").status());
  // The lock before the first statement, which takes the snapshot.
  TM_RETURN_IF_ERROR(LockRelation());
  TM_RETURN_IF_ERROR(connection_->ExecuteCommand(MarkReaderSql()).status());
  TM_ASSIGN_OR_RETURN(const Row row, connection_->ExecuteRow("SELECT pg_export_snapshot()"));
  StayAlive();
  if (IsLockable(*relation_)) {
    const auto same = connection_->ExecuteRow("SELECT to_regclass($1)::oid = $2::oid",
                                              {relation_->sql, absl::StrCat(relation_->oid)});
    if (!same.ok()) return Explain(same.status());
    if ((*same)[0] != "t") {
      return absl::DataLossError(
          absl::StrCat(relation_->label, " was replaced by another table while it was described"));
    }
  }
  return row[0].value_or("");
}

absl::Status PostgresSource::LockRelation() {
  if (!IsLockable(*relation_)) return absl::OkStatus();
  return Explain(
      connection_->ExecuteCommand(absl::StrCat("LOCK TABLE ", relation_->sql, " IN ACCESS SHARE MODE")).status());
}

absl::Status PostgresSource::ImportSnapshot(std::string_view snapshot) {
  absl::MutexLock lock(&mutex_);
  TM_RETURN_IF_ERROR(CheckIdle());
  TM_RETURN_IF_ERROR(CheckOutsideSnapshot());
  TM_RETURN_IF_ERROR(connection_->ExecuteCommand("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").status());
  const absl::Status imported =
      connection_->ExecuteCommand(absl::StrCat("SET TRANSACTION SNAPSHOT ", QuoteLiteral(snapshot))).status();
  if (!imported.ok()) {
    // The exporter's transaction is over: its file is gone (22023, since 17 42704), or it ended just now (55000).
    const std::string sqlstate = SqlState(imported);
    const bool gone = sqlstate == "22023" || sqlstate == "42704" || sqlstate == "55000";
    return gone ? Annotate(WithCode(imported, absl::StatusCode::kDataLoss), "the snapshot to import no longer exists")
                : imported;
  }
  StayAlive();
  TM_RETURN_IF_ERROR(Explain(connection_->ExecuteCommand(MarkReaderSql()).status()));
  TM_RETURN_IF_ERROR(Load());
  // The exporter may end before this session does.
  return LockRelation();
}

absl::StatusOr<std::vector<v1::PartitionFacts>> PostgresSource::DescribePartitions(const v1::Window& window,
                                                                                   std::string_view by, int wanted) {
  absl::MutexLock lock(&mutex_);
  TM_RETURN_IF_ERROR(Load());
  auto facts =
      postgres::DescribePartitions(*connection_, *sql_, job_.source().partition(), window, by, wanted, in_snapshot_);
  if (!facts.ok()) return Explain(facts.status());
  return facts;
}

absl::StatusOr<std::string> PostgresSource::CopySql(const ReadRequest& request) {
  std::vector<std::string> expressions;
  for (const v1::Column& wanted : request.schema.columns()) {
    const SourceColumn* column = relation_->Find(wanted.name());
    if (column == nullptr || column->column.native_type() != wanted.native_type() ||
        column->column.wire_type() != wanted.wire_type()) {
      return absl::DataLossError(absl::StrCat("column ", wanted.name(), " of ", relation_->label,
                                              " has changed since the run described it: the run must start again"));
    }
    const std::string quoted = QuoteIdentifier(wanted.name());
    expressions.push_back(request.format == v1::CHUNK_FORMAT_PG_COPY_BINARY ? WireExpression(column->column, quoted)
                                                                            : ArrowExpression(column->type, quoted));
  }
  if (expressions.empty()) return absl::InvalidArgumentError("a read names no columns");
  if (request.range.partitioning() == v1::PARTITIONING_PHYSICAL && !in_snapshot_) {
    return absl::FailedPreconditionError(
        "physical ranges are read inside one snapshot: an update moves a row between blocks");
  }
  TM_ASSIGN_OR_RETURN(const std::string from, sql_->From(request.window));
  TM_ASSIGN_OR_RETURN(const std::string in_window, sql_->InWindow(request.window));
  TM_ASSIGN_OR_RETURN(std::string in_range, sql_->InRange(request.range));
  if (request.piece.has_value()) {
    TM_ASSIGN_OR_RETURN(const std::string in_piece, sql_->InRange(*request.piece));
    absl::StrAppend(&in_range, " AND ", in_piece);
  }
  return absl::StrCat("COPY (SELECT ", absl::StrJoin(expressions, ", "), " FROM ", from, " WHERE ", in_window, " AND ",
                      in_range, ") TO STDOUT (FORMAT binary)");
}

absl::StatusOr<std::unique_ptr<ChunkReader>> PostgresSource::Read(const ReadRequest& request) {
  absl::MutexLock lock(&mutex_);
  TM_RETURN_IF_ERROR(Load());
  std::unique_ptr<TupleDecoder> decoder;
  if (request.format == v1::CHUNK_FORMAT_ARROW) {
    std::vector<DecodedColumn> columns;
    for (const v1::Column& wanted : request.schema.columns()) {
      const SourceColumn* column = relation_->Find(wanted.name());
      if (column == nullptr) continue;  // CopySql refuses it
      columns.push_back({wanted, column->type.oid, column->type.oid == kCharOid});
    }
    TM_ASSIGN_OR_RETURN(decoder, TupleDecoder::Create(columns));
  } else if (request.format != v1::CHUNK_FORMAT_PG_COPY_BINARY) {
    return absl::InvalidArgumentError("a PostgreSQL source reads Arrow or PostgreSQL's binary COPY");
  }
  TM_ASSIGN_OR_RETURN(const std::string sql, CopySql(request));
  TM_RETURN_IF_ERROR(Explain(BeginRead()));
  reading_ = true;
  const absl::Status begun = connection_->BeginCopyOut(sql);
  if (!begun.ok()) {
    mutex_.Unlock();
    const absl::Status ended = EndRead(begun);
    mutex_.Lock();
    return ended;
  }
  CopyReader::Options options;
  if (max_rows_per_second_ > 0) options.rows = std::max<int64_t>(1, max_rows_per_second_ / kChunksPerSecond);
  return std::make_unique<CopyReader>(connection_.get(), std::move(decoder), options,
                                      [this](const absl::Status& read) { return EndRead(read); });
}

absl::Status PostgresSource::BeginRead() {
  if (in_snapshot_) return connection_->ExecuteCommand(absl::StrCat("SAVEPOINT ", kSavepoint)).status();
  TM_RETURN_IF_ERROR(connection_->ExecuteCommand("BEGIN READ ONLY").status());
  return connection_->ExecuteCommand(MarkReaderSql()).status();
}

absl::Status PostgresSource::EndRead(const absl::Status& read) {
  absl::MutexLock lock(&mutex_);
  reading_ = false;
  absl::Status ended;
  if (!in_snapshot_) {
    ended = connection_->ExecuteCommand(read.ok() ? "COMMIT" : "ROLLBACK").status();
  } else {
    if (!read.ok()) ended = connection_->ExecuteCommand(absl::StrCat("ROLLBACK TO SAVEPOINT ", kSavepoint)).status();
    if (ended.ok()) ended = connection_->ExecuteCommand(absl::StrCat("RELEASE SAVEPOINT ", kSavepoint)).status();
  }
  return Explain(read.ok() ? ended : read);
}

void PostgresSource::Cancel() { connection_->Cancel(); }

void PostgresSource::StayAlive() {
  in_snapshot_ = true;
  if (!keeper_.has_value()) keeper_.emplace([this] { KeepAlive(); });
}

void PostgresSource::KeepAlive() {
  const absl::Duration interval = connection_->timeouts().idle_in_transaction / 4;
  absl::MutexLock lock(&mutex_);
  while (!mutex_.AwaitWithTimeout(absl::Condition(&closing_), interval)) {
    // While a COPY runs the session is not idle. A failure is for the next call to find.
    if (in_snapshot_ && !reading_ && connection_->alive()) (void)connection_->Execute("SELECT 1");
  }
}

}  // namespace tidemark::postgres
