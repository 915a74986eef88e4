#pragma once

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tidemark/v1/worker_control.pb.h"

namespace tidemark {

// A worker's way to its coordinator: the calls of WorkerControlService, whose rules stand in worker_control.proto.
// Thread-safe.
//
// Every call ends after `timeout` at the latest, with DeadlineExceeded. Unavailable and DeadlineExceeded mean that the
// coordinator may or may not have acted; every call may be repeated.
class CoordinatorClient {
 public:
  virtual ~CoordinatorClient() = default;

  virtual absl::StatusOr<v1::RegisterResponse> Register(const v1::RegisterRequest& request, absl::Duration timeout) = 0;

  // A long poll: the timeout must exceed `request.wait`.
  virtual absl::StatusOr<v1::LeaseTasksResponse> LeaseTasks(const v1::LeaseTasksRequest& request,
                                                            absl::Duration timeout) = 0;

  virtual absl::StatusOr<v1::HeartbeatResponse> Heartbeat(const v1::HeartbeatRequest& request,
                                                          absl::Duration timeout) = 0;

  // FailedPrecondition: the attempt is stale, its result is of no use to anyone.
  virtual absl::StatusOr<v1::CompleteTaskResponse> CompleteTask(const v1::CompleteTaskRequest& request,
                                                                absl::Duration timeout) = 0;

  // Ends the LeaseTasks under way, if any, which then returns Cancelled. Returns at once.
  virtual void InterruptLease() = 0;

  // Ends every call under way, and every later one at once, with Cancelled. For good.
  virtual void Shutdown() = 0;
};

}  // namespace tidemark
