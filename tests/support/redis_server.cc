#include "tests/support/redis_server.h"

#include <cstdlib>
#include <iostream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/status_macros.h"
#include "tests/support/free_port.h"

namespace tidemark::test {

absl::StatusOr<std::unique_ptr<RedisServer>> RedisServer::Start(const std::string& password) {
  std::unique_ptr<RedisServer> server(new RedisServer(password));
  absl::Status launched;
  for (int attempt = 0; attempt < 5; ++attempt) {
    TM_ASSIGN_OR_RETURN(server->port_, FreePort());
    launched = server->Launch();
    if (launched.ok()) return server;
    if (!absl::IsUnavailable(launched)) break;
  }
  return launched;
}

absl::Status RedisServer::Launch() {
  ProcessOptions options;
  options.working_directory = directory_.path();
  std::vector<std::string> command = {"redis-server", "--bind", "127.0.0.1", "--port",         absl::StrCat(port_),
                                      "--save",       "",       "--dir",     directory_.path()};
  if (!password_.empty()) command.insert(command.end(), {"--requirepass", password_});
  TM_ASSIGN_OR_RETURN(process_, Process::Start(command, options));
  const absl::Status ready = process_->WaitForOutput("Ready to accept connections", absl::Seconds(60));
  if (!ready.ok() && absl::StrContains(ready.message(), "Address already in use")) {
    return absl::UnavailableError(ready.message());
  }
  return ready;
}

std::string RedisServer::Url() const {
  return absl::StrCat("redis://", password_.empty() ? "" : absl::StrCat(":", password_, "@"), "127.0.0.1:", port_);
}

void RedisServer::Stop() { process_.reset(); }

absl::Status RedisServer::Restart() {
  Stop();
  return Launch();
}

void RedisServer::Flush() { Command({"FLUSHALL"}); }

void RedisServer::Pause() { process_->Signal(SIGSTOP); }

void RedisServer::Resume() { process_->Signal(SIGCONT); }

std::string RedisServer::Command(const std::vector<std::string>& command) const {
  std::vector<std::string> cli = {"redis-cli", "-h", "127.0.0.1", "-p", absl::StrCat(port_)};
  cli.insert(cli.end(), command.begin(), command.end());
  ProcessOptions options;
  if (!password_.empty()) options.environment["REDISCLI_AUTH"] = password_;
  const absl::StatusOr<ProcessResult> result = RunProcess(cli, absl::Seconds(20), options);
  if (!result.ok() || result->exit_code != 0) {
    std::cerr << "redis-cli: " << (result.ok() ? result->out + result->err : result.status().ToString()) << std::endl;
    abort();
  }
  return std::string(absl::StripSuffix(result->out, "\n"));
}

}  // namespace tidemark::test
