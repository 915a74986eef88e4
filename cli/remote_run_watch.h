#pragma once

#include <string>

#include "absl/time/time.h"
#include "cli/admin_client.h"
#include "cli/commands.h"
#include "cli/progress_bar.h"
#include "cli/signal_watcher.h"
#include "common/base/clock.h"

namespace tidemark::cli {

// Accompanies a run of a server to its end: a bar on a terminal, a line now and then off one. Only watches: at SIGINT
// and SIGTERM the run goes on. Not thread-safe.
class RemoteRunWatch {
 public:
  // All must outlive the watch.
  RemoteRunWatch(AdminClient* client, const CommandContext* context, const SignalWatcher* signals, const Clock* clock)
      : client_(*client), context_(*context), signals_(*signals), clock_(*clock) {}

  // Prints the run, a resource name, when it has ended. Returns its exit code; kInterrupted for a watch that was left;
  // the error's if the server does not know the run or has not answered for a while.
  ExitCode Await(const std::string& run);

 private:
  bool Beat(const v1::WatchRunResponse* update);
  void SayProgress();
  void ShowBar();
  ExitCode Finish() const;

  AdminClient& client_;
  const CommandContext& context_;
  const SignalWatcher& signals_;
  const Clock& clock_;
  ProgressBar bar_;
  v1::WatchRunResponse last_;
  bool known_ = false;
  absl::Duration started_ = absl::ZeroDuration();
  absl::Duration updated_ = absl::ZeroDuration();
  // What was said last, and when.
  std::string said_phase_;
  std::string said_line_;
  std::string said_error_;
  absl::Duration said_ = absl::ZeroDuration();
};

// Of the end of a run.
ExitCode ExitCodeOf(const v1::Run& run);

}  // namespace tidemark::cli
