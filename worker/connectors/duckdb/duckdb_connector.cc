#include "worker/connectors/duckdb/duckdb_connector.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model/dsn.h"
#include "worker/connectors/duckdb/duckdb_file.h"
#include "worker/connectors/duckdb/duckdb_source.h"
#include "worker/connectors/duckdb/duckdb_target.h"

namespace tidemark::duckdb {
namespace {

absl::StatusOr<std::string> PathOf(std::string_view dsn) {
  const std::string_view path = DsnLocalPath(dsn).value_or("");
  if (path.empty() || path == ":memory:") {
    return absl::InvalidArgumentError(
        "the DSN duckdb: needs the path of a file, since it is closed when no session has it open");
  }
  if (path.find('?') != path.npos) {
    return absl::InvalidArgumentError(
        "the DSN duckdb: is the path of a file and nothing else: there are no parameters");
  }
  return std::string(path);
}

}  // namespace

absl::Status DuckdbConnector::CheckDsn(const std::string& dsn) const { return PathOf(dsn).status(); }

absl::StatusOr<std::unique_ptr<SourceSession>> DuckdbConnector::OpenSource(const v1::ConnectionSpec& connection,
                                                                           const v1::JobSpec& job,
                                                                           const SessionOptions& options) {
  TM_ASSIGN_OR_RETURN(const std::string path, PathOf(connection.dsn()));
  return OpenSourceSession(path, job);
}

absl::StatusOr<std::unique_ptr<TargetSession>> DuckdbConnector::OpenTarget(const v1::ConnectionSpec& connection,
                                                                           const v1::JobSpec& job,
                                                                           const SessionOptions& options) {
  TM_ASSIGN_OR_RETURN(const std::string path, PathOf(connection.dsn()));
  return OpenTargetSession(path, job);
}

absl::StatusOr<std::string> DuckdbConnector::Test(const v1::ConnectionSpec& connection, const SessionOptions& options) {
  TM_ASSIGN_OR_RETURN(const std::string path, PathOf(connection.dsn()));
  TM_ASSIGN_OR_RETURN(const auto db, FileConnection::Open(path, FileConnection::Mode::kExisting));
  TM_ASSIGN_OR_RETURN(const auto about,
                      (*db)->Query("SELECT version(), (SELECT count(*) FROM duckdb_tables() WHERE database_name = "
                                   "current_database())"));
  return absl::StrCat("DuckDB ", *about[0][0], ", ", *about[0][1], " tables");
}

}  // namespace tidemark::duckdb
