#include "cli/embedded_cluster.h"

#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/grpc_in_process_server.h"
#include "cli/version.h"
#include "common/base/status_macros.h"
#include "worker/agent/grpc_coordinator_client.h"

namespace tidemark::cli {
namespace {

// The file lock of the state lets one process in, so that whoever held the leader's lease before is dead: all of them
// share a name.
constexpr char kHolder[] = "embedded cluster";

}  // namespace

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
  const std::string directory = StateDirectory(project.file);
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error)
    return absl::PermissionDeniedError(
        absl::StrCat(directory, ": cannot make the folder of the state: ", error.message()));
  TM_ASSIGN_OR_RETURN(cluster->store_, coordinator::OpenSqliteStore(StateFile(project.file), &cluster->clock_));
  TM_ASSIGN_OR_RETURN(cluster->unfinished_runs_, cluster->store_->ListUnfinishedRuns());

  coordinator::CoordinatorOptions coordinator_options;
  coordinator_options.store = cluster->store_.get();
  coordinator_options.clock = &cluster->clock_;
  coordinator_options.rng = &cluster->rng_;
  coordinator_options.holder = kHolder;
  coordinator_options.workers_died_with_us = true;
  coordinator_options.resume = options.resume;
  TM_ASSIGN_OR_RETURN(cluster->coordinator_, coordinator::Coordinator::Start(coordinator_options));
  std::vector<v1::ConnectionSpec> connections = project.connections;
  for (v1::ConnectionSpec& connection : connections) connection.clear_worker();
  TM_RETURN_IF_ERROR(cluster->coordinator_->ApplyProject(connections, project.jobs));
  cluster->ticker_ = std::make_unique<coordinator::Ticker>(cluster->coordinator_.get());
  cluster->server_ = std::make_unique<InProcessServer>(cluster->coordinator_.get());
  TM_RETURN_IF_ERROR(cluster->StartWorkers(directory + "/spill", connectors, options));
  return cluster;
}

absl::Status EmbeddedCluster::StartWorkers(const std::string& spill_directory, const ConnectorRegistry* connectors,
                                           const Options& options) {
  for (int i = 1; i <= options.workers; ++i) {
    clients_.push_back(NewGrpcCoordinatorClient(server_->Channel()));
    WorkerAgent::Options worker;
    worker.worker_id = absl::StrCat("embedded-", i);
    worker.slots = options.slots;
    worker.memory_bytes = options.memory_bytes / options.workers;
    worker.spill_dir = spill_directory;
    worker.version = kVersion;
    workers_.push_back(
        std::make_unique<WorkerAgent>(std::move(worker), connectors, clients_.back().get(), &clock_, &rng_));
    TM_RETURN_IF_ERROR(workers_.back()->Start());
  }
  return absl::OkStatus();
}

EmbeddedCluster::EmbeddedCluster() : rng_(Rng::EntropySeed()) {}

EmbeddedCluster::~EmbeddedCluster() {
  for (const std::unique_ptr<WorkerAgent>& worker : workers_) worker->Stop();
  // Before the server: held calls end at once.
  if (coordinator_ != nullptr) coordinator_->Shutdown();
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
