#include <grpc/support/time.h>
#include <grpcpp/grpcpp.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/admin_client.h"
#include "common/model/host_port.h"
#include "common/rpc/error_details.h"
#include "common/rpc/grpc_channel.h"
#include "common/rpc/grpc_status.h"
#include "tidemark/v1/cluster.grpc.pb.h"
#include "tidemark/v1/connection.grpc.pb.h"
#include "tidemark/v1/job.grpc.pb.h"
#include "tidemark/v1/run.grpc.pb.h"

namespace tidemark::cli {
namespace {

constexpr absl::Duration kBeat = absl::Milliseconds(100);
constexpr absl::Duration kPause = absl::Seconds(1);
constexpr absl::Duration kLongestStream = absl::Minutes(1);

// gRPC counts deadlines on its own clock.
gpr_timespec After(absl::Duration duration) {
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_micros(absl::ToInt64Microseconds(duration), GPR_TIMESPAN));
}

}  // namespace

struct AdminClient::Services {
  std::string address;
  absl::Duration timeout;
  std::unique_ptr<v1::JobService::Stub> jobs;
  std::unique_ptr<v1::RunService::Stub> runs;
  std::unique_ptr<v1::ConnectionService::Stub> connections;
  std::unique_ptr<v1::ClusterService::Stub> cluster;

  absl::Status ToStatus(const grpc::Status& grpc_status) const {
    const absl::Status status = FromGrpcStatus(grpc_status);
    if (!absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status)) return status;
    return WithDetails(absl::Status(status.code(), absl::StrCat(address, ": ", status.message())), DetailsOf(status));
  }

  template <class Stub, class Request, class Response>
  absl::StatusOr<Response> Call(const std::unique_ptr<Stub>& stub,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                                const Request& request, int patience = 1) const {
    grpc::ClientContext context;
    context.set_deadline(After(patience * timeout));
    Response response;
    const grpc::Status status = (stub.get()->*method)(&context, request, &response);
    if (!status.ok()) return ToStatus(status);
    return response;
  }
};

AdminClient::AdminClient(std::unique_ptr<Services> services) : services_(std::move(services)) {}
AdminClient::~AdminClient() = default;

absl::StatusOr<std::unique_ptr<AdminClient>> AdminClient::Connect(const ServerOptions& server, absl::Duration timeout) {
  if (!ParseHostPort(server.address)) {
    return absl::InvalidArgumentError(absl::StrCat("--server: expected HOST:PORT, found \"", server.address, "\""));
  }
  TM_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ChannelInterface> channel, NewChannel(server.address, server.tls));
  auto services = std::make_unique<Services>();
  services->address = server.address;
  services->timeout = timeout;
  services->jobs = v1::JobService::NewStub(channel);
  services->runs = v1::RunService::NewStub(channel);
  services->connections = v1::ConnectionService::NewStub(channel);
  services->cluster = v1::ClusterService::NewStub(channel);
  return std::unique_ptr<AdminClient>(new AdminClient(std::move(services)));
}

