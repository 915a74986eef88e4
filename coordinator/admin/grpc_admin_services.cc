#include "coordinator/admin/grpc_admin_services.h"

#include <algorithm>
#include <utility>

#include "common/rpc/error_details.h"
#include "common/rpc/grpc_caller.h"
#include "common/rpc/grpc_status.h"
#include "grpcpp/grpcpp.h"
#include "tidemark/v1/cluster.grpc.pb.h"
#include "tidemark/v1/connection.grpc.pb.h"
#include "tidemark/v1/job.grpc.pb.h"
#include "tidemark/v1/run.grpc.pb.h"

namespace tidemark::coordinator {
namespace {

// What calls that wait for a worker are given, at most.
constexpr absl::Duration kPatience = absl::Minutes(5);
constexpr absl::Duration kRetryAfter = absl::Seconds(1);

// Every error says why in a word that programs can tell, and when another try may do better. A coordinator that leads
// no more ends, and another serves in its place: for its callers it is away.
absl::Status Explained(absl::Status status) {
  ErrorDetails details = DetailsOf(status);
  if (IsNotLeader(status)) status = absl::UnavailableError(status.message());
  if (details.reason.empty()) details.reason = absl::StatusCodeToString(status.code());
  const bool again = absl::IsUnavailable(status) || absl::IsAborted(status) || absl::IsResourceExhausted(status);
  if (again && !details.retry_after.has_value()) details.retry_after = kRetryAfter;
  return WithDetails(std::move(status), details);
}

template <typename Response>
grpc::Status Reply(absl::StatusOr<Response> result, Response* response) {
  if (!result.ok()) return ToGrpcStatus(Explained(std::move(result).status()));
  *response = *std::move(result);
  return grpc::Status::OK;
}

grpc::Status Reply(absl::Status status) {
  return status.ok() ? grpc::Status::OK : ToGrpcStatus(Explained(std::move(status)));
}

std::string Actor(const grpc::ServerContext& context) { return CallerOf(context).name; }

// How long the caller waits, less what it takes to answer.
absl::Duration Patience(const grpc::ServerContext& context) {
  const gpr_timespec left =
      gpr_time_sub(gpr_convert_clock_type(context.raw_deadline(), GPR_CLOCK_MONOTONIC), gpr_now(GPR_CLOCK_MONOTONIC));
  const absl::Duration patience = absl::Seconds(left.tv_sec) + absl::Nanoseconds(left.tv_nsec) - absl::Milliseconds(50);
  return std::clamp(patience, absl::Milliseconds(1), kPatience);
}

// Valid while the call is.
Admin::Gone IsGone(const grpc::ServerContext& context) {
  return [&context] { return context.IsCancelled(); };
}

class JobServiceAdapter final : public v1::JobService::Service {
 public:
  explicit JobServiceAdapter(Admin* admin) : admin_(*admin) {}

  grpc::Status CreateJob(grpc::ServerContext* context, const v1::CreateJobRequest* request, v1::Job* job) override {
    return Reply(admin_.CreateJob(*request, Actor(*context)), job);
  }
  grpc::Status GetJob(grpc::ServerContext* context, const v1::GetJobRequest* request, v1::Job* job) override {
    return Reply(admin_.GetJob(*request), job);
  }
  grpc::Status ListJobs(grpc::ServerContext* context, const v1::ListJobsRequest* request,
                        v1::ListJobsResponse* response) override {
    return Reply(admin_.ListJobs(*request), response);
  }
  grpc::Status UpdateJob(grpc::ServerContext* context, const v1::UpdateJobRequest* request, v1::Job* job) override {
    return Reply(admin_.UpdateJob(*request, Actor(*context)), job);
  }
  grpc::Status DeleteJob(grpc::ServerContext* context, const v1::DeleteJobRequest* request,
                         google::protobuf::Empty* response) override {
    return Reply(admin_.DeleteJob(*request, Actor(*context)));
  }
  grpc::Status PauseJob(grpc::ServerContext* context, const v1::PauseJobRequest* request, v1::Job* job) override {
    return Reply(admin_.PauseJob(*request, Actor(*context)), job);
  }
  grpc::Status ResumeJob(grpc::ServerContext* context, const v1::ResumeJobRequest* request, v1::Job* job) override {
    return Reply(admin_.ResumeJob(*request, Actor(*context)), job);
  }
  grpc::Status AdoptJob(grpc::ServerContext* context, const v1::AdoptJobRequest* request, v1::Job* job) override {
    return Reply(admin_.AdoptJob(*request, Actor(*context)), job);
  }
  grpc::Status RunJob(grpc::ServerContext* context, const v1::RunJobRequest* request, v1::Run* run) override {
    return Reply(admin_.RunJob(*request, Actor(*context)), run);
  }
  grpc::Status BackfillJob(grpc::ServerContext* context, const v1::BackfillJobRequest* request, v1::Run* run) override {
    return Reply(admin_.BackfillJob(*request, Actor(*context)), run);
  }
  grpc::Status ValidateJob(grpc::ServerContext* context, const v1::ValidateJobRequest* request,
                           v1::ValidateJobResponse* response) override {
    return Reply(admin_.ValidateJob(*request), response);
  }
  grpc::Status PlanJob(grpc::ServerContext* context, const v1::PlanJobRequest* request,
                       v1::PlanJobResponse* response) override {
    return Reply(admin_.PlanJob(*request, Patience(*context), IsGone(*context)), response);
  }

