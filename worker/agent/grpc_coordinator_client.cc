#include "worker/agent/grpc_coordinator_client.h"

#include <grpc/support/time.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/rpc/grpc_status.h"
#include "tidemark/v1/worker_control.grpc.pb.h"

namespace tidemark {
namespace {

// Of a call that found nobody, how long it still looks for somebody.
constexpr absl::Duration kLook = absl::Milliseconds(200);

// gRPC counts deadlines on its own clock.
gpr_timespec In(absl::Duration time) {
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_micros(absl::ToInt64Microseconds(time), GPR_TIMESPAN));
}

class GrpcCoordinatorClient final : public CoordinatorClient {
 public:
  explicit GrpcCoordinatorClient(std::shared_ptr<grpc::ChannelInterface> channel)
      : channel_(std::move(channel)), stub_(v1::WorkerControlService::NewStub(channel_)) {}

  absl::StatusOr<v1::RegisterResponse> Register(const v1::RegisterRequest& request, absl::Duration timeout) override {
    return Call<v1::RegisterResponse>(&v1::WorkerControlService::Stub::Register, request, timeout, /*lease=*/false);
  }
  absl::StatusOr<v1::LeaseTasksResponse> LeaseTasks(const v1::LeaseTasksRequest& request,
                                                    absl::Duration timeout) override {
    return Call<v1::LeaseTasksResponse>(&v1::WorkerControlService::Stub::LeaseTasks, request, timeout, /*lease=*/true);
  }
  absl::StatusOr<v1::HeartbeatResponse> Heartbeat(const v1::HeartbeatRequest& request,
                                                  absl::Duration timeout) override {
    return Call<v1::HeartbeatResponse>(&v1::WorkerControlService::Stub::Heartbeat, request, timeout, /*lease=*/false);
  }
  absl::StatusOr<v1::CompleteTaskResponse> CompleteTask(const v1::CompleteTaskRequest& request,
                                                        absl::Duration timeout) override {
    return Call<v1::CompleteTaskResponse>(&v1::WorkerControlService::Stub::CompleteTask, request, timeout,
                                          /*lease=*/false);
  }

  void InterruptLease() override {
    absl::MutexLock lock(&mutex_);
    for (grpc::ClientContext* lease : leases_) lease->TryCancel();
  }

  void Shutdown() override {
    absl::MutexLock lock(&mutex_);
    shut_down_ = true;
    for (grpc::ClientContext* call : calls_) call->TryCancel();
  }

 private:
  template <class Response, class Request>
  absl::StatusOr<Response> Call(grpc::Status (v1::WorkerControlService::Stub::*method)(grpc::ClientContext*,
                                                                                       const Request&, Response*),
                                const Request& request, absl::Duration timeout, bool lease) {
    grpc::ClientContext context;
    context.set_deadline(In(timeout));
    {
      absl::MutexLock lock(&mutex_);
      if (shut_down_) return absl::CancelledError("the worker is stopping");
      calls_.insert(&context);
      if (lease) leases_.insert(&context);
    }
    Response response;
    const grpc::Status status = (stub_.get()->*method)(&context, request, &response);
    {
      absl::MutexLock lock(&mutex_);
      calls_.erase(&context);
      leases_.erase(&context);
    }
    if (status.ok()) return response;
    if (status.error_code() == grpc::StatusCode::UNAVAILABLE) Look(std::min(timeout, kLook));
    return FromGrpcStatus(status);
  }

  // A channel comes to know how its attempt to connect has ended only while somebody waits on it, and a call that fails
  // at once, since the attempt before has failed, does not wait: without this, each attempt is given up unseen.
  void Look(absl::Duration time) {
    const grpc_connectivity_state state = channel_->GetState(/*try_to_connect=*/true);
    // That of a channel within the process, which connects to nothing.
    if (state != GRPC_CHANNEL_SHUTDOWN) channel_->WaitForConnected(In(time));
  }

  const std::shared_ptr<grpc::ChannelInterface> channel_;
  const std::unique_ptr<v1::WorkerControlService::Stub> stub_;
  absl::Mutex mutex_;
  bool shut_down_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<grpc::ClientContext*> calls_ ABSL_GUARDED_BY(mutex_);
  std::set<grpc::ClientContext*> leases_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<CoordinatorClient> NewGrpcCoordinatorClient(std::shared_ptr<grpc::ChannelInterface> channel) {
  return std::make_unique<GrpcCoordinatorClient>(std::move(channel));
}

}  // namespace tidemark
