#include <atomic>
#include <functional>
#include <thread>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/rpc/error_details.h"
#include "common/rpc/grpc_caller.h"
#include "common/rpc/grpc_channel.h"
#include "common/rpc/grpc_credentials.h"
#include "common/rpc/grpc_server_metrics.h"
#include "common/rpc/grpc_status.h"
#include "common/rpc/tls_files.h"
#include "common/telemetry/metric_registry.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "tests/support/certificate_authority.h"
#include "tests/support/outer_address.h"
#include "tests/support/temp_dir.h"
#include "tidemark/v1/run.grpc.pb.h"

namespace tidemark {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

ErrorDetails AllDetails() {
  ErrorDetails details;
  details.field_violations = {{"job.source.table", "missing"}, {"job.name", "is taken"}};
  details.precondition_violations = {{"ETAG", "jobs/orders", "the job has changed"}};
  details.reason = "JOB_CHANGED";
  details.metadata = {{"etag", "7"}};
  details.retry_after = absl::Milliseconds(1500);
  return details;
}

TEST(ErrorDetailsTest, TravelInAStatus) {
  const absl::Status status = WithDetails(absl::AbortedError("no"), AllDetails());
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  EXPECT_EQ(status.message(), "no");
  EXPECT_EQ(DetailsOf(status), AllDetails());
  EXPECT_EQ(DetailsOf(WithDetails(status, {})), ErrorDetails()) << "they replace what was there";
  EXPECT_EQ(WithDetails(absl::OkStatus(), AllDetails()), absl::OkStatus());
  EXPECT_EQ(DetailsOf(absl::AbortedError("none")), ErrorDetails());

  const absl::Status field = InvalidField("job.name", "is taken");
  EXPECT_EQ(field.message(), "job.name: is taken");
  EXPECT_EQ(DetailsOf(field).field_violations.at(0), (ErrorDetails::FieldViolation{"job.name", "is taken"}));

  EXPECT_TRUE(IsNotLeader(NotLeaderError("epoch 3 leads")));
  EXPECT_EQ(NotLeaderError("epoch 3 leads").message(), "this coordinator is not the leader: epoch 3 leads");
  EXPECT_FALSE(IsNotLeader(absl::FailedPreconditionError("stale attempt")));
  EXPECT_FALSE(IsNotLeader(absl::OkStatus()));
}

TEST(GrpcStatusTest, ThereAndBack) {
  for (const absl::Status& status :
       {absl::OkStatus(), absl::NotFoundError("no such run"), absl::UnauthenticatedError(""),
        WithDetails(absl::InvalidArgumentError("bad"), AllDetails()), NotLeaderError("epoch 3 leads")}) {
    EXPECT_EQ(FromGrpcStatus(ToGrpcStatus(status)), status);
  }
  EXPECT_THAT(ToGrpcStatus(absl::NotFoundError("x")).error_details(), IsEmpty());
  EXPECT_EQ(FromGrpcStatus(grpc::Status(grpc::ABORTED, "x", "no protobuf \xff")), absl::AbortedError("x"));
}

TEST(GrpcStatusTest, WhatTrailersCannotHoldIsLeftOut) {
  const grpc::Status bytes = ToGrpcStatus(absl::AbortedError("a \xff byte"));
  EXPECT_EQ(bytes.error_message(), "a \xEF\xBF\xBD byte");
  ErrorDetails details = AllDetails();
  for (int i = 0; i < 1000; ++i) details.precondition_violations.push_back({"T", absl::StrCat(i), "is no good"});
  const absl::Status large = WithDetails(absl::AbortedError(std::string(100'000, 'x')), details);
  const grpc::Status sent = ToGrpcStatus(large);
  EXPECT_LT(sent.error_message().size() + sent.error_details().size(), 8u << 10);
  const ErrorDetails kept = DetailsOf(FromGrpcStatus(sent));
  EXPECT_EQ(kept.field_violations.size(), 2u);
  EXPECT_EQ(kept.reason, "JOB_CHANGED");
  EXPECT_THAT(kept.precondition_violations, IsEmpty());
}

// Answers GetRun with an error that holds its caller, and streams until its caller is gone.
class Service final : public v1::RunService::Service {
 public:
  grpc::Status GetRun(grpc::ServerContext* context, const v1::GetRunRequest* request, v1::Run* response) override {
    const Caller caller = CallerOf(*context);
    ErrorDetails details = AllDetails();
    details.metadata = {{"caller", caller.name},
                        {"local", caller.is_local ? "yes" : "no"},
                        {"certificate", caller.has_certificate ? "yes" : "no"}};
    return ToGrpcStatus(WithDetails(absl::NotFoundError("who: \xC3\xA9"), details));
  }
  grpc::Status ListRuns(grpc::ServerContext* context, const v1::ListRunsRequest* request,
                        v1::ListRunsResponse* response) override {
    return grpc::Status::OK;
  }
  grpc::Status WatchRun(grpc::ServerContext* context, const v1::WatchRunRequest* request,
                        grpc::ServerWriter<v1::WatchRunResponse>* writer) override {
    writer->Write({});
    while (!context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    return grpc::Status::OK;
  }
};

class RpcTest : public testing::Test {
 protected:
  ~RpcTest() override {
    if (server_ != nullptr) server_->Shutdown();
  }

  // On 127.0.0.1, or another address of this machine.
  void Serve(const TlsFiles& tls, const std::string& host = "127.0.0.1") {
    const auto credentials = ServerCredentials(tls);
    ASSERT_TRUE(credentials.ok()) << credentials.status();
    grpc::ServerBuilder builder;
    builder.AddListeningPort(host + ":0", *credentials, &port_);
    builder.RegisterService(&service_);
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
    interceptors.push_back(NewServerMetrics(&clock_, &registry_));
    builder.experimental().SetInterceptorCreators(std::move(interceptors));
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    address_ = absl::StrCat(host, ":", port_);
  }

  std::unique_ptr<v1::RunService::Stub> Stub(const TlsFiles& tls) {
    auto channel = NewChannel(address_, tls);
    EXPECT_TRUE(channel.ok()) << channel.status();
    return v1::RunService::NewStub(*channel);
  }

  // What the service knows of a caller with these files; the error if it never came there.
  absl::StatusOr<std::map<std::string, std::string>> Call(const TlsFiles& tls) {
    grpc::ClientContext context;
    v1::Run run;
    const absl::Status status = FromGrpcStatus(Stub(tls)->GetRun(&context, {}, &run));
    if (!absl::IsNotFound(status)) return status;
    return DetailsOf(status).metadata;
  }

  absl::StatusCode CodeOf(const TlsFiles& tls) { return Call(tls).status().code(); }

  // Waits until `text` is among the metrics: a call's end is counted a moment after its caller has heard.
  bool Counted(const std::string& text) {
    for (int i = 0; i < 5000; ++i) {
      if (registry_.Text().find(text) != std::string::npos) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }

  SystemClock clock_;
  MetricRegistry registry_;
  Service service_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
  std::string address_;
};

TEST_F(RpcTest, DetailsReachTheClient) {
  Serve({});
  grpc::ClientContext context;
  v1::Run run;
  const absl::Status status = FromGrpcStatus(Stub({})->GetRun(&context, {}, &run));
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "who: \xC3\xA9");
  EXPECT_EQ(DetailsOf(status).field_violations, AllDetails().field_violations);
  EXPECT_EQ(DetailsOf(status).precondition_violations, AllDetails().precondition_violations);
  EXPECT_EQ(DetailsOf(status).retry_after, AllDetails().retry_after);
}

TEST_F(RpcTest, PlainTextCallersAreKnownByTheirAddress) {
  Serve({});
  const auto caller = Call({});
  ASSERT_TRUE(caller.ok()) << caller.status();
  EXPECT_THAT(caller->at("caller"), testing::StartsWith("ipv4:127.0.0.1:"));
  EXPECT_EQ(caller->at("local"), "yes");
  EXPECT_EQ(caller->at("certificate"), "no");

  grpc::ClientContext context;
  v1::Run run;
  const auto inside = v1::RunService::NewStub(server_->InProcessChannel({}));
  const ErrorDetails details = DetailsOf(FromGrpcStatus(inside->GetRun(&context, {}, &run)));
  EXPECT_EQ(details.metadata.at("caller"), "this process");
  EXPECT_EQ(details.metadata.at("local"), "yes");

  address_ = absl::StrCat("[::1]:", port_);
  server_->Shutdown();
  Serve({}, "[::1]");
  const auto ipv6 = Call({});
  if (!ipv6.ok()) GTEST_SKIP() << "no IPv6 here";
  EXPECT_THAT(ipv6->at("caller"), testing::StartsWith("ipv6:[::1]:"));
  EXPECT_EQ(ipv6->at("local"), "yes");
}

TEST_F(RpcTest, OtherMachinesAreNotLocal) {
  const std::string outer = test::OuterAddress();
  if (outer.empty()) GTEST_SKIP() << "this machine has loopback alone";
  Serve({}, outer);
  const auto caller = Call({});
  ASSERT_TRUE(caller.ok()) << caller.status();
  EXPECT_EQ(caller->at("local"), "no");
}

TEST(MayBeWorkerTest, OfThisMachineOrWithACertificate) {
  EXPECT_TRUE(MayBeWorker({.name = "inproc", .is_local = true}).ok());
  EXPECT_TRUE(MayBeWorker({.name = "CN=w", .has_certificate = true}).ok());
  const absl::Status refused = MayBeWorker({.name = "ipv4:10.0.0.7:4411"});
  EXPECT_EQ(refused.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(refused.message()), testing::StartsWith("ipv4:10.0.0.7:4411 may not"));
  EXPECT_THAT(std::string(refused.message()), Not(HasSubstr("\n")));
}

TEST_F(RpcTest, Tls) {
  test::CertificateAuthority authority;
  const auto server = authority.Issue("server");
  Serve({.cert = server.cert, .key = server.key});
  const auto caller = Call({.ca = authority.ca()});
  ASSERT_TRUE(caller.ok()) << caller.status();
  EXPECT_EQ(caller->at("certificate"), "no");
  EXPECT_EQ(CodeOf({}), absl::StatusCode::kUnavailable) << "plain text";
  test::CertificateAuthority other;
  EXPECT_EQ(CodeOf({.ca = other.ca()}), absl::StatusCode::kUnavailable) << "a server of another authority";
}

TEST_F(RpcTest, MutualTls) {
  test::CertificateAuthority authority;
  const auto server = authority.Issue("server");
  const auto worker = authority.Issue("worker-1");
  Serve({server.cert, server.key, authority.ca()});
  const auto caller = Call({worker.cert, worker.key, authority.ca()});
  ASSERT_TRUE(caller.ok()) << caller.status();
  EXPECT_EQ(caller->at("certificate"), "yes");
  EXPECT_EQ(caller->at("caller"), "CN=worker-1,O=Tidemark");

  EXPECT_EQ(CodeOf({.ca = authority.ca()}), absl::StatusCode::kUnavailable) << "no certificate";
  test::CertificateAuthority other;
  const auto stranger = other.Issue("worker-1");
  EXPECT_EQ(CodeOf({stranger.cert, stranger.key, authority.ca()}), absl::StatusCode::kUnavailable);
}

TEST(TlsFilesTest, WhatIsWrongIsNamed) {
  test::CertificateAuthority authority;
  const auto one = authority.Issue("one");
  const auto two = authority.Issue("two");
  test::TempDir directory;
  const std::string text = directory.Write("text.pem", "no PEM, but secret77");
  EXPECT_TRUE(CheckTlsFiles({}).ok());
  EXPECT_TRUE(CheckTlsFiles({one.cert, one.key, authority.ca()}).ok());
  EXPECT_TRUE(CheckTlsFiles({.ca = authority.ca()}).ok());
  const auto wrong = [](const TlsFiles& files) {
    const absl::Status status = CheckTlsFiles(files);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("secret77")));
    return std::string(status.message());
  };
  EXPECT_THAT(wrong({.cert = one.cert}), HasSubstr("no key"));
  EXPECT_THAT(wrong({.key = one.key}), HasSubstr("no certificate"));
  EXPECT_EQ(wrong({one.cert, two.key, ""}), absl::StrCat(two.key, ": is not the key of the certificate ", one.cert));
  EXPECT_THAT(wrong({text, one.key, ""}), HasSubstr("text.pem: holds no certificate in PEM form"));
  EXPECT_THAT(wrong({one.cert, text, ""}), HasSubstr("text.pem: holds no private key"));
  EXPECT_THAT(wrong({.ca = directory.File("none")}), HasSubstr("none: cannot be read: No such file"));
  EXPECT_EQ(ServerCredentials({.ca = authority.ca()}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(NewChannel("127.0.0.1:1", {.cert = text}).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(RpcTest, EveryCallIsCounted) {
  Serve({});
  const auto stub = Stub({});
  v1::Run run;
  {
    grpc::ClientContext context;
    EXPECT_FALSE(stub->GetRun(&context, {}, &run).ok());
  }
  {
    grpc::ClientContext context;
    v1::ListRunsResponse runs;
    EXPECT_TRUE(stub->ListRuns(&context, {}, &runs).ok());
  }
  {
    grpc::ClientContext context;
    EXPECT_EQ(stub->CancelRun(&context, {}, &run).error_code(), grpc::UNIMPLEMENTED);
  }
  {
    grpc::ClientContext context;
    const auto stream = stub->WatchRun(&context, {});
    v1::WatchRunResponse response;
    EXPECT_TRUE(stream->Read(&response));
    context.TryCancel();
    EXPECT_EQ(stream->Finish().error_code(), grpc::CANCELLED);
  }
  const auto line = [](const char* type, const char* method, const char* code) {
    return absl::StrCat("grpc_server_handled_total{grpc_type=\"", type,
                        "\",grpc_service=\"tidemark.v1.RunService\",grpc_method=\"", method, "\",grpc_code=\"", code,
                        "\"} 1\n");
  };
  EXPECT_TRUE(Counted(line("unary", "GetRun", "NotFound"))) << registry_.Text();
  EXPECT_TRUE(Counted(line("unary", "ListRuns", "OK"))) << registry_.Text();
  EXPECT_TRUE(Counted(line("unary", "CancelRun", "Unimplemented"))) << registry_.Text();
  EXPECT_TRUE(Counted(line("server_stream", "WatchRun", "Canceled"))) << registry_.Text();
  EXPECT_TRUE(
      Counted("grpc_server_handling_seconds_count{grpc_type=\"server_stream\",grpc_service=\"tidemark.v1."
              "RunService\",grpc_method=\"WatchRun\"} 1\n"));
}

}  // namespace
}  // namespace tidemark
