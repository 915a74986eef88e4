#include "coordinator/control/grpc_worker_control_service.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <thread>

#include "common/model/duration.h"
#include "common/rpc/error_details.h"
#include "common/rpc/grpc_channel.h"
#include "common/rpc/grpc_status.h"
#include "coordinator/control/grpc_server.h"
#include "coordinator/run/ticker.h"
#include "tests/support/certificate_authority.h"
#include "tests/support/outer_address.h"
#include "tidemark/v1/worker_control.grpc.pb.h"

namespace tidemark::coordinator {
namespace {

class GrpcWorkerControlServiceTest : public testing::Test {
 protected:
  GrpcWorkerControlServiceTest() {
    CoordinatorOptions options;
    options.store = store_.get();
    options.clock = &clock_;
    options.rng = &rng_;
    options.holder = "test";
    coordinator_ = Coordinator::Start(options).value();
    service_ = NewWorkerControlService(coordinator_.get());
    server_ = grpc::ServerBuilder().RegisterService(service_.get()).BuildAndStart();
    stub_ = v1::WorkerControlService::NewStub(server_->InProcessChannel({}));
  }

  ~GrpcWorkerControlServiceTest() override {
    coordinator_->Shutdown();
    server_->Shutdown();
  }

  grpc::Status Register() {
    v1::RegisterRequest request;
    request.set_worker_id("w");
    request.set_incarnation("1");
    request.set_slots(1);
    grpc::ClientContext context;
    v1::RegisterResponse response;
    return stub_->Register(&context, request, &response);
  }

  grpc::Status Lease(absl::Duration wait, v1::LeaseTasksResponse* response) {
    v1::LeaseTasksRequest request;
    request.set_worker_id("w");
    request.set_incarnation("1");
    request.set_free_slots(1);
    *request.mutable_wait() = ToProto(wait);
    grpc::ClientContext context;
    return stub_->LeaseTasks(&context, request, response);
  }

  // A job, and a run of it.
  void StartRun() {
    std::vector<v1::ConnectionSpec> connections(2);
    connections[0].set_name("src");
    connections[0].set_dsn("sqlite:src.db");
    connections[1].set_name("dst");
    connections[1].set_dsn("sqlite:dst.db");
    v1::JobSpec job;
    job.set_name("orders");
    job.mutable_source()->set_connection("src");
    job.mutable_source()->set_table("orders");
    job.mutable_target()->set_connection("dst");
    job.mutable_target()->set_table("orders");
    job.mutable_target()->set_strategy(v1::LOAD_STRATEGY_FULL);
    ASSERT_TRUE(coordinator_->ApplyProject(connections, {job}).ok());
    ASSERT_TRUE(coordinator_->StartRun("orders", {}).ok());
  }

