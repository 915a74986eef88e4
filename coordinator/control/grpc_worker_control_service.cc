#include "coordinator/control/grpc_worker_control_service.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "common/base/status_macros.h"
#include "common/model/duration.h"
#include "common/rpc/grpc_caller.h"
#include "common/rpc/grpc_status.h"
#include "grpcpp/grpcpp.h"
#include "tidemark/v1/worker_control.grpc.pb.h"

namespace tidemark::coordinator {
namespace {

constexpr absl::Duration kLongestPoll = absl::Seconds(30);
// How soon it is seen that the caller has gone.
constexpr absl::Duration kSlice = absl::Milliseconds(250);

template <typename Response>
grpc::Status Reply(absl::StatusOr<Response> result, Response* response) {
  if (!result.ok()) return ToGrpcStatus(result.status());
  *response = *std::move(result);
  return grpc::Status::OK;
}

// The result of `call`, for a caller who may know connection strings.
template <typename Call>
std::invoke_result_t<Call> ForWorker(const grpc::ServerContext& context, const Call& call) {
  TM_RETURN_IF_ERROR(MayBeWorker(CallerOf(context)));
  return call();
}

class GrpcWorkerControlService final : public v1::WorkerControlService::Service {
 public:
  explicit GrpcWorkerControlService(Coordinator* coordinator) : coordinator_(coordinator) {}

  grpc::Status Register(grpc::ServerContext* context, const v1::RegisterRequest* request,
                        v1::RegisterResponse* response) override {
    return Reply(ForWorker(*context, [&] { return coordinator_->Register(*request); }), response);
  }

  grpc::Status LeaseTasks(grpc::ServerContext* context, const v1::LeaseTasksRequest* request,
                          v1::LeaseTasksResponse* response) override {
    const absl::Duration deadline =
        coordinator_->clock().Monotonic() + std::min(FromProto(request->wait()), kLongestPoll);
    while (true) {
      // A task must not be leased to a caller that is not there to take it.
      if (context->IsCancelled()) return grpc::Status(grpc::StatusCode::CANCELLED, "the worker has gone");
      const uint64_t seen = coordinator_->version();
      auto lease = ForWorker(*context, [&] { return coordinator_->LeaseTasks(*request); });
      const bool says_something = lease.ok() && SaysSomething(*lease);
      const absl::Duration left = deadline - coordinator_->clock().Monotonic();
      if (!lease.ok() || says_something || left <= absl::ZeroDuration()) return Reply(std::move(lease), response);
      coordinator_->WaitForChange(seen, std::min(left, kSlice));
    }
  }

  grpc::Status Heartbeat(grpc::ServerContext* context, const v1::HeartbeatRequest* request,
                         v1::HeartbeatResponse* response) override {
    return Reply(ForWorker(*context, [&] { return coordinator_->Heartbeat(*request); }), response);
  }

  grpc::Status CompleteTask(grpc::ServerContext* context, const v1::CompleteTaskRequest* request,
                            v1::CompleteTaskResponse* response) override {
    return Reply(ForWorker(*context, [&] { return coordinator_->CompleteTask(*request); }), response);
  }

 private:
  Coordinator* const coordinator_;
};

}  // namespace

std::unique_ptr<grpc::Service> NewWorkerControlService(Coordinator* coordinator) {
  return std::make_unique<GrpcWorkerControlService>(coordinator);
}

}  // namespace tidemark::coordinator
