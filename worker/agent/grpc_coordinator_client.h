#pragma once

#include <memory>

#include "worker/agent/coordinator_client.h"

namespace grpc {
class ChannelInterface;
}

namespace tidemark {

// Speaks to the coordinator at the other end of `channel`: an in-process channel serves as well as one over the
// network.
std::unique_ptr<CoordinatorClient> NewGrpcCoordinatorClient(std::shared_ptr<grpc::ChannelInterface> channel);

}  // namespace tidemark
