#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/model/source_settings.h"
#include "worker/connector/connector.h"

struct pg_conn;
struct pg_cancel;
struct pg_result;

namespace tidemark::postgres {

// A value as the server prints it; nullopt is NULL.
using Text = std::optional<std::string>;
using Row = std::vector<Text>;

// A column of a statement's result, as the server describes it.
struct ResultColumn {
  std::string name;
  uint32_t type_oid = 0;
  int32_t type_modifier = -1;
};

// How the server ends a session whose client has died, stopped or vanished. A permit is granted again only after these.
struct ServerTimeouts {
  // How often a backend that computes looks whether its client is still there.
  absl::Duration client_check_interval = absl::Seconds(1);
  // A client that acknowledges nothing, or reads nothing of what is sent to it, for this long is gone. It bounds the
  // pauses a reader may make while rows are waiting for it.
  absl::Duration tcp_user_timeout = kServerSideTimeouts;
  // A session that holds a snapshot between two reads sends a statement every quarter of this.
  absl::Duration idle_in_transaction = kServerSideTimeouts;
};

struct ConnectionSettings {
  ServerTimeouts timeouts = {};
  absl::Duration lock_timeout = absl::Seconds(5);
  // Every transaction READ ONLY, no parallel workers (they would be backends nobody granted), no JIT.
  bool read_only = false;
};

// One connection to a PostgreSQL server through libpq. Sessions run in UTC, ISO dates, UTF-8, with round-trip floats,
// whatever the role's or the database's defaults say. All methods but Cancel are called by one thread at a time; the
// destructor closes the connection, which rolls an open transaction back.
//
// Errors are those of postgres_error.h: one line, with the SQLSTATE, and never with the connection string.
class Connection {
 public:
  // InvalidArgument for what Open could not read. Connects nowhere.
  static absl::Status CheckDsn(const std::string& dsn);
  // `dsn` is a postgresql:// or postgres:// URI. Unavailable if the server cannot be reached, Unauthenticated if it
  // refuses the login.
  static absl::StatusOr<std::unique_ptr<Connection>> Open(const std::string& dsn, const SessionOptions& options,
                                                          const ConnectionSettings& settings);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // One statement that returns rows. `params` are $1, $2, ... as text.
  absl::StatusOr<std::vector<Row>> Execute(std::string_view sql, const std::vector<Text>& params = {});
  // The single row of a statement; Internal if it returns another number of rows.
  absl::StatusOr<Row> ExecuteRow(std::string_view sql, const std::vector<Text>& params = {});
  // One statement whose rows do not matter; returns the number of rows it affected (0 where there is none).
  absl::StatusOr<int64_t> ExecuteCommand(std::string_view sql, const std::vector<Text>& params = {});
  // The columns `sql` would return; it is parsed and analysed, not run.
  absl::StatusOr<std::vector<ResultColumn>> DescribeStatement(std::string_view sql);

  // COPY ... TO STDOUT. ReadCopy returns the next message, valid until the next call; nullopt after the last, when the
  // server has said that the copy is complete. An error means that what was read is not the whole.
  absl::Status BeginCopyOut(std::string_view sql);
  absl::StatusOr<std::optional<std::string_view>> ReadCopy();
  // Gives up a copy that is not read to its end; the transaction around it is failed then.
  void AbandonCopyOut();

  // COPY ... FROM STDIN. Data may be cut anywhere. EndCopyIn returns the number of rows copied; AbandonCopyIn fails the
  // copy, and with it the transaction.
  absl::Status BeginCopyIn(std::string_view sql);
  absl::Status WriteCopy(std::string_view data);
  absl::StatusOr<int64_t> EndCopyIn();
  void AbandonCopyIn();

  // Any thread, any time; returns at once. The statement that runs, and every later one, ends with Cancelled.
  void Cancel();
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

  // False once the connection is known to be broken.
  bool alive() const;
  // 150020 for 15.20.
  int server_version() const;
  int backend_pid() const;
  const ServerTimeouts& timeouts() const { return settings_.timeouts; }

 private:
  struct ResultDeleter {
    void operator()(pg_result* result) const;
  };
  using Result = std::unique_ptr<pg_result, ResultDeleter>;
  class Busy;

  explicit Connection(ConnectionSettings settings) : settings_(settings) {}
  absl::Status Configure();
  absl::StatusOr<Result> Run(std::string_view sql, const std::vector<Text>& params);
  absl::Status ErrorOf(const pg_result* result) const;
  // Reads what is left of the results of a statement; the first error among them.
  absl::StatusOr<Result> Drain();
  void CancelLoop();

  const ConnectionSettings settings_;
  pg_conn* connection_ = nullptr;
  pg_cancel* cancel_ = nullptr;
  char* copy_buffer_ = nullptr;
  std::atomic<bool> cancelled_ = false;
  absl::Mutex cancel_mutex_;
  // A statement or a copy is under way.
  bool busy_ ABSL_GUARDED_BY(cancel_mutex_) = false;
  bool closing_ ABSL_GUARDED_BY(cancel_mutex_) = false;
  std::optional<std::thread> cancel_thread_ ABSL_GUARDED_BY(cancel_mutex_);
};

}  // namespace tidemark::postgres
