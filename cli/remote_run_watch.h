#pragma once

#include <functional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "cli/commands.h"
#include "cli/progress_bar.h"
#include "cli/signal_watcher.h"
#include "common/base/clock.h"
#include "tidemark/v1/run.pb.h"

namespace tidemark::cli {

// Accompanies a run of a server to its end: a bar on a terminal, a line now and then off one. Only watches: at SIGINT
// and SIGTERM the run goes on. Not thread-safe.
class RemoteRunWatch {
 public:
  // One stream, as AdminClient::WatchRun has it.
  using Stream = std::function<absl::Status(const v1::WatchRunRequest& request, bool again,
                                            const std::function<bool(const v1::WatchRunResponse*)>& beat)>;

  // All must outlive the watch.
  RemoteRunWatch(Stream stream, const CommandContext* context, const SignalWatcher* signals, const Clock* clock)
      : stream_(std::move(stream)), context_(*context), signals_(*signals), clock_(*clock) {}

  // Prints the run, a resource name, when it has ended. Returns its exit code; kInterrupted for a watch that was left;
  // the error's if the server does not know the run or has not answered for a while.
  ExitCode Await(const std::string& run);

 private:
  bool Beat(const v1::WatchRunResponse* update);
  void SayProgress();
  void ShowBar();
  ExitCode Finish() const;

  const Stream stream_;
  const CommandContext& context_;
  const SignalWatcher& signals_;
  const Clock& clock_;
  ProgressBar bar_;
  v1::WatchRunResponse last_;
  bool known_ = false;
  // On the stream of now.
  bool answered_ = false;
  absl::Duration started_ = absl::ZeroDuration();
  // What was said last, and when.
  std::string said_phase_;
  std::string said_line_;
  std::string said_error_;
  absl::Duration said_ = absl::ZeroDuration();
};

// Of the end of a run.
ExitCode ExitCodeOf(const v1::Run& run);

}  // namespace tidemark::cli
