#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cli/console.h"
#include "cli/embedded_cluster.h"
#include "cli/progress_bar.h"
#include "cli/signal_watcher.h"
#include "cli/store_patience.h"
#include "common/base/clock.h"
#include "common/config/project.h"

namespace tidemark::cli {

// Says of the runs that an earlier process left unfinished which go on; their ids. `project` is what the cluster was
// started with.
std::vector<std::string> SayRecovering(const EmbeddedCluster& cluster, const Project& project, Console* console);

// Accompanies runs of an embedded cluster to their end: shows the bar, says what goes wrong and is tried again, cancels
// the runs at SIGINT, drains at SIGTERM, and gives up on a metadata store that keeps failing.
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
    // The metadata store has failed for too long; some runs are not done.
    kStoreFailed,
  };

  // Called for each run as soon as it has ended; `said` is the error that was said of it last.
  using Ended = std::function<void(const coordinator::RunRecord& run, std::string_view said)>;
  absl::StatusOr<End> Await(const std::vector<std::string>& run_ids, const Ended& ended);

 private:
  absl::Status Report(std::set<std::string>& open, const Ended& ended);
  void ShowProgress(const std::vector<coordinator::RunProgress>& runs, absl::Duration elapsed);
  // Asks for what has not been accepted yet.
  void Cancel(const std::set<std::string>& open);
  // Until the workers are done, or SIGINT has cancelled what they do.
  void Drain(std::set<std::string>& open, const Ended& ended);
  // Notes how the store fares; `looked` is what the runs were last read with.
  void WatchStore(const absl::Status& looked);

  EmbeddedCluster& cluster_;
  Console& console_;
  const SignalWatcher& signals_;
  const Clock& clock_;
  ProgressBar bar_;
  absl::Duration started_ = absl::ZeroDuration();
  // Last error said of each run.
  std::map<std::string, std::string> errors_;
  StorePatience store_;
  // Since when the runs cannot be read.
  std::optional<absl::Duration> unread_since_;
  bool cancelling_ = false;
  // Runs whose cancellation was not accepted, and what was said of it.
  std::set<std::string> uncancelled_;
  std::set<std::string> refusals_;
};

}  // namespace tidemark::cli