absl::StatusOr<v1::Job> AdminClient::Call(const v1::GetJobRequest& request) {
  return services_->Call(services_->jobs, &v1::JobService::Stub::GetJob, request);
}
absl::StatusOr<v1::ListJobsResponse> AdminClient::Call(const v1::ListJobsRequest& request) {
  return services_->Call(services_->jobs, &v1::JobService::Stub::ListJobs, request);
}
absl::StatusOr<v1::Job> AdminClient::Call(const v1::UpdateJobRequest& request) {
  return services_->Call(services_->jobs, &v1::JobService::Stub::UpdateJob, request);
}
absl::StatusOr<google::protobuf::Empty> AdminClient::Call(const v1::DeleteJobRequest& request) {
  return services_->Call(services_->jobs, &v1::JobService::Stub::DeleteJob, request);
}
absl::StatusOr<v1::Job> AdminClient::Call(const v1::PauseJobRequest& request) {
  return services_->Call(services_->jobs, &v1::JobService::Stub::PauseJob, request);
}
absl::StatusOr<v1::Job> AdminClient::Call(const v1::ResumeJobRequest& request) {
  return services_->Call(services_->jobs, &v1::JobService::Stub::ResumeJob, request);
}
absl::StatusOr<v1::Job> AdminClient::Call(const v1::AdoptJobRequest& request) {
  return services_->Call(services_->jobs, &v1::JobService::Stub::AdoptJob, request);
}
absl::StatusOr<v1::Run> AdminClient::Call(const v1::RunJobRequest& request) {
  return services_->Call(services_->jobs, &v1::JobService::Stub::RunJob, request);
}
absl::StatusOr<v1::Run> AdminClient::Call(const v1::BackfillJobRequest& request) {
  return services_->Call(services_->jobs, &v1::JobService::Stub::BackfillJob, request);
}
absl::StatusOr<v1::Run> AdminClient::Call(const v1::GetRunRequest& request) {
  return services_->Call(services_->runs, &v1::RunService::Stub::GetRun, request);
}
absl::StatusOr<v1::ListRunsResponse> AdminClient::Call(const v1::ListRunsRequest& request) {
  return services_->Call(services_->runs, &v1::RunService::Stub::ListRuns, request);
}
absl::StatusOr<v1::Run> AdminClient::Call(const v1::CancelRunRequest& request) {
  return services_->Call(services_->runs, &v1::RunService::Stub::CancelRun, request);
}
absl::StatusOr<v1::Run> AdminClient::Call(const v1::RetryRunRequest& request) {
  return services_->Call(services_->runs, &v1::RunService::Stub::RetryRun, request);
}
absl::StatusOr<v1::Run> AdminClient::Call(const v1::ReplayLoadRequest& request) {
  return services_->Call(services_->runs, &v1::RunService::Stub::ReplayLoad, request);
}
absl::StatusOr<v1::Connection> AdminClient::Call(const v1::GetConnectionRequest& request) {
  return services_->Call(services_->connections, &v1::ConnectionService::Stub::GetConnection, request);
}
absl::StatusOr<v1::ListConnectionsResponse> AdminClient::Call(const v1::ListConnectionsRequest& request) {
  return services_->Call(services_->connections, &v1::ConnectionService::Stub::ListConnections, request);
}
absl::StatusOr<v1::Connection> AdminClient::Call(const v1::UpdateConnectionRequest& request) {
  return services_->Call(services_->connections, &v1::ConnectionService::Stub::UpdateConnection, request);
}
absl::StatusOr<v1::TestConnectionResponse> AdminClient::Call(const v1::TestConnectionRequest& request) {
  return services_->Call(services_->connections, &v1::ConnectionService::Stub::TestConnection, request, /*patience=*/2);
}
absl::StatusOr<v1::ClusterStatus> AdminClient::Call(const v1::GetStatusRequest& request) {
  return services_->Call(services_->cluster, &v1::ClusterService::Stub::GetStatus, request);
}
absl::StatusOr<v1::ListWorkersResponse> AdminClient::Call(const v1::ListWorkersRequest& request) {
  return services_->Call(services_->cluster, &v1::ClusterService::Stub::ListWorkers, request);
}
absl::StatusOr<v1::Worker> AdminClient::Call(const v1::DrainWorkerRequest& request) {
  return services_->Call(services_->cluster, &v1::ClusterService::Stub::DrainWorker, request);
}

absl::Status AdminClient::WatchRun(const v1::WatchRunRequest& request, bool again,
                                   const std::function<bool(const v1::WatchRunResponse*)>& beat) {
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  // The events of the one call, in their order, are all that the queue has.
  bool ok = false;
  bool stopped = false;
  const auto next = [&] {
    void* tag = nullptr;
    while (queue.AsyncNext(&tag, &ok, After(kBeat)) == grpc::CompletionQueue::TIMEOUT) {
      if (stopped || beat(nullptr)) continue;
      stopped = true;
      context.TryCancel();
    }
    return ok;
  };
  if (again) {
    const gpr_timespec end = After(kPause);
    void* tag = nullptr;
    while (gpr_time_cmp(gpr_now(GPR_CLOCK_MONOTONIC), end) < 0) {
      queue.AsyncNext(&tag, &ok, After(kBeat));
      if (!beat(nullptr)) stopped = true;
      if (stopped) break;
    }
  }
  context.set_wait_for_ready(again);
  context.set_deadline(After(again ? services_->timeout : kLongestStream));
  if (stopped) context.TryCancel();
  v1::WatchRunResponse response;
  grpc::Status status;
  const auto reader = services_->runs->AsyncWatchRun(&context, request, &queue, nullptr);
  for (bool alive = next(); alive && !stopped;) {
    reader->Read(&response, nullptr);
    alive = next();
    if (!alive || stopped || beat(&response)) continue;
    stopped = true;
    context.TryCancel();
  }
  reader->Finish(&status, nullptr);
  next();
  queue.Shutdown();
  void* tag = nullptr;
  while (queue.Next(&tag, &ok)) continue;
  if (stopped) return absl::CancelledError("the watch was left");
  return status.ok() ? absl::OkStatus() : services_->ToStatus(status);
}

}  // namespace tidemark::cli
