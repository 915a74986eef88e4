#include "worker/connectors/postgres/postgres_source_testing.h"

#include <arrow/array.h>
#include <arrow/record_batch.h>
#include <arrow/scalar.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/connectors/postgres/postgres_source.h"

namespace tidemark::postgres {
namespace {

void Require(const absl::Status& status) {
  if (status.ok()) return;
  fprintf(stderr, "%s\n", status.ToString().c_str());
  abort();
}

}  // namespace

v1::JobSpec TableJob(const std::string& table, const std::string& watermark) {
  v1::JobSpec job;
  job.set_name("job");
  job.mutable_source()->set_table(table);
  job.mutable_source()->set_watermark(watermark);
  job.mutable_target()->set_strategy(v1::LOAD_STRATEGY_UPSERT);
  return job;
}

v1::JobSpec QueryJob(const std::string& query, const std::string& watermark) {
  v1::JobSpec job = TableJob("", watermark);
  job.mutable_source()->set_query(query);
  return job;
}

std::unique_ptr<SourceSession> MustOpen(const std::string& dsn, const v1::JobSpec& job, int64_t max_rows_per_second) {
  v1::ConnectionSpec connection;
  connection.set_name("shop");
  connection.set_dsn(dsn);
  connection.set_max_rows_per_second(max_rows_per_second);
  auto session = PostgresSource::Open(connection, job, SessionOptions());
  Require(session.status());
  return *std::move(session);
}

std::unique_ptr<Connection> MustConnect(const std::string& dsn) {
  auto connection = Connection::Open(dsn, SessionOptions{.application_name = "test"}, ConnectionSettings());
  Require(connection.status());
  return *std::move(connection);
}

void MustRun(Connection& connection, const std::string& sql) { Require(connection.ExecuteCommand(sql).status()); }

v1::Watermark MakeWatermark(const std::string& type, const std::string& text) {
  v1::Watermark watermark;
  watermark.set_type(type);
  watermark.set_text(text);
  return watermark;
}

v1::Window MakeWindow(const std::optional<v1::Watermark>& low, const std::optional<v1::Watermark>& high) {
  v1::Window window;
  window.set_kind(v1::WINDOW_KIND_WINDOW);
  if (low.has_value()) *window.mutable_low() = *low;
  if (high.has_value()) *window.mutable_high() = *high;
  return window;
}

absl::StatusOr<std::vector<std::vector<std::string>>> ReadRows(SourceSession& session, const v1::TableSchema& schema,
                                                               const v1::Window& window, const v1::KeyRange& range) {
  ReadRequest request{schema, window, range, v1::CHUNK_FORMAT_ARROW};
  TM_ASSIGN_OR_RETURN(const std::unique_ptr<ChunkReader> reader, session.Read(request));
  std::vector<std::vector<std::string>> rows;
  while (true) {
    TM_ASSIGN_OR_RETURN(const std::optional<Chunk> chunk, reader->Next());
    if (!chunk.has_value()) return rows;
    // Not in full: that would refuse the time 24:00, which is one of PostgreSQL's.
    if (const arrow::Status valid = chunk->arrow()->Validate(); !valid.ok())
      return absl::InternalError(valid.ToString());
    for (int64_t row = 0; row < chunk->rows(); ++row) {
      std::vector<std::string>& cells = rows.emplace_back();
      for (const std::shared_ptr<arrow::Array>& column : chunk->arrow()->columns()) {
        cells.push_back(column->IsNull(row) ? "NULL" : (*column->GetScalar(row))->ToString());
      }
    }
  }
}

std::vector<std::string> ReadKeys(SourceSession& session, const v1::Window& window, const v1::KeyRange& range) {
  auto description = session.Describe();
  Require(description.status());
  v1::TableSchema schema;
  *schema.add_columns() = description->schema.columns(0);
  const auto rows = ReadRows(session, schema, window, range);
  Require(rows.status());
  std::vector<std::string> keys;
  for (const auto& row : *rows) keys.push_back(row[0]);
  std::sort(keys.begin(), keys.end());
  return keys;
}

int64_t CopyWire(SourceSession& session, const v1::TableSchema& schema, Connection& target, const std::string& table) {
  auto reader = session.Read(ReadRequest{schema, {}, {}, v1::CHUNK_FORMAT_PG_COPY_BINARY});
  Require(reader.status());
  Require(target.BeginCopyIn(absl::StrCat("COPY ", table, " FROM STDIN (FORMAT binary)")));
  Require(target.WriteCopy(std::string_view("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19)));
  int64_t rows = 0;
  while (true) {
    auto chunk = (*reader)->Next();
    Require(chunk.status());
    if (!chunk->has_value()) break;
    rows += (*chunk)->rows();
    Require(target.WriteCopy((*chunk)->pg_tuples()));
  }
  Require(target.WriteCopy(std::string_view("\377\377", 2)));
  const auto copied = target.EndCopyIn();
  Require(copied.status());
  if (*copied != rows) Require(absl::InternalError(absl::StrCat("read ", rows, " rows, copied ", *copied)));
  return rows;
}

std::vector<v1::KeyRange> RangesOf(const v1::PartitionFacts& facts) {
  std::vector<v1::KeyRange> ranges;
  v1::KeyRange range;
  range.set_partitioning(facts.partitioning());
  *range.mutable_columns() = facts.columns();
  if (facts.nullable()) {
    ranges.push_back(range);
    ranges.back().set_nulls(true);
  }
  for (const v1::KeyBound& cut : facts.quantiles()) {
    *range.mutable_upper() = cut;
    ranges.push_back(range);
    *range.mutable_lower() = cut;
  }
  range.clear_upper();
  ranges.push_back(range);
  return ranges;
}

std::vector<v1::KeyRange> BlockRanges(const v1::PartitionFacts& facts, int64_t blocks_each) {
  v1::PartitionFacts cut = facts;
  for (int64_t block = blocks_each; block < facts.blocks(); block += blocks_each)
    cut.add_quantiles()->add_values(absl::StrCat(block));
  return RangesOf(cut);
}

}  // namespace tidemark::postgres
