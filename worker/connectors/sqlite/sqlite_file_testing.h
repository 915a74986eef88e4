#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/support/temp_dir.h"
#include "tidemark/v1/spec.pb.h"
#include "worker/connector/source.h"
#include "worker/connector/target.h"
#include "worker/connectors/sqlite/sqlite_connector.h"
#include "worker/connectors/sqlite/sqlite_database.h"

namespace tidemark::sqlite {

// A file of a test's own, what an application does to it, and the sessions on it. Anything that fails ends the test
// program with its message.
class FileFixture {
 public:
  FileFixture() : path_(directory_.File("shop.db")) {}

  const std::string& path() const { return path_; }
  v1::ConnectionSpec connection() const;
  // A connection of an application; creates the file.
  std::unique_ptr<Database> Open() const;
  void Sql(const std::string& sql) const;
  std::string Scalar(const std::string& sql) const;

  // A job that reads `table`, by `watermark` if it is not empty.
  static v1::JobSpec Job(const std::string& table, const std::string& watermark = "");
  static v1::JobSpec QueryJob(const std::string& query);
  std::unique_ptr<SourceSession> Source(const v1::JobSpec& job);
  std::unique_ptr<TargetSession> Target(const v1::JobSpec& job);

  // The first column of every row, as text; or the reader's error.
  static absl::StatusOr<std::vector<std::string>> ReadFirstColumn(SourceSession& session, const v1::Window& window = {},
                                                                  const v1::KeyRange& range = {});
  static absl::StatusOr<std::vector<Chunk>> ReadChunks(SourceSession& session, const v1::Window& window = {},
                                                       const v1::KeyRange& range = {});

 private:
  test::TempDir directory_;
  std::string path_;
  SqliteConnector connector_;
};

}  // namespace tidemark::sqlite
