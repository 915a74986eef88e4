#include "coordinator/server/coordinator_server.h"

#include <unistd.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/telemetry/metrics_server.h"
#include "coordinator/admin/admin.h"
#include "coordinator/admin/grpc_admin_services.h"
#include "coordinator/cache/job_cache.h"
#include "coordinator/cache/store_job_list_source.h"
#include "coordinator/control/grpc_server.h"
#include "coordinator/control/grpc_worker_control_service.h"
#include "coordinator/run/ticker.h"
#include "coordinator/server/coordinator_metrics.h"
#include "coordinator/server/measured_store.h"
#include "coordinator/server/trigger_listener.h"
#include "grpcpp/impl/service_type.h"

namespace tidemark::coordinator {
namespace {

// Where others find who listens on `address`: one that stands for all of this machine's says nothing to them.
std::string ReachableAddress(const std::string& address) {
  const size_t colon = address.rfind(':');
  const std::string host = address.substr(0, colon);
  if (host != "0.0.0.0" && host != "[::]") return address;
  char name[256] = "";
  if (gethostname(name, sizeof(name) - 1) != 0) return address;
  return absl::StrCat(name, address.substr(colon));
}

// A worker's description of a source holds what it would be partitioned by, of tables of any width.
constexpr int kLargestReport = 64 << 20;

// A port that is taken stays so until someone changes the settings: not worth trying again.
absl::Status CannotListen(const absl::Status& status) {
  return absl::IsUnavailable(status) ? absl::FailedPreconditionError(status.message()) : status;
}

}  // namespace

class CoordinatorServer::Impl {
 public:
  explicit Impl(CoordinatorServerOptions options)
      : options_(std::move(options)),
        store_(options_.store, options_.clock, options_.registry),
        metrics_(options_.registry, options_.log, options_.run_ended),
        job_list_(&store_) {}

  ~Impl() { Stop(absl::ZeroDuration()); }

  absl::Status Start() {
    CoordinatorOptions options = options_.coordinator;
    options.store = &store_;
    options.clock = options_.clock;
    options.observer = &metrics_;
    TM_ASSIGN_OR_RETURN(coordinator_, Coordinator::Start(options));
    TM_ASSIGN_OR_RETURN(auto last_successes, store_.LastSuccesses());
    metrics_.Recall(std::move(last_successes));
    if (options_.prepare) TM_RETURN_IF_ERROR(options_.prepare(*coordinator_));
    JobCacheOptions cache;
    cache.source = &job_list_;
    cache.clock = options_.clock;
    cache.rng = options.rng;
    cache.observer = [this](JobCacheResult result) { metrics_.CacheAsked(result); };
    cache.outage.began = [this](const absl::Status& error) { metrics_.RedisFailed(error); };
    cache.outage.ended = [this](absl::Duration after) { metrics_.RedisAnswers(after); };
    if (options_.redis.empty()) {
      cache_ = NewMemoryJobCache(cache);
    } else {
      TM_ASSIGN_OR_RETURN(cache_, NewRedisJobCache(cache, options_.redis, coordinator_->cluster_id()));
    }
    control_service_ = NewWorkerControlService(coordinator_.get());
    GrpcServerOptions control;
    control.listen = options_.worker_listen;
    control.services = {control_service_.get()};
    control.max_request_bytes = kLargestReport;
    TM_ASSIGN_OR_RETURN(control_server_, Serve(std::move(control)));
    if (!options_.metrics_listen.empty()) {
      auto metrics_server = MetricsServer::Start(options_.metrics_listen, *options_.registry);
      if (!metrics_server.ok()) return CannotListen(metrics_server.status());
      metrics_server_ = *std::move(metrics_server);
    }
    if (!options_.admin_listen.empty()) TM_RETURN_IF_ERROR(ServeAdmin());
    watch_ = metrics_.Watch(coordinator_.get());
    ticker_ = std::make_unique<Ticker>(coordinator_.get());
    if (options.schedule) {
      listener_ = std::make_unique<TriggerListener>(coordinator_.get(), &store_, options_.log);
    }
    return absl::OkStatus();
  }

