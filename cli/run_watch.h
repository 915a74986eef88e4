#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cli/console.h"
#include "cli/embedded_cluster.h"
#include "cli/progress_bar.h"
#include "cli/signal_watcher.h"
#include "common/base/clock.h"

namespace tidemark::cli {

// Accompanies runs of an embedded cluster to their end: shows the bar, says what goes wrong and is tried again, cancels
// the runs at SIGINT and drains at SIGTERM.
class RunWatch {
 public:
  // All must outlive the watch.
  RunWatch(EmbeddedCluster* cluster, Console* console, const SignalWatcher* signals, const Clock* clock)
      : cluster_(*cluster), console_(*console), signals_(*signals), clock_(*clock) {}

  enum class End {
    kAllEnded,
    // All ended, some of them because they were cancelled by SIGINT.
    kInterrupted,
    // SIGTERM: what was leased is done; some runs are not.
    kDrained,
  };

  // Calls `ended` for each run as soon as it has ended.
  absl::StatusOr<End> Await(const std::vector<std::string>& run_ids,
                            const std::function<void(const coordinator::RunRecord& run)>& ended);

 private:
  absl::Status Report(std::set<std::string>& open, const std::function<void(const coordinator::RunRecord& run)>& ended);
  void ShowProgress(const std::vector<coordinator::RunProgress>& runs, absl::Duration elapsed);
  void Cancel(const std::set<std::string>& open);
  void Drain();

  EmbeddedCluster& cluster_;
  Console& console_;
  const SignalWatcher& signals_;
  const Clock& clock_;
  ProgressBar bar_;
  absl::Duration started_ = absl::ZeroDuration();
  // Last error said of each run.
  std::map<std::string, std::string> errors_;
};

}  // namespace tidemark::cli
