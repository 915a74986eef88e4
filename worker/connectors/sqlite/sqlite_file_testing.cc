#include "worker/connectors/sqlite/sqlite_file_testing.h"

#include <arrow/array/array_base.h>
#include <arrow/record_batch.h>
#include <arrow/scalar.h>

#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace tidemark::sqlite {
namespace {

void Must(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  std::abort();
}

}  // namespace

v1::ConnectionSpec FileFixture::connection() const {
  v1::ConnectionSpec connection;
  connection.set_dsn(absl::StrCat("sqlite:", path_));
  return connection;
}

std::unique_ptr<Database> FileFixture::Open() const {
  auto database = Database::Open(path_, Database::Mode::kCreate);
  Must(database.status());
  return *std::move(database);
}

void FileFixture::Sql(const std::string& sql) const { Must(Open()->Exec(sql)); }

std::string FileFixture::Scalar(const std::string& sql) const {
  auto text = Open()->QueryText(sql);
  Must(text.status());
  return *text;
}

v1::JobSpec FileFixture::Job(const std::string& table, const std::string& watermark) {
  v1::JobSpec job;
  job.set_name("job");
  job.mutable_source()->set_table(table);
  job.mutable_source()->set_watermark(watermark);
  job.mutable_target()->set_table(table);
  job.mutable_target()->set_strategy(watermark.empty() ? v1::LOAD_STRATEGY_FULL : v1::LOAD_STRATEGY_INCREMENTAL);
  return job;
}

v1::JobSpec FileFixture::QueryJob(const std::string& query) {
  v1::JobSpec job = Job("");
  job.mutable_source()->set_query(query);
  return job;
}

std::unique_ptr<SourceSession> FileFixture::Source(const v1::JobSpec& job) {
  auto session = connector_.OpenSource(connection(), job, {});
  Must(session.status());
  return *std::move(session);
}

std::unique_ptr<TargetSession> FileFixture::Target(const v1::JobSpec& job) {
  auto session = connector_.OpenTarget(connection(), job, {});
  Must(session.status());
  return *std::move(session);
}

absl::StatusOr<std::vector<Chunk>> FileFixture::ReadChunks(SourceSession& session, const v1::Window& window,
                                                           const v1::KeyRange& range) {
  TM_ASSIGN_OR_RETURN(const SourceDescription description, session.Describe());
  ReadRequest request;
  request.schema = description.schema;
  request.window = window;
  request.range = range;
  TM_ASSIGN_OR_RETURN(const auto reader, session.Read(request));
  std::vector<Chunk> chunks;
  while (true) {
    TM_ASSIGN_OR_RETURN(std::optional<Chunk> chunk, reader->Next());
    if (!chunk) return chunks;
    chunks.push_back(*std::move(chunk));
  }
}

absl::StatusOr<std::vector<std::string>> FileFixture::ReadFirstColumn(SourceSession& session, const v1::Window& window,
                                                                      const v1::KeyRange& range) {
  TM_ASSIGN_OR_RETURN(const std::vector<Chunk> chunks, ReadChunks(session, window, range));
  std::vector<std::string> cells;
  for (const Chunk& chunk : chunks) {
    for (int64_t row = 0; row < chunk.rows(); ++row)
      cells.push_back((*chunk.arrow()->column(0)->GetScalar(row))->ToString());
  }
  return cells;
}

}  // namespace tidemark::sqlite
