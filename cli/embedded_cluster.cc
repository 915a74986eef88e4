#include "cli/embedded_cluster.h"

#include <stdlib.h>

#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/version.h"
#include "common/telemetry/metrics.h"
#include "worker/agent/grpc_coordinator_client.h"

namespace tidemark::cli {
namespace {

// The file lock of the state lets one process in, so that whoever held the leader's lease before is dead: all of them
// share a name.
constexpr char kHolder[] = "embedded cluster";

}  // namespace

// A folder for a look that must leave nothing behind.
struct EmbeddedCluster::Scratch {
  static absl::StatusOr<std::shared_ptr<const Scratch>> Make() {
    std::error_code error;
    std::string name = (std::filesystem::temp_directory_path(error) / "tidemark-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) {
      return absl::PermissionDeniedError(absl::StrCat("no temporary folder can be made as ", name));
    }
    return std::shared_ptr<const Scratch>(new Scratch{name});
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }

  const std::string path;
};

std::string StateDirectory(const std::string& project_file) {
  std::error_code ignored;
  const std::filesystem::path absolute = std::filesystem::absolute(project_file, ignored).lexically_normal();
  return (absolute.parent_path() / ".tidemark").string();
}

std::string StateFile(const std::string& project_file) { return StateDirectory(project_file) + "/state.db"; }

absl::StatusOr<std::unique_ptr<EmbeddedCluster>> EmbeddedCluster::Start(const Project& project,
                                                                        const ConnectorRegistry* connectors,
                                                                        const Options& options) {
  auto cluster = std::unique_ptr<EmbeddedCluster>(new EmbeddedCluster());
  std::string directory = StateDirectory(project.file);
  std::error_code error;
  if (!options.resume && !std::filesystem::exists(StateFile(project.file), error)) {
    TM_ASSIGN_OR_RETURN(cluster->scratch_, Scratch::Make());
    directory = cluster->scratch_->path;
    cluster->store_ = coordinator::NewMemoryStore(&cluster->clock_);
  } else {
    std::filesystem::create_directories(directory, error);
    if (error)
      return absl::PermissionDeniedError(
          absl::StrCat(directory, ": cannot make the folder of the state: ", error.message()));
    TM_ASSIGN_OR_RETURN(cluster->store_, coordinator::OpenSqliteStore(StateFile(project.file), &cluster->clock_));
  }
  TM_ASSIGN_OR_RETURN(cluster->unfinished_runs_, cluster->store_->ListUnfinishedRuns());

  TM_RETURN_IF_ERROR(cluster->StartCoordinator(project, options));
  TM_RETURN_IF_ERROR(cluster->StartWorkers(directory + "/spill", connectors, options));
  return cluster;
}

absl::Status EmbeddedCluster::StartCoordinator(const Project& project, const Options& options) {
  std::vector<v1::ConnectionSpec> connections = project.connections;
  for (v1::ConnectionSpec& connection : connections) connection.clear_worker();
  coordinator::CoordinatorServerOptions server;
  server.store = store_.get();
  server.clock = &clock_;
  server.registry = &registry_;
  server.coordinator.rng = &rng_;
  server.coordinator.holder = kHolder;
  server.coordinator.workers_died_with_us = true;
  server.coordinator.resume = options.resume;
  server.coordinator.schedule = options.schedule;
  server.admin_listen = options.admin_listen;
  server.metrics_listen = options.metrics_listen;
  server.version = Version();
  server.connections_stored = false;
  server.prepare = [&](coordinator::Coordinator& coordinator) -> absl::Status {
    if (options.schedule) {
      TM_ASSIGN_OR_RETURN(disabled_jobs_, coordinator.DisableOthers(project.jobs));
    }
    return coordinator.ApplyProject(connections, project.jobs);
  };
  server.log = options.log;
  server.run_ended = options.run_ended;
  TM_ASSIGN_OR_RETURN(server_, coordinator::CoordinatorServer::Start(std::move(server)));
  return absl::OkStatus();
}

absl::Status EmbeddedCluster::StartWorkers(const std::string& spill_directory, const ConnectorRegistry* connectors,
                                           const Options& options) {
  for (int i = 1; i <= options.workers; ++i) {
    clients_.push_back(NewGrpcCoordinatorClient(server_->WorkerChannel()));
    WorkerAgent::Options worker;
    worker.worker_id = absl::StrCat("embedded-", i);
    worker.slots = options.slots;
    worker.memory_bytes = options.memory_bytes / options.workers;
    worker.spill_dir = spill_directory;
    worker.version = Version();
    worker.log = options.log;
    worker.redact = options.redact;
    worker.attempt_ended = [this](const v1::Task& task, const v1::CompleteTaskRequest& outcome,
                                  const v1::TaskProgress& progress) {
      worker_metrics_.AttemptEnded(task, outcome, progress);
    };
    workers_.push_back(
        std::make_unique<WorkerAgent>(std::move(worker), connectors, clients_.back().get(), &clock_, &rng_));
    TM_RETURN_IF_ERROR(workers_.back()->Start());
  }
  std::vector<const WorkerAgent*> agents;
  for (const std::unique_ptr<WorkerAgent>& worker : workers_) agents.push_back(worker.get());
  watch_ = worker_metrics_.Watch(std::move(agents));
  return absl::OkStatus();
}

EmbeddedCluster::EmbeddedCluster() : rng_(Rng::EntropySeed()), worker_metrics_(&registry_) {
  registry_.Get(metrics::kBuildInfo, Version()).Set(1);
}

EmbeddedCluster::~EmbeddedCluster() {
  for (const std::unique_ptr<WorkerAgent>& worker : workers_) worker->Stop();
  server_.reset();
}

absl::Status EmbeddedCluster::Drain(absl::Duration deadline) {
  std::vector<absl::Status> results(workers_.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < workers_.size(); ++i) {
    threads.emplace_back([&, i] { results[i] = workers_[i]->Drain(deadline); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& result : results) TM_RETURN_IF_ERROR(result);
  return absl::OkStatus();
}

}  // namespace tidemark::cli
