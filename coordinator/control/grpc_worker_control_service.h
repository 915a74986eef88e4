#pragma once

#include <memory>

#include "coordinator/run/coordinator.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace tidemark::coordinator {

// WorkerControlService over `coordinator`, which must outlive it. LeaseTasks holds the call until there is something to
// say, the call's `wait` has passed (30 s at most), the caller is gone or the coordinator is shut down. Shut the
// coordinator down before the server, so that held calls end at once. Callers of other machines must show a certificate
// (MayBeWorker).
std::unique_ptr<grpc::Service> NewWorkerControlService(Coordinator* coordinator);

}  // namespace tidemark::coordinator
