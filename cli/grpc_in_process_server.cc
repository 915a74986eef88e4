#include "cli/grpc_in_process_server.h"

#include "coordinator/control/grpc_worker_control_service.h"
#include "grpc/support/time.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/impl/service_type.h"

namespace tidemark::cli {

InProcessServer::InProcessServer(coordinator::Coordinator* coordinator)
    : service_(coordinator::NewWorkerControlService(coordinator)) {
  grpc::ServerBuilder builder;
  builder.RegisterService(service_.get());
  builder.SetMaxReceiveMessageSize(-1);
  server_ = builder.BuildAndStart();
}

InProcessServer::~InProcessServer() { server_->Shutdown(gpr_inf_past(GPR_CLOCK_MONOTONIC)); }

std::shared_ptr<grpc::ChannelInterface> InProcessServer::Channel() {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  return server_->InProcessChannel(arguments);
}

}  // namespace tidemark::cli
