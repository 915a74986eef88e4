#pragma once

// For tests: a coordinator that hands out what a test queues and remembers what it is told.

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/model/duration.h"
#include "worker/agent/coordinator_client.h"

namespace tidemark::test {

class FakeCoordinator final : public CoordinatorClient {
 public:
  static constexpr int64_t kEpoch = 5;

  explicit FakeCoordinator(absl::Duration lease) : lease_(lease) {}

  absl::StatusOr<v1::RegisterResponse> Register(const v1::RegisterRequest& request, absl::Duration timeout) override {
    absl::MutexLock lock(&mutex_);
    if (!reachable_) return absl::UnavailableError("connection refused");
    incarnations_.push_back(request.incarnation());
    unknown_ = false;
    v1::RegisterResponse response;
    response.set_epoch(registering_epoch_);
    *response.mutable_lease() = ToProto(lease_);
    return response;
  }

  absl::StatusOr<v1::LeaseTasksResponse> LeaseTasks(const v1::LeaseTasksRequest& request,
                                                    absl::Duration timeout) override {
    absl::MutexLock lock(&mutex_);
    if (!reachable_) return absl::UnavailableError("connection refused");
    interrupted_ = false;
    free_slots_ = request.free_slots();
    const auto answer = [&] {
      return shut_down_ || interrupted_ || !reachable_ || !news_.cancel_tasks().empty() ||
             !news_.close_sessions().empty() || shares_told_ < shares_.size() ||
             (request.free_slots() > 0 && !tasks_.empty());
    };
    mutex_.AwaitWithTimeout(absl::Condition(&answer), FromProto(request.wait()));
    if (shut_down_ || interrupted_) return absl::CancelledError("cancelled");
    if (!reachable_) return absl::UnavailableError("connection reset");
    v1::LeaseTasksResponse response = std::exchange(news_, {});
    response.set_epoch(kEpoch);
    for (int i = 0; i < request.free_slots() && !tasks_.empty(); ++i) {
      *response.add_tasks() = std::move(tasks_.front());
      tasks_.pop_front();
    }
    *response.mutable_rate_shares() = shares_;
    shares_told_ = shares_.size();
    return response;
  }

  absl::StatusOr<v1::HeartbeatResponse> Heartbeat(const v1::HeartbeatRequest& request,
                                                  absl::Duration timeout) override {
    absl::MutexLock lock(&mutex_);
    if (shut_down_) return absl::CancelledError("cancelled");
    if (!reachable_) return absl::UnavailableError("connection refused");
    for (const v1::SessionState& session : request.sessions()) sessions_[session.session_id()] = session.state();
    for (const v1::TaskProgress& task : request.tasks()) progress_[task.task_id()] = task;
    ++heartbeats_;
    v1::HeartbeatResponse response;
    response.set_epoch(kEpoch);
    response.set_unknown_worker(unknown_);
    return response;
  }

  absl::StatusOr<v1::CompleteTaskResponse> CompleteTask(const v1::CompleteTaskRequest& request,
                                                        absl::Duration timeout) override {
    absl::MutexLock lock(&mutex_);
    ++completions_tried_;
    if (!reachable_ || shut_down_) return absl::UnavailableError("connection refused");
    if (!completion_errors_.empty()) {
      const absl::Status error = completion_errors_.front();
      completion_errors_.pop_front();
      return error;
    }
    // As gRPC does it.
    v1::CompleteTaskRequest parsed;
    if (!parsed.ParseFromString(request.SerializeAsString())) return absl::InternalError("Error deserializing");
    completed_[request.task_id()] = request;
    for (const v1::SessionState& session : request.sessions()) sessions_[session.session_id()] = session.state();
    v1::CompleteTaskResponse response;
    response.set_epoch(kEpoch);
    return response;
  }

  void InterruptLease() override {
    absl::MutexLock lock(&mutex_);
    interrupted_ = true;
  }
  void Shutdown() override {
    absl::MutexLock lock(&mutex_);
    shut_down_ = true;
  }