  void Stop(absl::Duration grace) {
    listener_.reset();
    // Held calls of workers end at once when the coordinator goes; those of people are let end before.
    if (admin_server_ != nullptr) admin_server_->Shutdown(grace);
    if (coordinator_ != nullptr) coordinator_->Shutdown();
    if (control_server_ != nullptr) control_server_->Shutdown(grace);
    metrics_server_.reset();
    ticker_.reset();
  }

  Coordinator& coordinator() { return *coordinator_; }
  std::string admin_address() const { return admin_server_ == nullptr ? "" : admin_server_->address(); }
  std::string worker_address() const { return control_server_->address(); }
  std::string metrics_address() const { return metrics_server_ == nullptr ? "" : metrics_server_->address(); }
  std::shared_ptr<grpc::ChannelInterface> WorkerChannel() { return control_server_->InProcessChannel(); }

 private:
  absl::StatusOr<std::unique_ptr<GrpcServer>> Serve(GrpcServerOptions options) {
    options.tls = options_.tls;
    options.clock = options_.clock;
    options.metrics = options_.registry;
    absl::StatusOr<std::unique_ptr<GrpcServer>> server = GrpcServer::Start(options);
    if (!server.ok()) return CannotListen(server.status());
    return server;
  }

  absl::Status ServeAdmin() {
    AdminOptions options;
    options.coordinator = coordinator_.get();
    options.store = &store_;
    options.jobs = cache_.get();
    options.version = options_.version;
    options.connections_stored = options_.connections_stored;
    admin_ = std::make_unique<Admin>(options);
    admin_services_ = NewAdminServices(admin_.get());
    GrpcServerOptions server;
    server.listen = options_.admin_listen;
    for (const auto& service : admin_services_) server.services.push_back(service.get());
    TM_ASSIGN_OR_RETURN(admin_server_, Serve(std::move(server)));
    admin_->SetAddress(ReachableAddress(admin_server_->address()));
    return absl::OkStatus();
  }

  const CoordinatorServerOptions options_;
  // In the order of their making: each uses those above it.
  MeasuredStore store_;
  CoordinatorMetrics metrics_;
  StoreJobListSource job_list_;
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<JobCache> cache_;
  std::unique_ptr<Admin> admin_;
  std::unique_ptr<grpc::Service> control_service_;
  std::vector<std::unique_ptr<grpc::Service>> admin_services_;
  std::unique_ptr<GrpcServer> control_server_;
  std::unique_ptr<GrpcServer> admin_server_;
  std::unique_ptr<MetricsServer> metrics_server_;
  MetricRegistry::CollectHook watch_;
  std::unique_ptr<Ticker> ticker_;
  std::unique_ptr<TriggerListener> listener_;
};

absl::StatusOr<std::unique_ptr<CoordinatorServer>> CoordinatorServer::Start(CoordinatorServerOptions options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  TM_RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<CoordinatorServer>(new CoordinatorServer(std::move(impl)));
}

CoordinatorServer::CoordinatorServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CoordinatorServer::~CoordinatorServer() = default;

Coordinator& CoordinatorServer::coordinator() { return impl_->coordinator(); }
std::string CoordinatorServer::admin_address() const { return impl_->admin_address(); }
std::string CoordinatorServer::worker_address() const { return impl_->worker_address(); }
std::string CoordinatorServer::metrics_address() const { return impl_->metrics_address(); }
std::shared_ptr<grpc::ChannelInterface> CoordinatorServer::WorkerChannel() { return impl_->WorkerChannel(); }
void CoordinatorServer::Stop(absl::Duration grace) { impl_->Stop(grace); }

}  // namespace tidemark::coordinator
