#include "worker/agent/grpc_coordinator_client.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <thread>

#include "tidemark/v1/worker_control.grpc.pb.h"

namespace tidemark {
namespace {

// Answers every call but LeaseTasks, which it holds until its caller is gone.
class Service final : public v1::WorkerControlService::Service {
 public:
  grpc::Status Register(grpc::ServerContext* context, const v1::RegisterRequest* request,
                        v1::RegisterResponse* response) override {
    response->set_epoch(7);
    return grpc::Status::OK;
  }
  grpc::Status LeaseTasks(grpc::ServerContext* context, const v1::LeaseTasksRequest* request,
                          v1::LeaseTasksResponse* response) override {
    ++leases;
    while (!context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    return grpc::Status::CANCELLED;
  }
  grpc::Status CompleteTask(grpc::ServerContext* context, const v1::CompleteTaskRequest* request,
                            v1::CompleteTaskResponse* response) override {
    return {grpc::StatusCode::FAILED_PRECONDITION, "stale attempt of " + request->task_id()};
  }
  std::atomic<int> leases = 0;
};

class GrpcCoordinatorClientTest : public testing::Test {
 protected:
  GrpcCoordinatorClientTest() {
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    client_ = NewGrpcCoordinatorClient(server_->InProcessChannel(grpc::ChannelArguments()));
  }
  ~GrpcCoordinatorClientTest() override { server_->Shutdown(); }

  // A long poll that ends by itself only after a minute, and what `end` makes of it.
  absl::Status PollEndedBy(const std::function<void()>& end) {
    const int before = service_.leases;
    std::thread ender([&] {
      while (service_.leases == before) std::this_thread::yield();
      end();
    });
    const absl::Status status = client_->LeaseTasks({}, absl::Minutes(1)).status();
    ender.join();
    return status;
  }

  Service service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<CoordinatorClient> client_;
};

TEST_F(GrpcCoordinatorClientTest, CarriesAnswersAndErrors) {
  EXPECT_EQ(client_->Register({}, absl::Seconds(10))->epoch(), 7);
  v1::CompleteTaskRequest request;
  request.set_task_id("t1");
  EXPECT_EQ(client_->CompleteTask(request, absl::Seconds(10)).status(),
            absl::FailedPreconditionError("stale attempt of t1"));
  EXPECT_EQ(client_->Heartbeat({}, absl::Seconds(10)).status().code(), absl::StatusCode::kUnimplemented);
}

TEST_F(GrpcCoordinatorClientTest, EndsAtItsTimeout) {
  EXPECT_EQ(client_->LeaseTasks({}, absl::Milliseconds(50)).status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(GrpcCoordinatorClientTest, InterruptEndsThePollAlone) {
  EXPECT_EQ(PollEndedBy([&] { client_->InterruptLease(); }).code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(client_->Register({}, absl::Seconds(10)).ok());
  EXPECT_EQ(client_->LeaseTasks({}, absl::Milliseconds(50)).status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(GrpcCoordinatorClientTest, ShutdownEndsEverythingForGood) {
  EXPECT_EQ(PollEndedBy([&] { client_->Shutdown(); }).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(client_->Register({}, absl::Seconds(10)).status().code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace tidemark
