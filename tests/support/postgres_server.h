#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace tidemark::test {

// A real PostgreSQL on a free loopback port in a temporary folder, stopped by process id and removed with its folder at
// destruction. The superuser is `postgres`, trust authentication, fsync off unless asked for. Runs as the system user
// `postgres` when the tests run as root (PostgreSQL refuses to run as root).
class PostgresServer {
 public:
  struct Options {
    // Lines of postgresql.conf, e.g. "max_prepared_transactions = 4".
    std::vector<std::string> settings;
  };

  static absl::StatusOr<std::unique_ptr<PostgresServer>> Start(const Options& options);
  static absl::StatusOr<std::unique_ptr<PostgresServer>> Start() { return Start(Options()); }
  // A hot standby that streams from `primary`, with its options and these besides. The primary must outlive it.
  static absl::StatusOr<std::unique_ptr<PostgresServer>> StartStandby(const PostgresServer& primary,
                                                                      const Options& options);
  // One server shared by all tests of this process, started at the first call; dies with the process.
  static PostgresServer& Shared();
  ~PostgresServer();

  // postgresql://postgres@127.0.0.1:PORT/DATABASE
  std::string Dsn(std::string_view database = "postgres") const;
  int port() const { return port_; }

  // kill -9 of the server; returns once its sessions have noticed and ended.
  void KillHard();
  // Starts it again after KillHard, on the same port and data.
  absl::Status StartAgain();

  // Creates an empty database with a fresh name and returns its DSN.
  std::string NewDatabase();

 private:
  explicit PostgresServer(const Options& options) : options_(options), directory_(kParentDirectory) {}

  // On a free port, whichever is still free when the server takes it.
  absl::Status LaunchSomewhere();
  // Writes the configuration for port_ and starts the server on the data folder; Unavailable if the port was taken
  // meanwhile.
  absl::Status Launch();

  // Traversable by the system user `postgres`, and short enough for a socket's path, which TMPDIR may not be.
  static constexpr std::string_view kParentDirectory = "/tmp";

  const Options options_;
  TempDir directory_;
  int port_ = 0;
  // Declared after the folder: the server ends before its folder goes.
  std::unique_ptr<Process> process_;
};

// Runs statements, separated by semicolons, on a connection of their own (several make one transaction, unless they say
// BEGIN); aborts the test process with the server's message on an error.
void Exec(const std::string& dsn, const std::string& sql);
// Rows of text cells ("NULL" for NULL) of one query.
std::vector<std::vector<std::string>> Query(const std::string& dsn, const std::string& sql);
// First cell of the first row.
std::string Scalar(const std::string& dsn, const std::string& sql);

}  // namespace tidemark::test
