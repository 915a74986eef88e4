#include "worker/agent/agent_core.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tidemark {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

constexpr absl::Duration kLease = absl::Seconds(15);

class AgentCoreTest : public testing::Test {
 protected:
  AgentCoreTest() { Register("inc-1", absl::ZeroDuration()); }

  void Register(const std::string& incarnation, absl::Duration at) {
    ASSERT_TRUE(core_.NeedsRegistration());
    const v1::RegisterRequest request = core_.MakeRegister(incarnation);
    EXPECT_EQ(request.incarnation(), incarnation);
    v1::RegisterResponse response;
    response.set_epoch(epoch_);
    response.mutable_lease()->set_seconds(15);
    EXPECT_TRUE(core_.Registered(at, response));
  }

  static v1::TaskAttempt Attempt(const std::string& id, int64_t attempt = 1) {
    v1::TaskAttempt task;
    task.set_task_id(id);
    task.set_attempt(attempt);
    return task;
  }

  v1::LeaseTasksResponse Lease(const std::string& id, const std::string& session = "", int64_t attempt = 1,
                               bool open = true) const {
    v1::LeaseTasksResponse response;
    response.set_epoch(epoch_);
    v1::Task& task = *response.add_tasks();
    task.set_task_id(id);
    task.set_attempt(attempt);
    if (!session.empty()) {
      task.mutable_session()->set_session_id(session);
      task.mutable_session()->set_open(open);
    }
    return response;
  }

  // A task that has finished its extract and left its session idle.
  void LeaveIdle(const std::string& task, const std::string& session) {
    ASSERT_THAT(core_.Leased(Lease(task, session)).start, SizeIs(1));
    ASSERT_TRUE(core_.MayKeepSession(session, true));
    ASSERT_TRUE(core_.TaskFinished(Attempt(task)));
    core_.TaskGone(Attempt(task));
  }

  // A heartbeat that is answered, sent at `at`.
  AgentCore::Actions Beat(absl::Duration at, const v1::HeartbeatResponse& response) {
    return core_.HeartbeatAnswered(at, core_.MakeHeartbeat(), response);
  }
  v1::HeartbeatResponse Answer() const {
    v1::HeartbeatResponse response;
    response.set_epoch(epoch_);
    return response;
  }

  std::map<std::string, v1::SessionState::State> Sessions() const {
    std::map<std::string, v1::SessionState::State> states;
    const v1::HeartbeatRequest heartbeat = core_.MakeHeartbeat();
    for (const v1::SessionState& session : heartbeat.sessions()) {
      states[session.session_id()] = session.state();
    }
    return states;
  }

  int64_t epoch_ = 5;
  AgentCore core_{"worker-1", 2, "test"};
};

TEST_F(AgentCoreTest, StartsWhatItIsLeasedAndCountsItsSlots) {
  EXPECT_EQ(core_.MakeLease().free_slots(), 2);
  EXPECT_THAT(core_.Leased(Lease("a", "s1")).start, SizeIs(1));
  EXPECT_EQ(core_.MakeLease().free_slots(), 1);
  EXPECT_THAT(core_.MakeHeartbeat().tasks(), SizeIs(1));
  EXPECT_EQ(Sessions()["s1"], v1::SessionState::STATE_BUSY);
  EXPECT_TRUE(core_.TaskFinished(Attempt("a")));
  // Until its completion is acknowledged the task is held.
  EXPECT_EQ(core_.MakeLease().free_slots(), 1);
  core_.TaskGone(Attempt("a"));
  EXPECT_EQ(core_.MakeLease().free_slots(), 2);
}

TEST_F(AgentCoreTest, AReplacedLeaderRegistersNobody) {
  core_.Unknown();
  ASSERT_TRUE(core_.NeedsRegistration());
  core_.MakeRegister("inc-2");
  v1::RegisterResponse response;
  response.set_epoch(epoch_ - 1);
  EXPECT_FALSE(core_.Registered(absl::Seconds(1), response));
  EXPECT_TRUE(core_.NeedsRegistration());
}

