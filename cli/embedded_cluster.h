#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/rng.h"
#include "common/config/project.h"
#include "coordinator/run/coordinator.h"
#include "coordinator/run/ticker.h"
#include "coordinator/store/metadata_store.h"
#include "worker/agent/coordinator_client.h"
#include "worker/agent/worker_agent.h"
#include "worker/connector/connector.h"

namespace tidemark::cli {

class InProcessServer;

// Where the state of a project lives: the folder .tidemark beside its file.
std::string StateDirectory(const std::string& project_file);
std::string StateFile(const std::string& project_file);

// A coordinator and its workers in this process, speaking WorkerControlService over an in-process channel.
class EmbeddedCluster {
 public:
  struct Options {
    int workers = 1;
    // Tasks at once, per worker.
    int slots = 4;
    // Of the whole process.
    int64_t memory_bytes = int64_t{1} << 30;
    // False: looks only. Unfinished runs of an earlier process stay as they are, and no run can be started.
    bool resume = true;
  };

  // Opens the state, makes the project known and starts everything; unfinished runs of an earlier process go on at
  // once. This process owns every file: whatever worker a connection names, the embedded ones use it.
  // FailedPrecondition names the process that holds the state. `connectors` must outlive the cluster.
  static absl::StatusOr<std::unique_ptr<EmbeddedCluster>> Start(const Project& project,
                                                                const ConnectorRegistry* connectors,
                                                                const Options& options);
  // Stops the workers, then the coordinator; unfinished runs stay unfinished.
  ~EmbeddedCluster();

  coordinator::Coordinator& coordinator() { return *coordinator_; }
  // The runs that an earlier process left unfinished, as it left them, oldest first.
  const std::vector<coordinator::RunRecord>& unfinished_runs() const { return unfinished_runs_; }

  // Lets the workers finish what they have leased and take nothing new. DeadlineExceeded if that took longer.
  absl::Status Drain(absl::Duration deadline);

 private:
  EmbeddedCluster();
  absl::Status StartWorkers(const std::string& spill_directory, const ConnectorRegistry* connectors,
                            const Options& options);

  SystemClock clock_;
  Rng rng_;
  // In the order of their making: each uses those above it.
  std::unique_ptr<coordinator::MetadataStore> store_;
  std::unique_ptr<coordinator::Coordinator> coordinator_;
  std::unique_ptr<coordinator::Ticker> ticker_;
  std::unique_ptr<InProcessServer> server_;
  std::vector<std::unique_ptr<CoordinatorClient>> clients_;
  std::vector<std::unique_ptr<WorkerAgent>> workers_;
  std::vector<coordinator::RunRecord> unfinished_runs_;
};

}  // namespace tidemark::cli
