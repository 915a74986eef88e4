#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/rpc/tls_files.h"
#include "common/telemetry/metric_registry.h"
#include "coordinator/run/coordinator.h"
#include "coordinator/store/metadata_store.h"

namespace grpc {
class ChannelInterface;
}  // namespace grpc

namespace tidemark::coordinator {

struct CoordinatorServerOptions {
  // `store`, `observer` and `clock` aside, which the server fills in. Without `schedule`, the triggers of the store are
  // left alone too.
  CoordinatorOptions coordinator;
  // All three must outlive the server.
  MetadataStore* store = nullptr;
  const Clock* clock = nullptr;
  MetricRegistry* registry = nullptr;
  // redis://...; empty: the job cache is in memory.
  std::string redis;
  // HOST:PORT each; port 0 takes a free one. Empty: not served, workers then live in this process alone.
  std::string admin_listen;
  std::string worker_listen;
  std::string metrics_listen;
  TlsFiles tls;
  std::string version;
  // Connections live in the store; else in memory, see Coordinator::ApplyProject.
  bool connections_stored = true;
  // Called once the coordinator leads, before it does anything that is due or serves anybody; an error is that of
  // Start. May be empty.
  std::function<absl::Status(Coordinator& coordinator)> prepare;
  // One line per event worth a person's attention. From any thread.
  std::function<void(const std::string& line)> log;
  // Hears of the end of every run, which is then no event of the log. From any thread, which it must not hold up; may
  // be empty.
  std::function<void(const RunRecord& run)> run_ended;
};

// A coordinator that leads, with everything around it: its clock's ticks, the triggers of the store, the job cache, the
// services on their ports, its metrics. What the daemon and the embedded cluster share. Thread-safe.
class CoordinatorServer {
 public:
  // Takes the leader's lease and serves. FailedPrecondition names the living leader (see IsLedByAnother), or a
  // port that cannot be listened on. Unavailable: the store does not answer.
  static absl::StatusOr<std::unique_ptr<CoordinatorServer>> Start(CoordinatorServerOptions options);
  // Stops with no grace.
  ~CoordinatorServer();
  CoordinatorServer(const CoordinatorServer&) = delete;
  CoordinatorServer& operator=(const CoordinatorServer&) = delete;

  Coordinator& coordinator();
  // HOST:PORT with the real ports; empty where nothing is served.
  std::string admin_address() const;
  std::string worker_address() const;
  std::string metrics_address() const;
  // WorkerControlService for a worker in this process; a channel of its own for each caller.
  std::shared_ptr<grpc::ChannelInterface> WorkerChannel();

  // Lets the calls under way end, for up to `grace`; gives the lease back. Runs that are not done stay for the next
  // leader. Once.
  void Stop(absl::Duration grace);

 private:
  class Impl;
  explicit CoordinatorServer(std::unique_ptr<Impl> impl);

  const std::unique_ptr<Impl> impl_;
};

}  // namespace tidemark::coordinator
