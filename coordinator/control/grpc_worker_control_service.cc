#include "coordinator/control/grpc_worker_control_service.h"

#include <algorithm>
#include <string>

#include "common/model/duration.h"
#include "grpcpp/grpcpp.h"
#include "tidemark/v1/worker_control.grpc.pb.h"

namespace tidemark::coordinator {
namespace {

constexpr absl::Duration kLongestPoll = absl::Seconds(30);
// How soon it is seen that the caller has gone.
constexpr absl::Duration kSlice = absl::Milliseconds(250);

// The canonical codes are numbered alike.
grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

template <typename Response>
grpc::Status Reply(absl::StatusOr<Response> result, Response* response) {
  if (!result.ok()) return ToGrpc(result.status());
  *response = *std::move(result);
  return grpc::Status::OK;
}

class GrpcWorkerControlService final : public v1::WorkerControlService::Service {
 public:
  explicit GrpcWorkerControlService(Coordinator* coordinator) : coordinator_(coordinator) {}

  grpc::Status Register(grpc::ServerContext* context, const v1::RegisterRequest* request,
                        v1::RegisterResponse* response) override {
    return Reply(coordinator_->Register(*request), response);
  }

  grpc::Status LeaseTasks(grpc::ServerContext* context, const v1::LeaseTasksRequest* request,
                          v1::LeaseTasksResponse* response) override {
    const absl::Duration deadline =
        coordinator_->clock().Monotonic() + std::min(FromProto(request->wait()), kLongestPoll);
    while (true) {
      // A task must not be leased to a caller that is not there to take it.
      if (context->IsCancelled()) return grpc::Status(grpc::StatusCode::CANCELLED, "the worker has gone");
      const uint64_t seen = coordinator_->version();
      absl::StatusOr<v1::LeaseTasksResponse> lease = coordinator_->LeaseTasks(*request);
      const bool says_something = lease.ok() && SaysSomething(*lease);
      const absl::Duration left = deadline - coordinator_->clock().Monotonic();
      if (!lease.ok() || says_something || left <= absl::ZeroDuration()) return Reply(std::move(lease), response);
      coordinator_->WaitForChange(seen, std::min(left, kSlice));
    }
  }

  grpc::Status Heartbeat(grpc::ServerContext* context, const v1::HeartbeatRequest* request,
                         v1::HeartbeatResponse* response) override {
    return Reply(coordinator_->Heartbeat(*request), response);
  }

  grpc::Status CompleteTask(grpc::ServerContext* context, const v1::CompleteTaskRequest* request,
                            v1::CompleteTaskResponse* response) override {
    return Reply(coordinator_->CompleteTask(*request), response);
  }

 private:
  Coordinator* const coordinator_;
};

}  // namespace

std::unique_ptr<grpc::Service> NewWorkerControlService(Coordinator* coordinator) {
  return std::make_unique<GrpcWorkerControlService>(coordinator);
}

}  // namespace tidemark::coordinator
