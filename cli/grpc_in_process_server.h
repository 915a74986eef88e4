#pragma once

#include <memory>

#include "coordinator/run/coordinator.h"

namespace grpc {
class ChannelInterface;
class Service;
}  // namespace grpc

namespace tidemark::coordinator {
class GrpcServer;
}  // namespace tidemark::coordinator

namespace tidemark::cli {

// WorkerControlService on a gRPC server without a port: reached by the channels it gives out alone. Shut the
// coordinator down before it is destroyed, so that held calls end at once.
class InProcessServer {
 public:
  // `coordinator` must outlive the server.
  explicit InProcessServer(coordinator::Coordinator* coordinator);
  ~InProcessServer();
  InProcessServer(const InProcessServer&) = delete;
  InProcessServer& operator=(const InProcessServer&) = delete;

  // A channel of its own for each caller.
  std::shared_ptr<grpc::ChannelInterface> Channel();

 private:
  std::unique_ptr<grpc::Service> service_;
  std::unique_ptr<coordinator::GrpcServer> server_;
};

}  // namespace tidemark::cli
