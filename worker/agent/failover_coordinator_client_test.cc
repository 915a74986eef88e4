#include "worker/agent/failover_coordinator_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/rpc/error_details.h"

namespace tidemark {
namespace {

using testing::HasSubstr;

// Answers every call alike.
class OneAnswer final : public CoordinatorClient {
 public:
  absl::StatusOr<v1::RegisterResponse> Register(const v1::RegisterRequest&, absl::Duration) override {
    return Say<v1::RegisterResponse>();
  }
  absl::StatusOr<v1::LeaseTasksResponse> LeaseTasks(const v1::LeaseTasksRequest&, absl::Duration) override {
    return Say<v1::LeaseTasksResponse>();
  }
  absl::StatusOr<v1::HeartbeatResponse> Heartbeat(const v1::HeartbeatRequest&, absl::Duration) override {
    return Say<v1::HeartbeatResponse>();
  }
  absl::StatusOr<v1::CompleteTaskResponse> CompleteTask(const v1::CompleteTaskRequest&, absl::Duration) override {
    return Say<v1::CompleteTaskResponse>();
  }
  void InterruptLease() override { ++interrupts; }
  void Shutdown() override { ++shutdowns; }

  absl::Status status;
  int calls = 0;
  int interrupts = 0;
  int shutdowns = 0;

 private:
  template <class Response>
  absl::StatusOr<Response> Say() {
    ++calls;
    if (!status.ok()) return status;
    return Response();
  }
};

class FailoverTest : public testing::Test {
 protected:
  FailoverTest() {
    std::vector<std::unique_ptr<CoordinatorClient>> coordinators;
    for (OneAnswer*& each : each_) {
      auto made = std::make_unique<OneAnswer>();
      each = made.get();
      coordinators.push_back(std::move(made));
    }
    client_ = std::make_unique<FailoverCoordinatorClient>(std::move(coordinators));
  }

  // How often each was called meanwhile.
  std::vector<int> Calls() {
    std::vector<int> calls;
    for (OneAnswer* each : each_) calls.push_back(std::exchange(each->calls, 0));
    return calls;
  }
  absl::Status Heartbeat() { return client_->Heartbeat({}, absl::Seconds(1)).status(); }

  std::array<OneAnswer*, 3> each_ = {};
  std::unique_ptr<FailoverCoordinatorClient> client_;
};

TEST_F(FailoverTest, TheLastGoodOneIsFirst) {
  each_[0]->status = absl::UnavailableError("refused");
  each_[1]->status = NotLeaderError("epoch 3 leads");
  EXPECT_TRUE(client_->Register({}, absl::Seconds(1)).ok());
  EXPECT_EQ(Calls(), (std::vector<int>{1, 1, 1}));
  EXPECT_TRUE(Heartbeat().ok());
  EXPECT_TRUE(client_->LeaseTasks({}, absl::Seconds(1)).ok());
  EXPECT_TRUE(client_->CompleteTask({}, absl::Seconds(1)).ok());
  EXPECT_EQ(Calls(), (std::vector<int>{0, 0, 3}));
  each_[2]->status = NotLeaderError("epoch 3 leads");
  each_[0]->status = absl::OkStatus();
  EXPECT_TRUE(Heartbeat().ok());
  EXPECT_EQ(Calls(), (std::vector<int>{1, 0, 1}));
}

TEST_F(FailoverTest, OtherErrorsAreTheLeaders) {
  each_[0]->status = absl::FailedPreconditionError("stale attempt");
  EXPECT_EQ(Heartbeat(), each_[0]->status);
  each_[0]->status = absl::CancelledError("interrupted");
  EXPECT_EQ(Heartbeat(), each_[0]->status);
  EXPECT_EQ(Calls(), (std::vector<int>{2, 0, 0}));
}

TEST_F(FailoverTest, WithoutALeaderNothingIsGivenUp) {
  for (OneAnswer* each : each_) each->status = NotLeaderError("epoch 3 leads");
  EXPECT_TRUE(absl::IsUnavailable(Heartbeat()));
  EXPECT_THAT(std::string(Heartbeat().message()), HasSubstr("not the leader"));
  each_[1]->status = absl::UnavailableError("refused");
  EXPECT_EQ(Heartbeat(), each_[1]->status) << "that one may lead";
}

TEST_F(FailoverTest, OneThatHangsIsLeft) {
  each_[0]->status = absl::DeadlineExceededError("slow");
  EXPECT_TRUE(absl::IsDeadlineExceeded(Heartbeat()));
  EXPECT_TRUE(Heartbeat().ok());
  EXPECT_EQ(Calls(), (std::vector<int>{1, 1, 0}));
}

TEST_F(FailoverTest, AllAreInterruptedAndShutDown) {
  client_->InterruptLease();
  client_->Shutdown();
  for (OneAnswer* each : each_) {
    EXPECT_EQ(each->interrupts, 1);
    EXPECT_EQ(each->shutdowns, 1);
  }
}

}  // namespace
}  // namespace tidemark
