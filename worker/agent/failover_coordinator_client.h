#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

#include "worker/agent/coordinator_client.h"

namespace tidemark {

// Several coordinators, of which one leads: a call goes to the one that answered last; where that one is out of reach
// or does not lead, to the next, until one answers. Unavailable if none leads, so that a call is made again and nothing
// is given up for it. After DeadlineExceeded, which has used up the call's time, the next call begins with another.
class FailoverCoordinatorClient final : public CoordinatorClient {
 public:
  // At least one. `timeout` of a call counts for each coordinator it is made of.
  explicit FailoverCoordinatorClient(std::vector<std::unique_ptr<CoordinatorClient>> coordinators);

  absl::StatusOr<v1::RegisterResponse> Register(const v1::RegisterRequest& request, absl::Duration timeout) override;
  absl::StatusOr<v1::LeaseTasksResponse> LeaseTasks(const v1::LeaseTasksRequest& request,
                                                    absl::Duration timeout) override;
  absl::StatusOr<v1::HeartbeatResponse> Heartbeat(const v1::HeartbeatRequest& request, absl::Duration timeout) override;
  absl::StatusOr<v1::CompleteTaskResponse> CompleteTask(const v1::CompleteTaskRequest& request,
                                                        absl::Duration timeout) override;
  void InterruptLease() override;
  void Shutdown() override;

 private:
  // What the first coordinator says that leads.
  template <class Response, class Call>
  absl::StatusOr<Response> Try(const Call& call);

  const std::vector<std::unique_ptr<CoordinatorClient>> coordinators_;
  // Index of the one to begin with.
  std::atomic<size_t> first_ = 0;
};

}  // namespace tidemark