TEST_F(AgentCoreTest, TheSameLeaseTwiceIsOneTask) {
  EXPECT_THAT(core_.Leased(Lease("a", "s1")).start, SizeIs(1));
  const AgentCore::Actions again = core_.Leased(Lease("a", "s1"));
  EXPECT_THAT(again.start, IsEmpty());
  EXPECT_THAT(again.refuse, IsEmpty());
  EXPECT_THAT(again.cancel, IsEmpty());
}

TEST_F(AgentCoreTest, ANewAttemptEndsTheOlderOne) {
  core_.Leased(Lease("a", "s1", 1));
  const AgentCore::Actions newer = core_.Leased(Lease("a", "s2", 2));
  EXPECT_THAT(newer.start, SizeIs(1));
  ASSERT_THAT(newer.cancel, SizeIs(1));
  EXPECT_EQ(newer.cancel[0].attempt(), 1);
  // An answer that was overtaken brings the older attempt once more.
  core_.TaskGone(Attempt("a", 1));
  const AgentCore::Actions older = core_.Leased(Lease("a", "s1", 1));
  EXPECT_THAT(older.start, IsEmpty());
  EXPECT_THAT(older.refuse, IsEmpty());
}

TEST_F(AgentCoreTest, MoreThanItsSlotsIsRefused) {
  core_.Leased(Lease("a"));
  core_.Leased(Lease("b"));
  const AgentCore::Actions third = core_.Leased(Lease("c"));
  EXPECT_THAT(third.start, IsEmpty());
  ASSERT_THAT(third.refuse, SizeIs(1));
  EXPECT_EQ(third.refuse[0].second.code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(AgentCoreTest, AnIdleSessionServesTheNextTask) {
  LeaveIdle("a", "s1");
  EXPECT_EQ(Sessions()["s1"], v1::SessionState::STATE_IDLE);
  EXPECT_THAT(core_.Leased(Lease("b", "s1", 1, /*open=*/false)).start, SizeIs(1));
  EXPECT_EQ(Sessions()["s1"], v1::SessionState::STATE_BUSY);
  // While it is in use, nobody else gets it.
  EXPECT_THAT(core_.Leased(Lease("c", "s1", 1, /*open=*/false)).refuse, SizeIs(1));
}

TEST_F(AgentCoreTest, ASessionThatIsNotHeldIsNotOpenedUnasked) {
  const AgentCore::Actions actions = core_.Leased(Lease("a", "s1", 1, /*open=*/false));
  EXPECT_THAT(actions.start, IsEmpty());
  ASSERT_THAT(actions.refuse, SizeIs(1));
  EXPECT_EQ(actions.refuse[0].second.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Sessions()["s1"], v1::SessionState::STATE_CLOSED);
}

TEST_F(AgentCoreTest, ClosedIsReportedUntilItIsAcknowledged) {
  core_.Leased(Lease("a", "s1"));
  EXPECT_FALSE(core_.MayKeepSession("s1", false));
  // Still open while it is being closed.
  EXPECT_EQ(Sessions()["s1"], v1::SessionState::STATE_BUSY);
  const v1::HeartbeatRequest before = core_.MakeHeartbeat();
  core_.SessionClosed("s1");
  // An answer to a heartbeat from before does not count.
  core_.HeartbeatAnswered(absl::Seconds(1), before, Answer());
  EXPECT_EQ(Sessions()["s1"], v1::SessionState::STATE_CLOSED);
  Beat(absl::Seconds(1), Answer());
  EXPECT_THAT(Sessions(), IsEmpty());
}

TEST_F(AgentCoreTest, TheCoordinatorClosesSessions) {
  LeaveIdle("a", "s1");
  core_.Leased(Lease("b", "s2"));
  v1::HeartbeatResponse response = Answer();
  for (const char* session : {"s1", "s2", "s3"}) response.add_close_sessions(session);
  AgentCore::Actions actions = Beat(absl::Seconds(1), response);
  EXPECT_THAT(actions.close_sessions, ElementsAre("s1"));
  EXPECT_THAT(actions.interrupt_sessions, ElementsAre("s2"));
  EXPECT_TRUE(actions.heartbeat_now);
  core_.SessionClosed("s1");
  EXPECT_FALSE(core_.MayKeepSession("s2", true));
  core_.SessionClosed("s2");
  EXPECT_THAT(Sessions(), UnorderedElementsAre(testing::Pair("s1", v1::SessionState::STATE_CLOSED),
                                               testing::Pair("s2", v1::SessionState::STATE_CLOSED),
                                               testing::Pair("s3", v1::SessionState::STATE_CLOSED)));
  // Told twice, done once.
  actions = Beat(absl::Seconds(2), response);
  EXPECT_THAT(actions.close_sessions, IsEmpty());
  EXPECT_THAT(actions.interrupt_sessions, IsEmpty());
}

TEST_F(AgentCoreTest, AGrantThatWasOvertakenByItsEndOpensNothing) {
  v1::HeartbeatResponse response = Answer();
  response.add_close_sessions("s1");
  *response.add_cancel_tasks() = Attempt("b");
  Beat(absl::Seconds(1), response);
  EXPECT_THAT(core_.Leased(Lease("a", "s1")).start, IsEmpty());
  const AgentCore::Actions cancelled = core_.Leased(Lease("b", "s2"));
  EXPECT_THAT(cancelled.start, IsEmpty());
  ASSERT_THAT(cancelled.refuse, SizeIs(1));
  EXPECT_EQ(cancelled.refuse[0].second.code(), absl::StatusCode::kCancelled);
}

TEST_F(AgentCoreTest, WithoutAnAcknowledgedHeartbeatItLetsGoAtTwoThirdsOfTheLease) {
  LeaveIdle("a", "s1");
  core_.Leased(Lease("b", "s2"));
  Beat(absl::Seconds(3), Answer());
  EXPECT_EQ(core_.Deadline(), absl::Seconds(13));
  EXPECT_THAT(core_.Tick(absl::Seconds(12.9)).close_sessions, IsEmpty());
  const AgentCore::Actions actions = core_.Tick(absl::Seconds(13));
  EXPECT_THAT(actions.close_sessions, ElementsAre("s1"));
  EXPECT_THAT(actions.interrupt_sessions, ElementsAre("s2"));
  EXPECT_EQ(core_.free_slots(), 0);
  EXPECT_THAT(core_.Leased(Lease("c", "s3")).refuse, SizeIs(1));
  EXPECT_FALSE(core_.MayKeepSession("s2", true));
  core_.TaskGone(Attempt("c"));

  // The task goes on as far as it can, and once it is heard again the worker takes work again.
  Beat(absl::Seconds(20), Answer());
  EXPECT_EQ(core_.free_slots(), 1);
  EXPECT_EQ(core_.Deadline(), absl::Seconds(30));
}

TEST_F(AgentCoreTest, AnAnswerCountsFromWhenItsRequestWasSent) {
  const v1::HeartbeatRequest slow = core_.MakeHeartbeat();
  Beat(absl::Seconds(8), Answer());
  core_.HeartbeatAnswered(absl::Seconds(2), slow, Answer());
  EXPECT_EQ(core_.Deadline(), absl::Seconds(18));
}

TEST_F(AgentCoreTest, AnswersOfAnOlderLeaderAreDropped) {
  core_.Leased(Lease("a", "s1"));
  epoch_ = 6;
  Beat(absl::Seconds(3), Answer());
  epoch_ = 5;
  v1::HeartbeatResponse response = Answer();
  response.add_close_sessions("s1");
  *response.add_cancel_tasks() = Attempt("a");
  response.set_unknown_worker(true);
  const AgentCore::Actions actions = Beat(absl::Seconds(9), response);
  EXPECT_THAT(actions.interrupt_sessions, IsEmpty());
  EXPECT_THAT(actions.cancel, IsEmpty());
  EXPECT_TRUE(core_.registered());
  EXPECT_EQ(core_.Deadline(), absl::Seconds(13));
  EXPECT_THAT(core_.Leased(Lease("b")).start, IsEmpty());
}

TEST_F(AgentCoreTest, ANewLeaderKeepsTheWorkGoing) {
  core_.Leased(Lease("a", "s1"));
  epoch_ = 6;
  const AgentCore::Actions actions = Beat(absl::Seconds(3), Answer());
  EXPECT_THAT(actions.cancel, IsEmpty());
  EXPECT_TRUE(core_.TaskFinished(Attempt("a")));
}

TEST_F(AgentCoreTest, AnUnknownWorkerGivesUpEverythingBeforeItRegistersAnew) {
  LeaveIdle("a", "s1");
  core_.Leased(Lease("b", "s2"));
  v1::HeartbeatResponse response = Answer();
  response.set_unknown_worker(true);
  const AgentCore::Actions actions = Beat(absl::Seconds(3), response);
  EXPECT_THAT(actions.close_sessions, ElementsAre("s1"));
  EXPECT_THAT(actions.interrupt_sessions, ElementsAre("s2"));
  ASSERT_THAT(actions.cancel, SizeIs(1));
  EXPECT_FALSE(core_.NeedsRegistration());
  core_.SessionClosed("s1");
  EXPECT_FALSE(core_.MayKeepSession("s2", true));
  core_.SessionClosed("s2");
  EXPECT_FALSE(core_.NeedsRegistration());
  // Nobody wants its outcome.
  EXPECT_FALSE(core_.TaskFinished(Attempt("b")));
  core_.TaskGone(Attempt("b"));
  Register("inc-2", absl::Seconds(4));
  EXPECT_THAT(Sessions(), IsEmpty());
  EXPECT_EQ(core_.MakeLease().incarnation(), "inc-2");
}

TEST_F(AgentCoreTest, CancelIsPassedOnOnce) {
  core_.Leased(Lease("a"));
  v1::LeaseTasksResponse response;
  response.set_epoch(epoch_);
  *response.add_cancel_tasks() = Attempt("a");
  *response.add_cancel_tasks() = Attempt("a", 2);
  EXPECT_THAT(core_.Leased(response).cancel, SizeIs(1));
  EXPECT_THAT(core_.Leased(response).cancel, IsEmpty());
}

TEST_F(AgentCoreTest, KeepsTheNewestShareAndEchoesIt) {
  v1::HeartbeatResponse response = Answer();
  v1::RateShare& share = *response.add_rate_shares();
  share.set_connection("shop");
  share.set_rows_per_second(100);
  share.set_version(2);
  AgentCore::Actions actions = Beat(absl::Seconds(1), response);
  ASSERT_THAT(actions.rate_shares, SizeIs(1));
  EXPECT_TRUE(actions.heartbeat_now);
  EXPECT_EQ(core_.MakeHeartbeat().rate_shares(0).version(), 2);
  EXPECT_EQ(core_.MakeLease().rate_shares(0).rows_per_second(), 100);

  // Overtaken.
  share.set_version(1);
  share.set_rows_per_second(900);
  EXPECT_THAT(Beat(absl::Seconds(2), response).rate_shares, IsEmpty());
  EXPECT_EQ(core_.MakeHeartbeat().rate_shares(0).rows_per_second(), 100);

  // Another leader counts its versions anew.
  epoch_ = 6;
  response.set_epoch(6);
  actions = Beat(absl::Seconds(3), response);
  ASSERT_THAT(actions.rate_shares, SizeIs(1));
  EXPECT_EQ(actions.rate_shares[0].rows_per_second(), 900);
}

TEST_F(AgentCoreTest, ADrainTakesNoMore) {
  LeaveIdle("a", "s1");
  core_.Leased(Lease("b", "s2"));
  core_.Drain();
  EXPECT_EQ(core_.MakeLease().free_slots(), 0);
  // What was on its way is leased, and is finished.
  EXPECT_THAT(core_.Leased(Lease("c")).start, SizeIs(1));
  EXPECT_THAT(core_.CloseIdleSessions().close_sessions, ElementsAre("s1"));
}

}  // namespace
}  // namespace tidemark
