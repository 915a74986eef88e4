#include "common/rpc/grpc_server_metrics.h"

#include <string>
#include <string_view>
#include <utility>

#include "common/telemetry/metrics.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_interceptor.h"
#include "grpcpp/support/status.h"

namespace tidemark {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::ServerRpcInfo;

// As they are spelled in dashboards of these metrics.
std::string_view CodeName(grpc::StatusCode code) {
  switch (code) {
    case grpc::OK:
      return "OK";
    case grpc::CANCELLED:
      return "Canceled";
    case grpc::INVALID_ARGUMENT:
      return "InvalidArgument";
    case grpc::DEADLINE_EXCEEDED:
      return "DeadlineExceeded";
    case grpc::NOT_FOUND:
      return "NotFound";
    case grpc::ALREADY_EXISTS:
      return "AlreadyExists";
    case grpc::PERMISSION_DENIED:
      return "PermissionDenied";
    case grpc::UNAUTHENTICATED:
      return "Unauthenticated";
    case grpc::RESOURCE_EXHAUSTED:
      return "ResourceExhausted";
    case grpc::FAILED_PRECONDITION:
      return "FailedPrecondition";
    case grpc::ABORTED:
      return "Aborted";
    case grpc::OUT_OF_RANGE:
      return "OutOfRange";
    case grpc::UNIMPLEMENTED:
      return "Unimplemented";
    case grpc::INTERNAL:
      return "Internal";
    case grpc::UNAVAILABLE:
      return "Unavailable";
    case grpc::DATA_LOSS:
      return "DataLoss";
    default:
      return "Unknown";
  }
}

std::string_view TypeName(ServerRpcInfo::Type type) {
  switch (type) {
    case ServerRpcInfo::Type::UNARY:
      return "unary";
    case ServerRpcInfo::Type::CLIENT_STREAMING:
      return "client_stream";
    case ServerRpcInfo::Type::SERVER_STREAMING:
      return "server_stream";
    case ServerRpcInfo::Type::BIDI_STREAMING:
      return "bidi_stream";
  }
  return "";
}

// Of one call.
class CallMetrics final : public grpc::experimental::Interceptor {
 public:
  CallMetrics(ServerRpcInfo* info, const Clock* clock, MetricRegistry* registry)
      : info_(info), clock_(clock), registry_(registry), type_(TypeName(info->type())), started_(clock->Monotonic()) {
    // "/tidemark.v1.JobService/GetJob"
    const std::string_view path = info->method();
    const size_t slash = path.rfind('/');
    method_ = path.substr(slash + 1);
    if (slash != path.npos && slash > 0) service_ = path.substr(1, slash - 1);
  }

  // Destroyed with its call; one that never came to a status was abandoned.
  ~CallMetrics() override {
    if (!counted_) Count(grpc::CANCELLED);
  }

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      Count(info_->server_context()->IsCancelled() ? grpc::CANCELLED : methods->GetSendStatus().error_code());
    }
    methods->Proceed();
  }

 private:
  void Count(grpc::StatusCode code) {
    counted_ = true;
    registry_->Get(metrics::kGrpcServerHandled, type_, service_, method_, CodeName(code)).Add();
    registry_->Get(metrics::kGrpcServerHandling, type_, service_, method_)
        .Observe(absl::ToDoubleSeconds(clock_->Monotonic() - started_));
  }

  ServerRpcInfo* const info_;
  const Clock* const clock_;
  MetricRegistry* const registry_;
  const std::string_view type_;
  std::string service_;
  std::string method_;
  const absl::Duration started_;
  bool counted_ = false;
};

class ServerMetrics final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  ServerMetrics(const Clock* clock, MetricRegistry* registry) : clock_(clock), registry_(registry) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override {
    return new CallMetrics(info, clock_, registry_);
  }

 private:
  const Clock* const clock_;
  MetricRegistry* const registry_;
};

}  // namespace

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> NewServerMetrics(const Clock* clock,
                                                                                        MetricRegistry* registry) {
  return std::make_unique<ServerMetrics>(clock, registry);
}

}  // namespace tidemark
