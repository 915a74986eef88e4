#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/rng.h"
#include "common/config/project.h"
#include "common/telemetry/metric_registry.h"
#include "coordinator/run/coordinator.h"
#include "coordinator/server/coordinator_server.h"
#include "coordinator/store/metadata_store.h"
#include "worker/agent/coordinator_client.h"
#include "worker/agent/worker_agent.h"
#include "worker/agent/worker_metrics.h"
#include "worker/connector/connector.h"

namespace tidemark::cli {

// Where the state of a project lives: the folder .tidemark beside its file.
std::string StateDirectory(const std::string& project_file);
std::string StateFile(const std::string& project_file);

// A coordinator and its workers in this process, speaking WorkerControlService over in-process channels; with ports for
// others where it is told to.
class EmbeddedCluster {
 public:
  struct Options {
    int workers = 1;
    // Tasks at once, per worker.
    int slots = 4;
    // Of the whole process.
    int64_t memory_bytes = int64_t{1} << 30;
    // False: looks only. Unfinished runs of an earlier process stay as they are, no run can be started, and where there
    // was no state, there is none afterwards.
    bool resume = true;
    // Runs what the jobs' schedules and the triggers of the state ask for, and disables the jobs of the state that the
    // project does not name.
    bool schedule = false;
    // HOST:PORT of the admin services and of /metrics; port 0 takes a free one. Empty: not served.
    std::string admin_listen;
    std::string metrics_listen;
    // As in coordinator::CoordinatorServerOptions; `log` hears of the workers' events too.
    std::function<void(const std::string& line)> log;
    std::function<void(const coordinator::RunRecord& run)> run_ended;
    // As in WorkerAgent::Options.
    std::function<std::string(std::string_view text)> redact;
  };

  // Opens the state, makes the project known and starts everything; unfinished runs of an earlier process go on at
  // once. This process owns every file: whatever worker a connection names, the embedded ones use it.
  // FailedPrecondition names the process that holds the state; Unavailable, a port that cannot be listened on.
  // `connectors` must outlive the cluster.
  static absl::StatusOr<std::unique_ptr<EmbeddedCluster>> Start(const Project& project,
                                                                const ConnectorRegistry* connectors,
                                                                const Options& options);
  // Stops the workers, then the coordinator; unfinished runs stay unfinished.
  ~EmbeddedCluster();

  coordinator::Coordinator& coordinator() { return server_->coordinator(); }
  // HOST:PORT with the real ports; empty where nothing is served.
  std::string admin_address() const { return server_->admin_address(); }
  std::string metrics_address() const { return server_->metrics_address(); }
  // The runs that an earlier process left unfinished, as it left them, oldest first.
  const std::vector<coordinator::RunRecord>& unfinished_runs() const { return unfinished_runs_; }

  // The jobs that the start has disabled, by name.
  const std::vector<std::string>& disabled_jobs() const { return disabled_jobs_; }

  // Lets the workers finish what they have leased and take nothing new. DeadlineExceeded if that took longer.
  absl::Status Drain(absl::Duration deadline);

 private:
  EmbeddedCluster();
  struct Scratch;

  absl::Status StartCoordinator(const Project& project, const Options& options);
  absl::Status StartWorkers(const std::string& spill_directory, const ConnectorRegistry* connectors,
                            const Options& options);

  SystemClock clock_;
  Rng rng_;
  // In the order of their making: each uses those above it.
  std::shared_ptr<const Scratch> scratch_;
  MetricRegistry registry_;
  WorkerMetrics worker_metrics_;
  std::unique_ptr<coordinator::MetadataStore> store_;
  std::unique_ptr<coordinator::CoordinatorServer> server_;
  std::vector<std::unique_ptr<CoordinatorClient>> clients_;
  std::vector<std::unique_ptr<WorkerAgent>> workers_;
  MetricRegistry::CollectHook watch_;
  std::vector<coordinator::RunRecord> unfinished_runs_;
  std::vector<std::string> disabled_jobs_;
};

}  // namespace tidemark::cli
