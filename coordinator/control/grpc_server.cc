#include "coordinator/control/grpc_server.h"

#include <mutex>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model/host_port.h"
#include "common/rpc/grpc_credentials.h"
#include "common/rpc/grpc_server_metrics.h"
#include "grpc/support/time.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/health_check_service_interface.h"

namespace tidemark::coordinator {
namespace {

constexpr int kPingMillis = 10'000;
constexpr int kPingTimeoutMillis = 5'000;
constexpr int kShortestPingIntervalMillis = 1'000;
constexpr int kMetadataBytes = 64 << 10;

void ConfigureConnections(grpc::ServerBuilder& builder) {
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kPingMillis);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingTimeoutMillis);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kShortestPingIntervalMillis);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMetadataBytes);
  // Or a second server takes half the calls of the first, without a word.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
}

// gRPC keeps these two for the whole process: every server built afterwards has them.
void EnableServicesOfEveryServer() {
  static std::once_flag once;
  std::call_once(once, [] {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  });
}

}  // namespace

class GrpcServer::Impl {
 public:
  explicit Impl(std::unique_ptr<grpc::Server> server) : server(std::move(server)) {}
  const std::unique_ptr<grpc::Server> server;
};

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const GrpcServerOptions& options) {
  EnableServicesOfEveryServer();
  grpc::ServerBuilder builder;
  ConfigureConnections(builder);
  builder.SetMaxReceiveMessageSize(options.max_request_bytes);
  for (grpc::Service* service : options.services) builder.RegisterService(service);
  if (options.metrics != nullptr) {
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
    interceptors.push_back(NewServerMetrics(options.clock, options.metrics));
    builder.experimental().SetInterceptorCreators(std::move(interceptors));
  }
  std::optional<HostPort> address;
  int port = 0;
  if (!options.listen.empty()) {
    address = ParseHostPort(options.listen);
    if (!address) return absl::InvalidArgumentError(absl::StrCat(options.listen, " is no address HOST:PORT"));
    TM_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ServerCredentials> credentials, ServerCredentials(options.tls));
    builder.AddListeningPort(options.listen, credentials, &port);
  }
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || (address && port == 0)) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", options.listen,
                                               ": the port is taken, or the address is none of this machine"));
  }
  if (address) address->port = port;
  auto impl = std::make_unique<Impl>(std::move(server));
  return std::unique_ptr<GrpcServer>(new GrpcServer(std::move(impl), address ? HostPortText(*address) : ""));
}

GrpcServer::GrpcServer(std::unique_ptr<Impl> impl, std::string address)
    : impl_(std::move(impl)), address_(std::move(address)) {}

GrpcServer::~GrpcServer() { Shutdown(absl::ZeroDuration()); }

std::shared_ptr<grpc::ChannelInterface> GrpcServer::InProcessChannel() {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetInt(GRPC_ARG_MAX_METADATA_SIZE, kMetadataBytes);
  return impl_->server->InProcessChannel(arguments);
}

void GrpcServer::Shutdown(absl::Duration grace) {
  impl_->server->Shutdown(
      gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_micros(absl::ToInt64Microseconds(grace), GPR_TIMESPAN)));
}

}  // namespace tidemark::coordinator
