#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/secret/redactor.h"
#include "coordinator/store/rows.h"

namespace tidemark::coordinator {

// Where a PostgreSQL database is and how it is connected to.
struct PostgresAddress {
  // For libpq. Secret.
  std::string connection_string;
  // Knows what no message may hold.
  std::shared_ptr<const Redactor> redactor;
  // How messages name it.
  std::string redacted;

  // Adds to a DSN what it does not say itself: timeouts, so that no call waits for ever on a server that is gone
  // (connect_timeout 5 s; keepalives and tcp_user_timeout, about 10 s), and that writes must be possible, which finds
  // the primary among several hosts. InvalidArgument if libpq does not read it.
  static absl::StatusOr<PostgresAddress> Of(const std::string& dsn);

  // What `exception`, thrown by libpqxx, means to the caller: Unavailable (server or network gone, restarting or too
  // slow, a deadlock: try again), AlreadyExists (a unique value is taken), ResourceExhausted (disk or memory full),
  // PermissionDenied, DataLoss (damaged data), FailedPrecondition (the schema is not what this version expects),
  // NotFound (no such database), else Internal. Names `redacted`, never a secret.
  absl::Status StatusOf(const std::exception& exception) const;
};

// A transaction that goes on. One thread.
class PostgresTransaction {
 public:
  virtual ~PostgresTransaction() = default;
  // Runs one statement with its parameters as text; returns how many rows it changed.
  virtual absl::StatusOr<int64_t> Execute(const std::string& sql, const std::vector<std::string>& parameters = {}) = 0;
  // Calls `on_row` for every row of the result, until it returns an error.
  virtual absl::Status Query(const std::string& sql, const std::vector<std::string>& parameters,
                             absl::FunctionRef<absl::Status(RowReader&)> on_row) = 0;
  // Runs any number of statements.
  virtual absl::Status RunScript(std::string_view sql) = 0;
};

// Some connections to one database. Every transaction brings its own settings, so that a pooler may give each of them
// another server connection. Thread-safe.
class PostgresPool {
 public:
  struct Options {
    int connections = 1;
    // The server ends a statement that takes longer; zero: never.
    absl::Duration statement_timeout = absl::Seconds(10);
    // The same of a wait for a lock.
    absl::Duration lock_timeout = absl::Seconds(5);
    // The same of a client that says nothing in the middle of its transaction: so long its locks outlive it.
    absl::Duration idle_timeout = absl::Seconds(10);
  };

  PostgresPool(PostgresAddress address, const Options& options);
  ~PostgresPool();
  PostgresPool(const PostgresPool&) = delete;
  PostgresPool& operator=(const PostgresPool&) = delete;

  // Runs `body` in a transaction, READ COMMITTED, on a connection that is free or new; what the body did is rolled back
  // if it returns an error. Unavailable: it may have been committed. A connection that broke before is replaced.
  absl::Status Transact(absl::FunctionRef<absl::Status(PostgresTransaction&)> body);

  const PostgresAddress& address() const { return address_; }

 private:
  class Connection;
  class Transaction;

  // Waits for a free place; null: the caller connects.
  absl::StatusOr<std::unique_ptr<Connection>> Take();
  void GiveBack(std::unique_ptr<Connection> connection);
  // Idle connections broke together: the server was restarted.
  void DropIdle();

  bool HasPlace() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return taken_ < options_.connections; }

  const PostgresAddress address_;
  const Options options_;
  const std::string settings_;
  absl::Mutex mutex_;
  int taken_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::unique_ptr<Connection>> idle_ ABSL_GUARDED_BY(mutex_);
};

// The elements as the text of an array. PostgreSQL's text holds neither NUL nor what is no UTF-8: they become U+FFFD.
std::string PostgresArray(const std::vector<StoredValue>& elements);
std::string PostgresArray(const std::vector<std::string>& elements);

// A time as SQL gives it to ParseTime.
std::string PostgresTimeText(std::string_view expression);

}  // namespace tidemark::coordinator
