#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace tidemark::test {

// A real Redis on a free loopback port in a temporary folder, which keeps nothing on disk; stopped by process id and
// removed with its folder at destruction.
class RedisServer {
 public:
  // With a password, clients need it; empty: none.
  static absl::StatusOr<std::unique_ptr<RedisServer>> Start(const std::string& password = "");

  int port() const { return port_; }
  // redis://[:PASSWORD@]127.0.0.1:PORT
  std::string Url() const;

  // Kills it; its port refuses connections then.
  void Stop();
  // Starts it again on its port, empty.
  absl::Status Restart();
  // Removes every key.
  void Flush();
  // Stops answering (SIGSTOP) while the kernel still accepts connections for it, and goes on.
  void Pause();
  void Resume();

  // What redis-cli prints for a command, without the last line's end. Aborts the test process if Redis does not answer.
  std::string Command(const std::vector<std::string>& command) const;

 private:
  explicit RedisServer(const std::string& password) : password_(password) {}
  // Unavailable if the port was taken meanwhile.
  absl::Status Launch();

  const std::string password_;
  TempDir directory_;
  int port_ = 0;
  // Declared after the folder: the server ends before its folder goes.
  std::unique_ptr<Process> process_;
};

}  // namespace tidemark::test
