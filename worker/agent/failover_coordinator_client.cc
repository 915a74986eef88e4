#include "worker/agent/failover_coordinator_client.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/rpc/error_details.h"

namespace tidemark {

FailoverCoordinatorClient::FailoverCoordinatorClient(std::vector<std::unique_ptr<CoordinatorClient>> coordinators)
    : coordinators_(std::move(coordinators)) {}

template <class Response, class Call>
absl::StatusOr<Response> FailoverCoordinatorClient::Try(const Call& call) {
  const size_t first = first_;
  absl::Status unreachable;
  absl::Status not_leader;
  for (size_t i = 0; i < coordinators_.size(); ++i) {
    const size_t index = (first + i) % coordinators_.size();
    absl::StatusOr<Response> answer = call(*coordinators_[index]);
    if (IsNotLeader(answer.status())) {
      not_leader = answer.status();
      continue;
    }
    if (absl::IsUnavailable(answer.status())) {
      unreachable = answer.status();
      continue;
    }
    first_ = absl::IsDeadlineExceeded(answer.status()) ? (index + 1) % coordinators_.size() : index;
    return answer;
  }
  if (unreachable.ok()) return absl::UnavailableError(not_leader.message());
  return unreachable;
}

absl::StatusOr<v1::RegisterResponse> FailoverCoordinatorClient::Register(const v1::RegisterRequest& request,
                                                                         absl::Duration timeout) {
  return Try<v1::RegisterResponse>(
      [&](CoordinatorClient& coordinator) { return coordinator.Register(request, timeout); });
}

absl::StatusOr<v1::LeaseTasksResponse> FailoverCoordinatorClient::LeaseTasks(const v1::LeaseTasksRequest& request,
                                                                             absl::Duration timeout) {
  return Try<v1::LeaseTasksResponse>(
      [&](CoordinatorClient& coordinator) { return coordinator.LeaseTasks(request, timeout); });
}

absl::StatusOr<v1::HeartbeatResponse> FailoverCoordinatorClient::Heartbeat(const v1::HeartbeatRequest& request,
                                                                           absl::Duration timeout) {
  return Try<v1::HeartbeatResponse>(
      [&](CoordinatorClient& coordinator) { return coordinator.Heartbeat(request, timeout); });
}

absl::StatusOr<v1::CompleteTaskResponse> FailoverCoordinatorClient::CompleteTask(const v1::CompleteTaskRequest& request,
                                                                                 absl::Duration timeout) {
  return Try<v1::CompleteTaskResponse>(
      [&](CoordinatorClient& coordinator) { return coordinator.CompleteTask(request, timeout); });
}

void FailoverCoordinatorClient::InterruptLease() {
  for (const auto& coordinator : coordinators_) coordinator->InterruptLease();
}

void FailoverCoordinatorClient::Shutdown() {
  for (const auto& coordinator : coordinators_) coordinator->Shutdown();
}

}  // namespace tidemark
