#include "worker/connectors/duckdb/duckdb_file.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/status_macros.h"
#include "worker/connectors/adbc/adbc_database.h"
#include "worker/connectors/duckdb/duckdb_error.h"

extern "C" uint8_t duckdb_adbc_init(int version, void* driver, AdbcError* error);

namespace tidemark::duckdb {
namespace {

constexpr unsigned kMaxThreads = 4;

absl::StatusOr<std::shared_ptr<adbc::Database>> OpenDatabase(const std::string& path) {
  const unsigned threads = std::clamp(std::thread::hardware_concurrency(), 1u, kMaxThreads);
  TM_ASSIGN_OR_RETURN(auto database, adbc::Database::Open({.init = &duckdb_adbc_init, .read_error = &ReadError},
                                                          {{"path", path},
                                                           {"memory_limit", "1GiB"},
                                                           {"threads", absl::StrCat(threads)},
                                                           {"enable_external_access", "false"},
                                                           {"autoload_known_extensions", "false"},
                                                           {"autoinstall_known_extensions", "false"},
                                                           {"allow_community_extensions", "false"},
                                                           {"allow_persistent_secrets", "false"}}));
  TM_ASSIGN_OR_RETURN(const auto connection, database->Connect());
  // The time zone belongs to a part of DuckDB that is there only now. What a user's query could set is set for good.
  for (const char* sql : {"SET GLOBAL TimeZone = 'UTC'", "SET GLOBAL lock_configuration = true"}) {
    TM_RETURN_IF_ERROR(connection->Execute(sql).status());
  }
  return database;
}

// One of each kind for a path, as long as somebody holds it.
template <typename Shared>
class ByPath {
 public:
  std::shared_ptr<Shared> Get(const std::string& path) {
    std::error_code ignored;
    const std::string canonical = std::filesystem::weakly_canonical(path, ignored).string();
    absl::MutexLock lock(&mutex_);
    std::erase_if(known_, [](const auto& entry) { return entry.second.expired(); });
    std::shared_ptr<Shared> shared = known_[canonical].lock();
    if (shared == nullptr) known_[canonical] = shared = std::make_shared<Shared>();
    return shared;
  }

 private:
  absl::Mutex mutex_;
  std::map<std::string, std::weak_ptr<Shared>> known_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

class FileConnection::Handle {
 public:
  absl::StatusOr<std::unique_ptr<adbc::Connection>> Connect(const std::string& path) {
    // Waits for a close: a file that was opened twice in one process would be written to by both.
    absl::MutexLock lock(&mutex_);
    if (database_ == nullptr) {
      TM_ASSIGN_OR_RETURN(database_, OpenDatabase(path));
    }
    absl::StatusOr<std::unique_ptr<adbc::Connection>> connection = database_->Connect();
    if (connection.ok()) {
      ++connections_;
    } else if (connections_ == 0) {
      database_.reset();
    }
    return connection;
  }

  void Close(std::unique_ptr<adbc::Connection> connection) {
    absl::MutexLock lock(&mutex_);
    connection.reset();
    if (--connections_ == 0) database_.reset();
  }

 private:
  absl::Mutex mutex_;
  std::shared_ptr<adbc::Database> database_ ABSL_GUARDED_BY(mutex_);
  int connections_ ABSL_GUARDED_BY(mutex_) = 0;
};

absl::StatusOr<std::unique_ptr<FileConnection>> FileConnection::Open(const std::string& path, Mode mode) {
  static auto* const handles = new ByPath<Handle>();
  std::error_code ignored;
  if (mode == Mode::kExisting && !std::filesystem::exists(path, ignored)) {
    return absl::NotFoundError(
        absl::StrCat("DuckDB file ", path, " does not exist (a target's is made by its first run)"));
  }
  std::unique_ptr<FileConnection> file(new FileConnection);
  file->handle_ = handles->Get(path);
  TM_ASSIGN_OR_RETURN(file->connection_, file->handle_->Connect(path));
  return file;
}

FileConnection::~FileConnection() {
  if (connection_ != nullptr) handle_->Close(std::move(connection_));
}

std::shared_ptr<WriterQueue> WriterQueueOf(const std::string& path) {
  static auto* const queues = new ByPath<WriterQueue>();
  return queues->Get(path);
}

}  // namespace tidemark::duckdb
