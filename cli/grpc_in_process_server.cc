#include "cli/grpc_in_process_server.h"

#include "coordinator/control/grpc_server.h"
#include "coordinator/control/grpc_worker_control_service.h"
#include "grpcpp/channel.h"
#include "grpcpp/impl/service_type.h"

namespace tidemark::cli {

InProcessServer::InProcessServer(coordinator::Coordinator* coordinator)
    : service_(coordinator::NewWorkerControlService(coordinator)) {
  coordinator::GrpcServerOptions options;
  options.services = {service_.get()};
  // Without a port there is nothing that could be taken.
  server_ = coordinator::GrpcServer::Start(options).value();
}

InProcessServer::~InProcessServer() = default;

std::shared_ptr<grpc::ChannelInterface> InProcessServer::Channel() { return server_->InProcessChannel(); }

}  // namespace tidemark::cli
