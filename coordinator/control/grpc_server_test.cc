#include "coordinator/control/grpc_server.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <thread>

#include "common/rpc/grpc_channel.h"
#include "common/rpc/grpc_status.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/impl/client_unary_call.h"
#include "tests/support/certificate_authority.h"
#include "tidemark/v1/worker_control.grpc.pb.h"

namespace tidemark::coordinator {
namespace {

using testing::HasSubstr;

// Takes a heartbeat of any size and answers a registration with what would not fit into trailers; holds a poll until
// its caller is gone.
class Service final : public v1::WorkerControlService::Service {
 public:
  grpc::Status Register(grpc::ServerContext*, const v1::RegisterRequest*, v1::RegisterResponse*) override {
    return ToGrpcStatus(absl::InternalError(std::string(1'000'000, '\n')));
  }
  grpc::Status LeaseTasks(grpc::ServerContext* context, const v1::LeaseTasksRequest*,
                          v1::LeaseTasksResponse*) override {
    polled = true;
    while (!context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    return grpc::Status::OK;
  }
  grpc::Status Heartbeat(grpc::ServerContext*, const v1::HeartbeatRequest*, v1::HeartbeatResponse*) override {
    return grpc::Status::OK;
  }
  std::atomic<bool> polled = false;
};

// One unary call whose messages need no code of their own.
absl::StatusOr<std::string> CallRaw(const std::shared_ptr<grpc::ChannelInterface>& channel, const std::string& method,
                                    const std::string& request) {
  const grpc::Slice slice(request);
  const grpc::ByteBuffer sent(&slice, 1);
  grpc::ByteBuffer received;
  grpc::ClientContext context;
  const grpc::internal::RpcMethod rpc(method.c_str(), grpc::internal::RpcMethod::NORMAL_RPC);
  const grpc::Status status = grpc::internal::BlockingUnaryCall<grpc::ByteBuffer, grpc::ByteBuffer>(
      channel.get(), rpc, &context, sent, &received);
  if (!status.ok()) return FromGrpcStatus(status);
  grpc::Slice answer;
  EXPECT_TRUE(received.TrySingleSlice(&answer).ok());
  return std::string(reinterpret_cast<const char*>(answer.begin()), answer.size());
}

class GrpcServerTest : public testing::Test {
 protected:
  void Start(GrpcServerOptions options) {
    options.services = {&service_};
    auto server = GrpcServer::Start(options);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  static grpc::Status Heartbeat(const std::shared_ptr<grpc::ChannelInterface>& channel, size_t bytes) {
    v1::HeartbeatRequest request;
    request.set_worker_id(std::string(bytes, 'x'));
    grpc::ClientContext context;
    v1::HeartbeatResponse response;
    return v1::WorkerControlService::NewStub(channel)->Heartbeat(&context, request, &response);
  }

  SystemClock clock_;
  MetricRegistry registry_;
  Service service_;
  std::unique_ptr<GrpcServer> server_;
};

TEST_F(GrpcServerTest, ServesOnARealPort) {
  GrpcServerOptions options;
  options.listen = "127.0.0.1:0";
  options.clock = &clock_;
  options.metrics = &registry_;
  Start(options);
  EXPECT_THAT(server_->address(), testing::MatchesRegex("127\\.0\\.0\\.1:[1-9][0-9]*"));
  const auto channel = *NewChannel(server_->address(), {});
  EXPECT_TRUE(Heartbeat(channel, 10).ok());
  EXPECT_TRUE(Heartbeat(channel, 15 << 20).ok()) << "larger than gRPC's own limit";
  const grpc::Status too_large = Heartbeat(channel, 17 << 20);
  EXPECT_EQ(too_large.error_code(), grpc::RESOURCE_EXHAUSTED) << too_large.error_message();
  EXPECT_TRUE(Heartbeat(channel, 10).ok()) << "though one before was too large";

  v1::RegisterResponse response;
  grpc::ClientContext context;
  const grpc::Status refused = v1::WorkerControlService::NewStub(channel)->Register(&context, {}, &response);
  EXPECT_EQ(refused.error_code(), grpc::INTERNAL) << refused.error_message();

  EXPECT_EQ(*CallRaw(channel, "/grpc.health.v1.Health/Check", ""), "\x08\x01") << "SERVING";

  options.listen = server_->address();
  const absl::Status taken = GrpcServer::Start(options).status();
  EXPECT_EQ(taken.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(taken.message()), HasSubstr(server_->address()));
  server_.reset();
  EXPECT_THAT(registry_.Text(), HasSubstr("grpc_method=\"Heartbeat\",grpc_code=\"OK\"} 3\n"));
}

TEST_F(GrpcServerTest, Reflects) {
  GrpcServerOptions options;
  options.listen = "127.0.0.1:0";
  Start(options);
  grpc::GenericStub stub(*NewChannel(server_->address(), {}));
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto stream =
      stub.PrepareCall(&context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
  const auto done = [&] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  stream->StartCall(nullptr);
  ASSERT_TRUE(done());
  // list_services: ""
  const grpc::Slice request("\x3a\x00", 2);
  stream->Write(grpc::ByteBuffer(&request, 1), nullptr);
  ASSERT_TRUE(done());
  grpc::ByteBuffer answer;
  stream->Read(&answer, nullptr);
  ASSERT_TRUE(done());
  std::vector<grpc::Slice> slices;
  ASSERT_TRUE(answer.Dump(&slices).ok());
  std::string text;
  for (const grpc::Slice& slice : slices) text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  EXPECT_THAT(text, HasSubstr("tidemark.v1.WorkerControlService"));
  EXPECT_THAT(text, HasSubstr("grpc.health.v1.Health"));
  context.TryCancel();
  grpc::Status status;
  stream->Finish(&status, nullptr);
  done();
}

TEST_F(GrpcServerTest, InThisProcessAlone) {
  GrpcServerOptions options;
  options.max_request_bytes = 64 << 20;
  Start(options);
  EXPECT_EQ(server_->address(), "");
  EXPECT_TRUE(Heartbeat(server_->InProcessChannel(), 20 << 20).ok());
}

TEST_F(GrpcServerTest, ClientsMustShowACertificate) {
  test::CertificateAuthority authority;
  const auto server = authority.Issue("coordinator");
  const auto worker = authority.Issue("worker");
  GrpcServerOptions options;
  options.listen = "127.0.0.1:0";
  options.tls = {server.cert, server.key, authority.ca()};
  Start(options);
  EXPECT_TRUE(Heartbeat(*NewChannel(server_->address(), {worker.cert, worker.key, authority.ca()}), 1).ok());
  EXPECT_EQ(Heartbeat(*NewChannel(server_->address(), {.ca = authority.ca()}), 1).error_code(), grpc::UNAVAILABLE);
  EXPECT_EQ(Heartbeat(*NewChannel(server_->address(), {}), 1).error_code(), grpc::UNAVAILABLE);
}

TEST_F(GrpcServerTest, BadOptions) {
  GrpcServerOptions options;
  options.listen = "8470";
  EXPECT_EQ(GrpcServer::Start(options).status().code(), absl::StatusCode::kInvalidArgument);
  options.listen = "127.0.0.1:0";
  options.tls.cert = "none.pem";
  EXPECT_EQ(GrpcServer::Start(options).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(GrpcServerTest, AShutdownEndsWhatIsHeld) {
  Start({});
  const auto channel = server_->InProcessChannel();
  grpc::Status status;
  std::thread poll([&] {
    grpc::ClientContext context;
    v1::LeaseTasksResponse response;
    status = v1::WorkerControlService::NewStub(channel)->LeaseTasks(&context, {}, &response);
  });
  while (!service_.polled) std::this_thread::yield();
  server_.reset();
  poll.join();
  EXPECT_FALSE(status.ok());
}

}  // namespace
}  // namespace tidemark::coordinator
