#include <errno.h>
#include <grpc/support/time.h>
#include <grpcpp/grpcpp.h>
#include <string.h>

#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "cli/admin_client.h"
#include "tidemark/v1/cluster.grpc.pb.h"
#include "tidemark/v1/connection.grpc.pb.h"
#include "tidemark/v1/job.grpc.pb.h"
#include "tidemark/v1/run.grpc.pb.h"

namespace tidemark::cli {
namespace {

constexpr absl::Duration kBeat = absl::Milliseconds(100);
constexpr absl::Duration kPause = absl::Seconds(1);
constexpr absl::Duration kLongestStream = absl::Minutes(1);

// What a request id makes safe to repeat: a server that goes away for a moment is asked again.
constexpr char kServiceConfig[] = R"({"methodConfig": [{
  "name": [{"service": "tidemark.v1.JobService", "method": "RunJob"},
           {"service": "tidemark.v1.JobService", "method": "BackfillJob"},
           {"service": "tidemark.v1.RunService", "method": "RetryRun"},
           {"service": "tidemark.v1.RunService", "method": "ReplayLoad"}],
  "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 3,
                  "retryableStatusCodes": ["UNAVAILABLE"]}}]})";

// gRPC counts deadlines on its own clock.
gpr_timespec After(absl::Duration duration) {
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_micros(absl::ToInt64Microseconds(duration), GPR_TIMESPAN));
}

absl::Status CheckAddress(const std::string& address) {
  const size_t colon = address.rfind(':');
  int port = 0;
  if (colon == address.npos || colon == 0 || !absl::SimpleAtoi(address.substr(colon + 1), &port) || port < 1 ||
      port > 65535 || address.find('/') != address.npos) {
    return absl::InvalidArgumentError(absl::StrCat("--server: expected HOST:PORT, found \"", address, "\""));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadPem(const char* option, const std::string& file) {
  if (file.empty()) return std::string();
  errno = 0;
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream content;
  if (!stream || !(content << stream.rdbuf())) {
    return absl::InvalidArgumentError(
        absl::StrCat(option, ": ", file, ": cannot read it: ", strerror(errno == 0 ? EIO : errno)));
  }
  return content.str();
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> Credentials(const ServerOptions& server) {
  if (server.tls_ca.empty() && server.tls_cert.empty() && server.tls_key.empty())
    return grpc::InsecureChannelCredentials();
  if (server.tls_cert.empty() != server.tls_key.empty()) {
    return absl::InvalidArgumentError("--tls-cert and --tls-key go together");
  }
  grpc::SslCredentialsOptions options;
  TM_ASSIGN_OR_RETURN(options.pem_root_certs, ReadPem("--tls-ca", server.tls_ca));
  TM_ASSIGN_OR_RETURN(options.pem_cert_chain, ReadPem("--tls-cert", server.tls_cert));
  TM_ASSIGN_OR_RETURN(options.pem_private_key, ReadPem("--tls-key", server.tls_key));
  return grpc::SslCredentials(options);
}

}  // namespace

struct AdminClient::Services {
  std::string address;
  absl::Duration timeout;
  std::unique_ptr<v1::JobService::Stub> jobs;
  std::unique_ptr<v1::RunService::Stub> runs;
  std::unique_ptr<v1::ConnectionService::Stub> connections;
  std::unique_ptr<v1::ClusterService::Stub> cluster;

  absl::Status ToStatus(const grpc::Status& status) const {
    const auto code = static_cast<absl::StatusCode>(status.error_code());
    if (code == absl::StatusCode::kUnavailable || code == absl::StatusCode::kDeadlineExceeded) {
      return absl::Status(code, absl::StrCat(address, ": ", status.error_message()));
    }
    return absl::Status(code, status.error_message());
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
  TM_RETURN_IF_ERROR(CheckAddress(server.address));
  TM_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ChannelCredentials> credentials, Credentials(server));
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(kServiceConfig);
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  const std::shared_ptr<grpc::Channel> channel =
      grpc::CreateCustomChannel(absl::StrCat("dns:///", server.address), credentials, arguments);
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
