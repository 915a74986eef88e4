#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "worker/connector/writer_queue.h"
#include "worker/connectors/adbc/adbc_connection.h"

namespace tidemark::duckdb {

// A connection to a DuckDB file. A file has one handle in a process, whoever opens it, since DuckDB's lock keeps only
// other processes away; it is closed with its last connection, and then free for other programs.
//
// DuckDB takes at most 1 GiB of memory and 4 threads for a file, and spills beyond that into FILE.tmp beside it. It
// reads and writes no other file, loads no extension but those built into it, and its sessions are in UTC.
//
// Errors of opening: NotFound for a missing file or folder, Unavailable while another process has the file open,
// PermissionDenied, FailedPrecondition for a file that is none of DuckDB's.
class FileConnection {
 public:
  enum class Mode {
    kExisting,
    kCreate,  // Made if it is missing.
  };
  // Thread-safe.
  static absl::StatusOr<std::unique_ptr<FileConnection>> Open(const std::string& path, Mode mode);
  ~FileConnection();

  adbc::Connection& operator*() const { return *connection_; }
  adbc::Connection* operator->() const { return connection_.get(); }

 private:
  class Handle;
  FileConnection() = default;

  std::shared_ptr<Handle> handle_;
  std::unique_ptr<adbc::Connection> connection_;
};

// The queue of this process's writers to the file. Thread-safe.
std::shared_ptr<WriterQueue> WriterQueueOf(const std::string& path);

}  // namespace tidemark::duckdb