  SystemClock clock_;
  Rng rng_{1};
  std::unique_ptr<MetadataStore> store_ = NewMemoryStore(&clock_, 1);
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<grpc::Service> service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::WorkerControlService::Stub> stub_;
};

TEST_F(GrpcWorkerControlServiceTest, APollEndsWithTheFirstTask) {
  v1::LeaseTasksResponse response;
  EXPECT_EQ(Lease(absl::ZeroDuration(), &response).error_code(), grpc::FAILED_PRECONDITION) << "who is that?";
  ASSERT_TRUE(Register().ok());
  ASSERT_TRUE(Lease(absl::Milliseconds(20), &response).ok());
  EXPECT_EQ(response.tasks_size(), 0);

  grpc::Status status;
  std::thread poll([&] { status = Lease(absl::Seconds(30), &response); });
  StartRun();
  poll.join();
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response.tasks_size(), 1);
  EXPECT_TRUE(response.tasks(0).has_describe());
}

TEST_F(GrpcWorkerControlServiceTest, AShutdownEndsEveryPoll) {
  Ticker ticker(coordinator_.get());
  ASSERT_TRUE(Register().ok());
  v1::LeaseTasksResponse response;
  grpc::Status status;
  std::thread poll([&] { status = Lease(absl::Seconds(30), &response); });
  coordinator_->Shutdown();
  poll.join();
  EXPECT_EQ(status.error_code(), grpc::UNAVAILABLE);
}

TEST_F(GrpcWorkerControlServiceTest, ATaskIsNotLeasedToACallerThatHasGone) {
  ASSERT_TRUE(Register().ok());
  v1::LeaseTasksRequest request;
  request.set_worker_id("w");
  request.set_incarnation("1");
  request.set_free_slots(1);
  *request.mutable_wait() = ToProto(absl::Seconds(30));
  grpc::ClientContext context;
  v1::LeaseTasksResponse nothing;
  grpc::Status status;
  std::thread poll([&] { status = stub_->LeaseTasks(&context, request, &nothing); });
  context.TryCancel();
  poll.join();
  EXPECT_EQ(status.error_code(), grpc::CANCELLED);
  // The server learns of it before it next looks for work.
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  StartRun();
  v1::LeaseTasksResponse response;
  ASSERT_TRUE(Lease(absl::Seconds(30), &response).ok());
  EXPECT_EQ(response.tasks_size(), 1);
}

// The codes that Register, LeaseTasks, Heartbeat and CompleteTask end with.
std::vector<absl::StatusCode> CodesOf(const std::shared_ptr<grpc::ChannelInterface>& channel) {
  const auto stub = v1::WorkerControlService::NewStub(channel);
  v1::RegisterRequest registration;
  registration.set_worker_id("w");
  registration.set_incarnation("1");
  registration.set_slots(1);
  v1::LeaseTasksRequest lease;
  lease.set_worker_id("w");
  lease.set_incarnation("1");
  v1::HeartbeatRequest heartbeat;
  heartbeat.set_worker_id("w");
  heartbeat.set_incarnation("1");
  v1::CompleteTaskRequest completion;
  completion.set_worker_id("w");
  completion.set_incarnation("1");
  const auto code = [&](auto method, const auto& request, auto response) {
    grpc::ClientContext context;
    return FromGrpcStatus((stub.get()->*method)(&context, request, &response)).code();
  };
  using Stub = v1::WorkerControlService::Stub;
  return {code(&Stub::Register, registration, v1::RegisterResponse()),
          code(&Stub::LeaseTasks, lease, v1::LeaseTasksResponse()),
          code(&Stub::Heartbeat, heartbeat, v1::HeartbeatResponse()),
          code(&Stub::CompleteTask, completion, v1::CompleteTaskResponse())};
}

TEST_F(GrpcWorkerControlServiceTest, OtherMachinesNeedACertificate) {
  const std::string outer = test::OuterAddress();
  if (outer.empty()) GTEST_SKIP() << "this machine has loopback alone";
  GrpcServerOptions options;
  options.listen = outer + ":0";
  const std::unique_ptr<grpc::Service> service = NewWorkerControlService(coordinator_.get());
  options.services = {service.get()};
  auto server = GrpcServer::Start(options);
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_THAT(CodesOf(*NewChannel((*server)->address(), {})), testing::Each(absl::StatusCode::kPermissionDenied));

  // TLS that asks for no certificate says nothing about a caller.
  test::CertificateAuthority authority;
  const auto own = authority.Issue("w", outer);
  options.tls = {own.cert, own.key, ""};
  server = GrpcServer::Start(options);
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_THAT(CodesOf(*NewChannel((*server)->address(), {own.cert, own.key, authority.ca()})),
              testing::Each(absl::StatusCode::kPermissionDenied));

  options.tls.ca = authority.ca();
  server = GrpcServer::Start(options);
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_THAT(CodesOf(*NewChannel((*server)->address(), {own.cert, own.key, authority.ca()})),
              testing::ElementsAre(absl::StatusCode::kOk, absl::StatusCode::kOk, absl::StatusCode::kOk,
                                   absl::StatusCode::kFailedPrecondition));
}

TEST_F(GrpcWorkerControlServiceTest, ALostLeadershipIsToldAsSuch) {
  ASSERT_TRUE(Register().ok());
  StartRun();
  // Another process of that name takes over.
  ASSERT_TRUE(store_->AcquireLeadership("test", absl::Seconds(15), 0).ok());
  v1::LeaseTasksResponse response;
  EXPECT_TRUE(IsNotLeader(FromGrpcStatus(Lease(absl::ZeroDuration(), &response))));
}

}  // namespace
}  // namespace tidemark::coordinator
