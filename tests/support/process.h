#pragma once

#include <sys/types.h>

#include <csignal>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace tidemark::test {

struct ProcessOptions {
  // Added to the environment of this process.
  std::map<std::string, std::string> environment;
  // Empty: that of this process.
  std::string working_directory;
  // System user to become; empty: stay. Needs root.
  std::string user;
  // What the child gets when this process dies, however it dies.
  int death_signal = SIGKILL;
};

// A child program with its stdout and stderr captured and no stdin. It never outlives this process. Thread-safe but for
// destruction and Wait, which belong to one thread.
class Process {
 public:
  // The program is found by PATH unless its name holds a slash. An error of exec is returned here, not seen as an exit.
  static absl::StatusOr<std::unique_ptr<Process>> Start(const std::vector<std::string>& command,
                                                        const ProcessOptions& options = {});
  // Kills it with SIGKILL if it still runs.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int signal);
  // kill -9, and waits until it is gone.
  void KillHard();

  // The exit code, or 128 + the signal that ended it. DeadlineExceeded if it still runs; it may then be waited for
  // again.
  absl::StatusOr<int> Wait(absl::Duration timeout);

  // All it has written so far.
  std::string out() const;
  std::string err() const;
  // Returns once stdout and stderr together hold `text`; DeadlineExceeded, or FailedPrecondition if it ended without
  // writing it.
  absl::Status WaitForOutput(const std::string& text, absl::Duration timeout);

 private:
  Process() = default;

  pid_t pid_ = -1;
  int pid_fd_ = -1;
  int out_fd_ = -1;
  int err_fd_ = -1;
  // -1 while it has not been reaped.
  int exit_code_ = -1;
};

struct ProcessResult {
  int exit_code = 0;
  std::string out;
  std::string err;
};

// Runs it to its end. DeadlineExceeded, with what it wrote, if it takes longer; it is killed then.
absl::StatusOr<ProcessResult> RunProcess(const std::vector<std::string>& command, absl::Duration timeout,
                                         const ProcessOptions& options = {});

}  // namespace tidemark::test
