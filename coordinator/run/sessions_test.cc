// Source sessions that a worker was granted and never opened.
#include "coordinator/run/coordinator_steps.h"

namespace tidemark::coordinator {
namespace {

using testing::ElementsAre;

class SessionsTest : public CoordinatorSteps {
 protected:
  SessionsTest() { Boot(); }

  // The worker lists `held`, and nothing else.
  absl::StatusOr<v1::HeartbeatResponse> Heartbeat(const v1::Task& held, const std::string& closed = "") {
    clock_.Advance(absl::Seconds(4));
    v1::HeartbeatRequest request;
    request.set_worker_id(worker_);
    request.set_incarnation("1");
    v1::TaskProgress& progress = *request.add_tasks();
    progress.set_task_id(held.task_id());
    progress.set_attempt(held.attempt());
    v1::SessionState& session = *request.add_sessions();
    session.set_session_id(held.session().session_id());
    session.set_state(v1::SessionState::STATE_BUSY);
    if (!closed.empty()) {
      v1::SessionState& gone = *request.add_sessions();
      gone.set_session_id(closed);
      gone.set_state(v1::SessionState::STATE_CLOSED);
    }
    return core_->Heartbeat(request);
  }
};

TEST_F(SessionsTest, OneOfALostLeaseIsGivenBackThoughTheStoresAnswerWasLostToo) {
  v1::JobSpec job = Job("full");
  job.mutable_target()->set_strategy(v1::LOAD_STRATEGY_FULL);
  ASSERT_EQ(
      core_->ApplyProject(
          {Connection("src", "postgresql://host/shop", 2), Connection("dst", "postgresql://host/warehouse", 2)}, {job}),
      absl::OkStatus());
  Register(4);
  const std::string run = core_->StartRun("full", {}).value();
  ASSERT_EQ(Describe(Next(v1::Task::kDescribe), 1000), absl::OkStatus());
  const v1::Task held = Next(v1::Task::kMove);
  const v1::Task lost = Next(v1::Task::kMove);
  const std::string session = lost.session().session_id();
  ASSERT_NE(session, held.session().session_id());

  ASSERT_TRUE(Heartbeat(held).ok());
  // The task is taken back, and nobody hears that it is stored.
  faults_.doubtful_write = 1;
  EXPECT_TRUE(absl::IsUnavailable(Heartbeat(held).status()));
  const absl::StatusOr<v1::HeartbeatResponse> told = Heartbeat(held);
  ASSERT_TRUE(told.ok()) << told.status();
  EXPECT_THAT(told->close_sessions(), ElementsAre(session));
  EXPECT_EQ(core_->budget().OfRun(run).size(), 2u);
  ASSERT_TRUE(Heartbeat(held, session).ok());
  EXPECT_EQ(core_->budget().OfRun(run).size(), 1u);
  EXPECT_EQ(Next(v1::Task::kMove).task_id(), lost.task_id());
}

}  // namespace
}  // namespace tidemark::coordinator
