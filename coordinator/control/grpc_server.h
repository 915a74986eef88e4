#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/rpc/tls_files.h"
#include "common/telemetry/metric_registry.h"

namespace grpc {
class ChannelInterface;
class Service;
}  // namespace grpc

namespace tidemark::coordinator {

struct GrpcServerOptions {
  // HOST:PORT; port 0 takes a free one. Empty: reached by InProcessChannel alone.
  std::string listen;
  // Empty: plain text.
  TlsFiles tls;
  // Must outlive the server.
  std::vector<grpc::Service*> services;
  // Of one request; a larger one is refused with RESOURCE_EXHAUSTED.
  int max_request_bytes = 16 << 20;
  // Count its calls; both null: nobody does. Must outlive the server.
  const Clock* clock = nullptr;
  MetricRegistry* metrics = nullptr;
};

// A gRPC server with the services it is given, and those of every one: grpc.health.v1 and reflection. Bears clients
// that ping often (NewChannel), and notices one that has died without a word within some fifteen seconds. Thread-safe.
class GrpcServer {
 public:
  // Serves when it returns. Unavailable if it cannot listen there; InvalidArgument: what is wrong with the files of
  // `tls`.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(const GrpcServerOptions& options);
  // Ends what is under way with Cancelled.
  ~GrpcServer();
  GrpcServer(const GrpcServer&) = delete;
  GrpcServer& operator=(const GrpcServer&) = delete;

  // HOST:PORT with the real port; empty without one.
  const std::string& address() const { return address_; }
  // A channel of its own for each caller in this process.
  std::shared_ptr<grpc::ChannelInterface> InProcessChannel();

  // Takes no new call and lets those under way end, for up to `grace`; then ends them.
  void Shutdown(absl::Duration grace);

 private:
  class Impl;
  GrpcServer(std::unique_ptr<Impl> impl, std::string address);

  const std::unique_ptr<Impl> impl_;
  const std::string address_;
};

}  // namespace tidemark::coordinator