  void Queue(v1::Task task) {
    absl::MutexLock lock(&mutex_);
    tasks_.push_back(std::move(task));
  }
  void Cancel(const std::string& task_id) {
    absl::MutexLock lock(&mutex_);
    v1::TaskAttempt& task = *news_.add_cancel_tasks();
    task.set_task_id(task_id);
    task.set_attempt(1);
  }
  void CloseSession(const std::string& session_id) {
    absl::MutexLock lock(&mutex_);
    news_.add_close_sessions(session_id);
  }
  void SetShare(const std::string& connection, int64_t rows_per_second) {
    absl::MutexLock lock(&mutex_);
    v1::RateShare& share = *shares_.Add();
    share.set_connection(connection);
    share.set_rows_per_second(rows_per_second);
    share.set_version(shares_.size());
  }
  void SetReachable(bool reachable) {
    absl::MutexLock lock(&mutex_);
    reachable_ = reachable;
  }
  void ForgetWorker() {
    absl::MutexLock lock(&mutex_);
    unknown_ = true;
  }
  // Of the one who answers Register; kEpoch at first, as everything else.
  void SetRegisteringEpoch(int64_t epoch) {
    absl::MutexLock lock(&mutex_);
    registering_epoch_ = epoch;
  }
  void FailCompletions(std::deque<absl::Status> errors) {
    absl::MutexLock lock(&mutex_);
    completion_errors_ = std::move(errors);
  }

  // Waits, for 10 s at most, and returns what it waited for, if it came.
  std::optional<v1::CompleteTaskRequest> AwaitCompletion(const std::string& task_id) {
    absl::MutexLock lock(&mutex_);
    const auto there = [&] { return completed_.contains(task_id); };
    if (!mutex_.AwaitWithTimeout(absl::Condition(&there), absl::Seconds(10))) return std::nullopt;
    return completed_[task_id];
  }
  bool AwaitSession(const std::string& session_id, v1::SessionState::State state) {
    absl::MutexLock lock(&mutex_);
    const auto there = [&] { return sessions_.contains(session_id) && sessions_[session_id] == state; };
    return mutex_.AwaitWithTimeout(absl::Condition(&there), absl::Seconds(10));
  }
  bool AwaitProgress(const std::string& task_id) {
    absl::MutexLock lock(&mutex_);
    const auto there = [&] { return progress_.contains(task_id); };
    return mutex_.AwaitWithTimeout(absl::Condition(&there), absl::Seconds(10));
  }
  bool AwaitIncarnations(size_t count) {
    absl::MutexLock lock(&mutex_);
    const auto there = [&] { return incarnations_.size() >= count; };
    return mutex_.AwaitWithTimeout(absl::Condition(&there), absl::Seconds(10));
  }
  bool AwaitFreeSlots(int slots) {
    absl::MutexLock lock(&mutex_);
    const auto there = [&] { return free_slots_ == slots; };
    return mutex_.AwaitWithTimeout(absl::Condition(&there), absl::Seconds(10));
  }
  bool Completed(const std::string& task_id) {
    absl::MutexLock lock(&mutex_);
    return completed_.contains(task_id);
  }
  int completions_tried() {
    absl::MutexLock lock(&mutex_);
    return completions_tried_;
  }
  std::vector<std::string> incarnations() {
    absl::MutexLock lock(&mutex_);
    return incarnations_;
  }
  size_t queued() {
    absl::MutexLock lock(&mutex_);
    return tasks_.size();
  }

 private:
  const absl::Duration lease_;
  absl::Mutex mutex_;
  int64_t registering_epoch_ ABSL_GUARDED_BY(mutex_) = kEpoch;
  bool reachable_ ABSL_GUARDED_BY(mutex_) = true;
  bool unknown_ ABSL_GUARDED_BY(mutex_) = false;
  bool interrupted_ ABSL_GUARDED_BY(mutex_) = false;
  bool shut_down_ ABSL_GUARDED_BY(mutex_) = false;
  int free_slots_ ABSL_GUARDED_BY(mutex_) = -1;
  int heartbeats_ ABSL_GUARDED_BY(mutex_) = 0;
  int completions_tried_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<v1::Task> tasks_ ABSL_GUARDED_BY(mutex_);
  v1::LeaseTasksResponse news_ ABSL_GUARDED_BY(mutex_);
  google::protobuf::RepeatedPtrField<v1::RateShare> shares_ ABSL_GUARDED_BY(mutex_);
  int shares_told_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<absl::Status> completion_errors_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> incarnations_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, v1::SessionState::State> sessions_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, v1::TaskProgress> progress_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, v1::CompleteTaskRequest> completed_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tidemark::test
