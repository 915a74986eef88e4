#include "worker/connectors/sqlite/sqlite_connector.h"

#include <filesystem>
#include <utility>

#include <sqlite3.h>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model/dsn.h"
#include "worker/connectors/sqlite/sqlite_database.h"
#include "worker/connectors/sqlite/sqlite_source.h"
#include "worker/connectors/sqlite/sqlite_target.h"

namespace tidemark::sqlite {
namespace {

absl::StatusOr<std::string> PathOf(std::string_view dsn) {
  const std::string_view path = DsnLocalPath(dsn).value_or("");
  if (path.empty() || path == ":memory:") {
    return absl::InvalidArgumentError("the DSN sqlite: needs the path of a file, since every session opens it anew");
  }
  if (path.find('?') != path.npos) {
    return absl::InvalidArgumentError(
        "the DSN sqlite: is the path of a file and nothing else: there are no parameters");
  }
  return std::string(path);
}

}  // namespace

absl::Status SqliteConnector::CheckDsn(const std::string& dsn) const { return PathOf(dsn).status(); }

absl::StatusOr<std::unique_ptr<SourceSession>> SqliteConnector::OpenSource(const v1::ConnectionSpec& connection,
                                                                           const v1::JobSpec& job,
                                                                           const SessionOptions& options) {
  TM_ASSIGN_OR_RETURN(const std::string path, PathOf(connection.dsn()));
  return OpenSourceSession(path, job);
}

absl::StatusOr<std::unique_ptr<TargetSession>> SqliteConnector::OpenTarget(const v1::ConnectionSpec& connection,
                                                                           const v1::JobSpec& job,
                                                                           const SessionOptions& options) {
  TM_ASSIGN_OR_RETURN(const std::string path, PathOf(connection.dsn()));
  std::error_code ignored;
  const std::string canonical = std::filesystem::weakly_canonical(path, ignored).string();
  std::shared_ptr<WriterQueue> queue;
  {
    absl::MutexLock lock(&mutex_);
    std::weak_ptr<WriterQueue>& known = queues_[canonical];
    queue = known.lock();
    if (queue == nullptr) known = queue = std::make_shared<WriterQueue>();
  }
  return OpenTargetSession(path, job, std::move(queue));
}

absl::StatusOr<std::string> SqliteConnector::Test(const v1::ConnectionSpec& connection, const SessionOptions& options) {
  TM_ASSIGN_OR_RETURN(const std::string path, PathOf(connection.dsn()));
  TM_ASSIGN_OR_RETURN(auto db, Database::Open(path, Database::Mode::kExisting));
  TM_ASSIGN_OR_RETURN(
      const auto tables,
      db->QueryInt(
          "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"));
  TM_ASSIGN_OR_RETURN(const std::string journal, db->QueryText("PRAGMA journal_mode"));
  return absl::StrCat("SQLite ", sqlite3_libversion(), ", ", tables.value_or(0), " tables, journal mode ", journal,
                      db->ReadOnly() ? ", read-only" : "");
}

}  // namespace tidemark::sqlite