 private:
  Admin& admin_;
};

class RunServiceAdapter final : public v1::RunService::Service {
 public:
  explicit RunServiceAdapter(Admin* admin) : admin_(*admin) {}

  grpc::Status GetRun(grpc::ServerContext* context, const v1::GetRunRequest* request, v1::Run* run) override {
    return Reply(admin_.GetRun(*request), run);
  }
  grpc::Status ListRuns(grpc::ServerContext* context, const v1::ListRunsRequest* request,
                        v1::ListRunsResponse* response) override {
    return Reply(admin_.ListRuns(*request, IsGone(*context)), response);
  }
  grpc::Status WatchRun(grpc::ServerContext* context, const v1::WatchRunRequest* request,
                        grpc::ServerWriter<v1::WatchRunResponse>* writer) override {
    return Reply(admin_.WatchRun(
        *request, [&](const v1::WatchRunResponse& response) { return writer->Write(response); }, IsGone(*context)));
  }
  grpc::Status ListTasks(grpc::ServerContext* context, const v1::ListTasksRequest* request,
                         v1::ListTasksResponse* response) override {
    return Reply(admin_.ListTasks(*request), response);
  }
  grpc::Status CancelRun(grpc::ServerContext* context, const v1::CancelRunRequest* request, v1::Run* run) override {
    return Reply(admin_.CancelRun(*request, Actor(*context)), run);
  }
  grpc::Status RetryRun(grpc::ServerContext* context, const v1::RetryRunRequest* request, v1::Run* run) override {
    return Reply(admin_.RetryRun(*request, Actor(*context)), run);
  }
  grpc::Status ReplayLoad(grpc::ServerContext* context, const v1::ReplayLoadRequest* request, v1::Run* run) override {
    return Reply(absl::UnimplementedError("ReplayLoad is not available in this version: use RetryRun"));
  }

 private:
  Admin& admin_;
};

class ConnectionServiceAdapter final : public v1::ConnectionService::Service {
 public:
  explicit ConnectionServiceAdapter(Admin* admin) : admin_(*admin) {}

  grpc::Status CreateConnection(grpc::ServerContext* context, const v1::CreateConnectionRequest* request,
                                v1::Connection* connection) override {
    return Reply(admin_.CreateConnection(*request, Actor(*context)), connection);
  }
  grpc::Status GetConnection(grpc::ServerContext* context, const v1::GetConnectionRequest* request,
                             v1::Connection* connection) override {
    return Reply(admin_.GetConnection(*request), connection);
  }
  grpc::Status ListConnections(grpc::ServerContext* context, const v1::ListConnectionsRequest* request,
                               v1::ListConnectionsResponse* response) override {
    return Reply(admin_.ListConnections(*request), response);
  }
  grpc::Status UpdateConnection(grpc::ServerContext* context, const v1::UpdateConnectionRequest* request,
                                v1::Connection* connection) override {
    return Reply(admin_.UpdateConnection(*request, Actor(*context)), connection);
  }
  grpc::Status DeleteConnection(grpc::ServerContext* context, const v1::DeleteConnectionRequest* request,
                                google::protobuf::Empty* response) override {
    return Reply(admin_.DeleteConnection(*request, Actor(*context)));
  }
  grpc::Status TestConnection(grpc::ServerContext* context, const v1::TestConnectionRequest* request,
                              v1::TestConnectionResponse* response) override {
    return Reply(admin_.TestConnection(*request, Patience(*context), IsGone(*context)), response);
  }

 private:
  Admin& admin_;
};

class ClusterServiceAdapter final : public v1::ClusterService::Service {
 public:
  explicit ClusterServiceAdapter(Admin* admin) : admin_(*admin) {}

  grpc::Status GetStatus(grpc::ServerContext* context, const v1::GetStatusRequest* request,
                         v1::ClusterStatus* status) override {
    return Reply(admin_.GetStatus(*request), status);
  }
  grpc::Status ListWorkers(grpc::ServerContext* context, const v1::ListWorkersRequest* request,
                           v1::ListWorkersResponse* response) override {
    return Reply(admin_.ListWorkers(*request), response);
  }
  grpc::Status DrainWorker(grpc::ServerContext* context, const v1::DrainWorkerRequest* request,
                           v1::Worker* worker) override {
    return Reply(admin_.DrainWorker(*request, Actor(*context)), worker);
  }
  grpc::Status ListAuditEvents(grpc::ServerContext* context, const v1::ListAuditEventsRequest* request,
                               v1::ListAuditEventsResponse* response) override {
    return Reply(admin_.ListAuditEvents(*request, IsGone(*context)), response);
  }

 private:
  Admin& admin_;
};

}  // namespace

std::vector<std::unique_ptr<grpc::Service>> NewAdminServices(Admin* admin) {
  std::vector<std::unique_ptr<grpc::Service>> services;
  services.push_back(std::make_unique<JobServiceAdapter>(admin));
  services.push_back(std::make_unique<RunServiceAdapter>(admin));
  services.push_back(std::make_unique<ConnectionServiceAdapter>(admin));
  services.push_back(std::make_unique<ClusterServiceAdapter>(admin));
  return services;
}

}  // namespace tidemark::coordinator
