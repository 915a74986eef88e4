#pragma once

#include <memory>
#include <vector>

#include "coordinator/admin/admin.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace tidemark::coordinator {

// JobService, RunService, ConnectionService and ClusterService over gRPC. `admin` must outlive them.
std::vector<std::unique_ptr<grpc::Service>> NewAdminServices(Admin* admin);

}  // namespace tidemark::coordinator
