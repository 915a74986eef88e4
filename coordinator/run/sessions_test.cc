// Source sessions when answers, workers and leaders are lost.
#include "coordinator/run/coordinator_steps.h"

namespace tidemark::coordinator {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class SessionsTest : public CoordinatorSteps {
 protected:
  SessionsTest() { Boot(); }

  // A full load, which reads in one snapshot, from a source of so many sessions.
  std::string StartFullLoad(int max_connections) {
    job_.mutable_target()->set_strategy(v1::LOAD_STRATEGY_FULL);
    job_.mutable_retry()->mutable_backoff()->set_nanos(1'000'000);
    connections_[0].set_max_connections(max_connections);
    Apply();
    Register(4);
    return core_->StartRun("full", {}).value();
  }
  void Apply() {
    const absl::Status applied = core_->ApplyProject(connections_, {job_});
    ASSERT_TRUE(applied.ok()) << applied;
  }
  // The coordinator dies, and another one leads.
  void TakeOver() {
    Boot();
    Apply();
  }

  // The worker lists `held`, and nothing else.
  absl::StatusOr<v1::HeartbeatResponse> Heartbeat(const v1::Task& held, const std::string& closed = "") {
    clock_.Advance(absl::Seconds(4));
    v1::HeartbeatRequest request;
    request.set_worker_id(worker_);
    request.set_incarnation(incarnation_);
    request.set_slots(4);
    v1::TaskProgress& progress = *request.add_tasks();
    progress.set_task_id(held.task_id());
    progress.set_attempt(held.attempt());
    progress.set_extracted(extracted_);
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

  // Of the task that the worker lists.
  bool extracted_ = false;
  std::vector<v1::ConnectionSpec> connections_ = {Connection("src", "postgresql://host/shop", 2),
                                                  Connection("dst", "postgresql://host/warehouse", 2)};
  v1::JobSpec job_ = Job("full");
};

TEST_F(SessionsTest, OneOfALostLeaseIsGivenBackThoughTheStoresAnswerWasLostToo) {
  const std::string run = StartFullLoad(/*max_connections=*/2);
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

TEST_F(SessionsTest, AnAttemptWhoseSessionIsClosedIsHeardBeforeItsRunStartsOver) {
  const std::string run = StartFullLoad(/*max_connections=*/1);
  ASSERT_EQ(Describe(Next(v1::Task::kDescribe), 1000), absl::OkStatus());
  const v1::Task move = Next(v1::Task::kMove);

  // A worker gives a session back as soon as it can: before the attempt's report.
  ASSERT_TRUE(Heartbeat(move, move.session().session_id()).ok());
  EXPECT_THAT(core_->budget().OfRun(run), IsEmpty());
  EXPECT_EQ(core_->GetRun(run)->phase, RunPhase::kMoving);
  EXPECT_EQ(Fail(move, SimulatedError(8, "no space left on device", /*retryable=*/true)), absl::OkStatus());
  EXPECT_EQ(core_->GetRun(run)->phase, RunPhase::kDescribing);
  EXPECT_EQ(core_->GetRun(run)->error, "started over: the source's snapshot was lost: no space left on device");
}

TEST_F(SessionsTest, AnAttemptThatHasReadAllHasNoSessionToExplain) {
  const std::string run = StartFullLoad(/*max_connections=*/1);
  ASSERT_EQ(Describe(Next(v1::Task::kDescribe), 1000), absl::OkStatus());
  const v1::Task move = Next(v1::Task::kMove);
  extracted_ = true;
  ASSERT_TRUE(Heartbeat(move, move.session().session_id()).ok());
  EXPECT_NE(core_->GetRun(run)->phase, RunPhase::kMoving);
}

TEST_F(SessionsTest, ALeaderThatCannotStartGivesTheLeaseBack) {
  StartFullLoad(/*max_connections=*/1);
  Next(v1::Task::kDescribe);
  core_->Resign();
  // It takes the task back, and does not hear whether it is stored.
  options_.workers_died_with_us = true;
  faults_.doubtful_write = 1;
  EXPECT_TRUE(absl::IsUnavailable(TryBoot()));
  EXPECT_EQ(store_->AcquireLeadership("next", absl::Minutes(1), 0).status(), absl::OkStatus());
}

TEST_F(SessionsTest, ARunThatYieldsToAnotherKeepsItsSnapshot) {
  v1::JobSpec other = Job("other");
  other.mutable_source()->set_connection("src");
  const std::string run = StartFullLoad(/*max_connections=*/2);
  ASSERT_EQ(core_->ApplyProject(connections_, {job_, other}), absl::OkStatus());
  v1::CompleteTaskRequest described = Described(Next(v1::Task::kDescribe), 1000);
  v1::PartitionFacts& facts = *described.mutable_describe()->mutable_partition_facts(0);
  facts.add_quantiles()->add_values("750");
  facts.add_quantiles()->add_values("900");
  ASSERT_EQ(Complete(described), absl::OkStatus());
  const v1::Task first = Next(v1::Task::kMove);
  const v1::Task second = Next(v1::Task::kMove);
  ASSERT_TRUE(core_->StartRun("other", {}).ok());
  ASSERT_EQ(Move(first, 500), absl::OkStatus());
  ASSERT_EQ(Move(second, 250), absl::OkStatus());
  int kept = 0;
  for (const Permit* permit : core_->budget().OfRun(run)) kept += permit->state != Permit::State::kClosing;
  EXPECT_EQ(kept, 1);
  EXPECT_EQ(core_->budget().OfRun(run).size(), 2u) << "one is closed for the other job";
}

TEST_F(SessionsTest, AWorkerThatDrainsHandsItsSnapshotOn) {
  const std::string run = StartFullLoad(/*max_connections=*/2);
  ASSERT_EQ(Describe(Next(v1::Task::kDescribe), 1000), absl::OkStatus());
  const v1::Task first = Next(v1::Task::kMove);
  const auto closing = [&] {
    std::vector<std::string> sessions;
    for (const Permit* permit : core_->budget().OfRun(run)) {
      if (permit->state == Permit::State::kClosing) sessions.push_back(permit->session_id);
    }
    return sessions;
  };
  ASSERT_TRUE(core_->DrainWorker(worker_, "ann").ok());
  worker_ = "other";
  Register(4);
  worker_ = "w";
  ASSERT_EQ(Move(first, 500), absl::OkStatus());
  EXPECT_THAT(closing(), IsEmpty());
  worker_ = "other";
  const v1::Task second = Next(v1::Task::kMove);
  EXPECT_EQ(second.session().import_snapshot(), "snap");
  ASSERT_TRUE(core_->Tick().ok());
  EXPECT_THAT(closing(), IsEmpty()) << "who is to import it may not have done so yet";
  ASSERT_EQ(Move(second, 500), absl::OkStatus());
  EXPECT_THAT(closing(), testing::Contains(first.session().session_id()));
  EXPECT_EQ(store_->GetRun(run)->error, "");
}

TEST_F(SessionsTest, AWorkerThatDrainsWithEverySessionOfARunKeepsTheOneToImportFrom) {
  const std::string run = StartFullLoad(/*max_connections=*/2);
  v1::CompleteTaskRequest described = Described(Next(v1::Task::kDescribe), 1000);
  v1::PartitionFacts& facts = *described.mutable_describe()->mutable_partition_facts(0);
  facts.add_quantiles()->add_values("750");
  facts.add_quantiles()->add_values("900");
  ASSERT_EQ(Complete(described), absl::OkStatus());
  const v1::Task exporter = Next(v1::Task::kMove);
  const v1::Task importer = Next(v1::Task::kMove);
  EXPECT_EQ(importer.session().import_snapshot(), "snap");
  ASSERT_TRUE(core_->DrainWorker(worker_, "ann").ok());
  worker_ = "other";
  Register(4);
  worker_ = "w";
  ASSERT_EQ(Move(exporter, 500), absl::OkStatus());
  ASSERT_EQ(Move(importer, 250), absl::OkStatus());
  ASSERT_TRUE(core_->Tick().ok());
  EXPECT_EQ(core_->budget().Find(exporter.session().session_id())->state, Permit::State::kIdle);
  EXPECT_EQ(core_->budget().Find(importer.session().session_id())->state, Permit::State::kClosing);
  ASSERT_TRUE(Heartbeat(exporter, importer.session().session_id()).ok());
  worker_ = "other";
  EXPECT_EQ(Next(v1::Task::kMove).session().import_snapshot(), "snap");
  EXPECT_EQ(core_->GetRun(run)->error, "");
}

TEST_F(SessionsTest, OneThatIsReadIsNobodyElsesAfterATakeOver) {
  StartFullLoad(/*max_connections=*/2);
  ASSERT_EQ(Describe(Next(v1::Task::kDescribe), 1000), absl::OkStatus());
  const v1::Task move = Next(v1::Task::kMove);
  EXPECT_EQ(move.move().source_identity(), "server-1");
  ASSERT_FALSE(move.session().open()) << "it reads on the session of its run's describe";
  TakeOver();
  EXPECT_THAT(Heartbeat(move)->close_sessions(), IsEmpty());
  EXPECT_NE(Next(v1::Task::kMove).session().session_id(), move.session().session_id());
}

TEST_F(SessionsTest, OneCountsWhereItWasOpenedThoughItsConnectionLeadsElsewhereNow) {
  StartFullLoad(/*max_connections=*/2);
  Next(v1::Task::kDescribe);
  ASSERT_EQ(core_->budget().Held("src"), 1);
  connections_[0].set_dsn("postgresql://elsewhere/shop");
  Apply();
  TakeOver();
  EXPECT_EQ(core_->budget().Held("src"), 0);
  EXPECT_EQ(core_->budget().All().size(), 1u);
}

TEST_F(SessionsTest, ThoseOfAnEarlierLifeOfAWorkerAreGoneSomeTimeAfterATakeOver) {
  StartFullLoad(/*max_connections=*/2);
  const v1::Task earlier = Next(v1::Task::kDescribe);
  incarnation_ = "2";
  Register(4);
  TickFor(absl::Seconds(1));
  const v1::Task task = Next(v1::Task::kDescribe);
  TakeOver();
  EXPECT_EQ(core_->budget().Held("src"), 2);
  for (const absl::Time end = clock_.Now() + options_.lease + options_.server_side_timeouts; clock_.Now() < end;) {
    ASSERT_TRUE(Heartbeat(task).ok());
    ASSERT_TRUE(core_->Tick().ok());
  }
  EXPECT_EQ(core_->budget().Held("src"), 1);
  EXPECT_NE(core_->budget().Find(task.session().session_id()), nullptr);
}

TEST_F(SessionsTest, TheNextLeaderKnowsTheWorkersThatGoOn) {
  StartFullLoad(/*max_connections=*/1);
  const v1::Task task = Next(v1::Task::kDescribe);
  TakeOver();
  ASSERT_EQ(core_->Workers().size(), 1u);
  EXPECT_EQ(core_->Workers()[0].last_heartbeat, clock_.Now());
  ASSERT_TRUE(Heartbeat(task).ok());
  EXPECT_EQ(core_->Workers()[0].slots, 4);
  EXPECT_EQ(core_->Workers()[0].free_slots, 3);
  TickFor(2 * options_.lease);
  ASSERT_EQ(core_->Workers().size(), 1u);
  EXPECT_EQ(core_->Workers()[0].state, WorkerView::State::kLost);
}

}  // namespace
}  // namespace tidemark::coordinator
