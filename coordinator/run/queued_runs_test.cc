// Runs in line for their source.
#include <map>
#include <set>

#include "coordinator/run/coordinator_steps.h"

namespace tidemark::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class QueuedRunsTest : public CoordinatorSteps {
 protected:
  QueuedRunsTest() { Boot(); }

  void Apply(const std::vector<v1::JobSpec>& jobs) {
    const absl::Status applied = core_->ApplyProject(connections_, jobs);
    ASSERT_TRUE(applied.ok()) << applied;
  }

  std::string Start(const std::string& job) {
    clock_.Advance(absl::Milliseconds(1));
    return core_->StartRun(job, {}).value();
  }

  // Runs that have begun and not ended.
  std::vector<RunRecord> Begun() {
    std::vector<RunRecord> begun;
    for (RunRecord& run : UnfinishedRuns()) {
      if (run.phase != RunPhase::kQueued) begun.push_back(std::move(run));
    }
    return begun;
  }

  std::vector<v1::ConnectionSpec> connections_ = {Connection("src", "postgresql://host/shop", 3),
                                                  Connection("dst", "postgresql://host/warehouse", 3)};
};

TEST_F(QueuedRunsTest, AThousandRunsBeginAsTheirTurnComes) {
  constexpr int kJobs = 999;
  std::vector<v1::JobSpec> jobs;
  for (int i = 0; i < kJobs; ++i) jobs.push_back(Job(absl::StrCat("job", i)));
  Apply(jobs);
  std::vector<std::string> ids;
  for (int i = 0; i < kJobs; ++i) ids.push_back(Start(absl::StrCat("job", i)));
  // The second of its job, though it comes before nobody else.
  ids.push_back(Start("job0"));
  Register(100);

  std::vector<std::string> described;
  std::vector<v1::Task> held;
  while (described.size() < ids.size()) {
    for (std::vector<v1::Task> tasks = Poll(); !tasks.empty(); tasks = Poll()) held.push_back(tasks[0]);
    ASSERT_THAT(held, testing::SizeIs(testing::Le(3u)));
    ASSERT_FALSE(held.empty()) << described.size();
    if (described.size() % 50 == 0) {
      int without_session = 0;
      for (const RunRecord& run : Begun()) without_session += core_->budget().OfRun(run.id).empty();
      ASSERT_LE(without_session, 3) << described.size();
    }
    const v1::Task task = held.front();
    held.erase(held.begin());
    ASSERT_TRUE(task.has_describe());
    described.push_back(task.run_id());
    ASSERT_TRUE(DescribeEmpty(task).ok());
  }
  EXPECT_EQ(described, ids);
  EXPECT_THAT(core_->UnfinishedRuns(""), IsEmpty());
  for (const std::string& id : ids) ASSERT_EQ(store_->GetRun(id)->status, RunStatus::kSuccess);
}

TEST_F(QueuedRunsTest, TheNextRunOfAJobWaitsForItsFirstAndLetsOthersPass) {
  Apply({Job("a"), Job("b")});
  const std::string first = Start("a");
  const std::string second = Start("a");
  const std::string third = Start("a");
  const std::string other = Start("b");
  Register(10);
  const v1::Task of_first = Next(v1::Task::kDescribe);
  EXPECT_EQ(of_first.run_id(), first);
  EXPECT_EQ(Next(v1::Task::kDescribe).run_id(), other);
  EXPECT_THAT(Poll(), IsEmpty()) << "though the source has a session left";
  ASSERT_TRUE(DescribeEmpty(of_first).ok());
  const v1::Task of_second = Next(v1::Task::kDescribe);
  EXPECT_EQ(of_second.run_id(), second);
  ASSERT_TRUE(Fail(of_second, SimulatedError(3, "no such table", false)).ok());
  EXPECT_EQ(Next(v1::Task::kDescribe).run_id(), third);
}

TEST_F(QueuedRunsTest, NoJobGetsASecondSessionWhileAnotherWaitsForItsFirst) {
  Apply({Job("wide"), Job("b"), Job("c"), Job("d")});
  Start("wide");
  Register(10);
  ASSERT_TRUE(Describe(Next(v1::Task::kDescribe), 900).ok());
  const v1::Task first = Next(v1::Task::kMove);
  EXPECT_FALSE(first.session().open()) << "it holds the snapshot";
  for (const char* job : {"b", "c", "d"}) Start(job);
  const v1::Task b = Next(v1::Task::kDescribe);
  const v1::Task c = Next(v1::Task::kDescribe);
  EXPECT_THAT(Poll(), IsEmpty()) << "three sessions are all there are";
  ASSERT_TRUE(DescribeEmpty(b).ok());
  const v1::Task d = Next(v1::Task::kDescribe);
  EXPECT_EQ(d.job().name(), "d");
  ASSERT_TRUE(DescribeEmpty(c).ok());
  const v1::Task second = Next(v1::Task::kMove);
  EXPECT_TRUE(second.session().open()) << "nobody waits any more";
}

TEST_F(QueuedRunsTest, ARunThatOnlyLoadsKeepsNobodyFromBeginning) {
  connections_[0].set_max_connections(1);
  Apply({Job("slow"), Job("b")});
  const std::string slow = Start("slow");
  Register(10);
  ASSERT_TRUE(Describe(Next(v1::Task::kDescribe), 900).ok());
  const v1::Task first = Next(v1::Task::kMove);
  // Its rows are in the spill; the session goes on to the second range, and is closed after that.
  v1::HeartbeatRequest beat;
  beat.set_worker_id("w");
  beat.set_incarnation("1");
  const auto extracted = [&](const v1::Task& task) {
    v1::TaskProgress& progress = *beat.add_tasks();
    progress.set_task_id(task.task_id());
    progress.set_attempt(task.attempt());
    progress.set_extracted(true);
    beat.clear_sessions();
    v1::SessionState& session = *beat.add_sessions();
    session.set_session_id(task.session().session_id());
    session.set_state(v1::SessionState::STATE_IDLE);
    ASSERT_TRUE(core_->Heartbeat(beat).ok());
  };
  extracted(first);
  const v1::Task second = Next(v1::Task::kMove);
  EXPECT_EQ(second.session().session_id(), first.session().session_id());
  extracted(second);
  beat.mutable_sessions(0)->set_state(v1::SessionState::STATE_CLOSED);
  ASSERT_TRUE(core_->Heartbeat(beat).ok());
  ASSERT_EQ(store_->GetRun(slow)->phase, RunPhase::kMoving);
  ASSERT_EQ(core_->budget().Held("src"), 0);
  Start("b");
  EXPECT_EQ(Next(v1::Task::kDescribe).job().name(), "b");
}

TEST_F(QueuedRunsTest, ConnectionsOfOneDatabaseStandInOneLine) {
  connections_[0].set_max_connections(1);
  connections_.push_back(Connection("zz", "postgresql://host/shop", 1));
  std::vector<v1::JobSpec> jobs;
  for (const char* name : {"a", "b", "c", "d"}) jobs.push_back(Job(name));
  jobs[1].mutable_source()->set_connection("zz");
  Apply(jobs);
  std::vector<std::string> started;
  for (const char* name : {"a", "b", "c", "d"}) started.push_back(Start(name));
  Register(10);
  std::vector<std::string> described;
  for (int i = 0; i < 4; ++i) {
    const v1::Task task = Next(v1::Task::kDescribe);
    described.push_back(task.run_id());
    EXPECT_THAT(Poll(), IsEmpty());
    ASSERT_TRUE(DescribeEmpty(task).ok());
  }
  EXPECT_EQ(described, started);
}

TEST_F(QueuedRunsTest, AQueuedRunWhoseConnectionIsGoneFailsAndSaysSo) {
  connections_.push_back(Connection("old", "postgresql://host/old", 1));
  v1::JobSpec job = Job("a");
  job.mutable_source()->set_connection("old");
  Apply({job, Job("b")});
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(Start("a"));
  const std::string other = Start("b");
  connections_.pop_back();
  Apply({Job("b")});
  for (const std::string& id : ids) {
    const RunRecord run = store_->GetRun(id).value();
    EXPECT_EQ(run.phase, RunPhase::kFailed);
    EXPECT_THAT(run.error, HasSubstr("connections old and dst are not both there any more"));
  }
  EXPECT_THAT(core_->UnfinishedRuns(""), ElementsAre(other));
}

TEST_F(QueuedRunsTest, AQueuedRunIsCancelledAtOnceAndTheNextTakesItsPlace) {
  connections_[0].set_max_connections(1);
  Apply({Job("a"), Job("b"), Job("c")});
  const std::string running = Start("a");
  const std::string second = Start("a");
  const std::string third = Start("a");
  Register(10);
  const v1::Task task = Next(v1::Task::kDescribe);
  ASSERT_TRUE(core_->CancelRun(second, "ann").ok());
  EXPECT_EQ(store_->GetRun(second)->phase, RunPhase::kCancelled);
  EXPECT_FALSE(store_->GetRun(second)->started.has_value());
  ASSERT_TRUE(core_->CancelRun(second, "ann").ok()) << "idempotent";
  EXPECT_THAT(core_->UnfinishedRuns("a"), ElementsAre(running, third));
  ASSERT_TRUE(DescribeEmpty(task).ok());
  EXPECT_EQ(Next(v1::Task::kDescribe).run_id(), third);
  EXPECT_TRUE(absl::IsNotFound(core_->CancelRun("nosuch")));
  EXPECT_TRUE(absl::IsFailedPrecondition(core_->CancelRun(running))) << "it has ended";
}

TEST_F(QueuedRunsTest, TheLineOutlivesTheCoordinator) {
  connections_[0].set_max_connections(1);
  Apply({Job("a"), Job("b")});
  const std::string first = Start("a");
  const std::string second = Start("b");
  const std::string third = Start("a");
  Boot();
  Apply({Job("a"), Job("b")});
  Register(10);
  for (const std::string& id : {first, second, third}) {
    const v1::Task task = Next(v1::Task::kDescribe);
    EXPECT_EQ(task.run_id(), id);
    ASSERT_TRUE(DescribeEmpty(task).ok());
  }
}

TEST_F(QueuedRunsTest, ARunWhoseWriteWasInDoubtStandsInLineOnce) {
  Apply({Job("a")});
  faults_.doubtful_write = 1;
  const RunRequest request = {.request_id = "tick"};
  EXPECT_TRUE(absl::IsUnavailable(core_->StartRun("a", request).status()));
  const std::string id = core_->StartRun("a", request).value();
  EXPECT_THAT(core_->UnfinishedRuns("a"), ElementsAre(id));
  Register(10);
  EXPECT_EQ(Next(v1::Task::kDescribe).run_id(), id);
}

TEST_F(QueuedRunsTest, AClockThatStepsBackDoesNotLetAJobRunTwiceAtOnce) {
  Apply({Job("a")});
  Start("a");
  Register(10);
  const v1::Task task = Next(v1::Task::kDescribe);
  clock_.StepWall(-absl::Minutes(5));
  const std::string second = core_->StartRun("a", {}).value();
  ASSERT_LT(second, task.run_id());
  EXPECT_THAT(Poll(), IsEmpty());
  ASSERT_TRUE(DescribeEmpty(task).ok());
  EXPECT_EQ(Next(v1::Task::kDescribe).run_id(), second);
}

TEST_F(QueuedRunsTest, ARetryMovesTheWindowOfARunThatFailed) {
  Apply({Job("a")});
  const std::string failed = Start("a");
  Register(10);
  EXPECT_TRUE(absl::IsFailedPrecondition(core_->RetryRun(failed, "", "ann").status())) << "it goes on";
  ASSERT_TRUE(Fail(Next(v1::Task::kDescribe), SimulatedError(3, "no such table", false)).ok());
  clock_.Advance(absl::Milliseconds(1));
  const std::string retry = core_->RetryRun(failed, "again", "ann").value();
  EXPECT_EQ(core_->RetryRun(failed, "again", "ann").value(), retry);
  EXPECT_EQ(store_->GetRun(retry)->retry_of, failed);
  EXPECT_EQ(Actions().back(), "run.retry");
  ASSERT_TRUE(DescribeEmpty(Next(v1::Task::kDescribe)).ok());
  const absl::Status succeeded = core_->RetryRun(retry, "", "ann").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(succeeded));
  EXPECT_THAT(std::string(succeeded.message()), HasSubstr("not failed"));
  EXPECT_TRUE(absl::IsNotFound(core_->RetryRun("nosuch", "", "ann").status()));
}

TEST_F(QueuedRunsTest, ARetryOfABackfillMovesTheSameRange) {
  Apply({Job("a")});
  const std::string failed = core_->StartRun("a", {.from = "10", .to = "20"}).value();
  ASSERT_TRUE(core_->CancelRun(failed).ok());
  clock_.Advance(absl::Milliseconds(1));
  const RunRecord retry = store_->GetRun(core_->RetryRun(failed, "", "ann").value()).value();
  EXPECT_EQ(retry.window.kind(), v1::WINDOW_KIND_RANGE);
  EXPECT_EQ(retry.window.low().text(), "10");
  EXPECT_EQ(retry.window.high().text(), "20");
}

TEST_F(QueuedRunsTest, AConnectionIsTestedUnderItsLimitAndLeavesNothingBehind) {
  connections_[0].set_max_connections(1);
  Apply({Job("a")});
  Start("a");
  Register(10);
  const v1::Task busy = Next(v1::Task::kDescribe);
  EXPECT_TRUE(absl::IsNotFound(core_->StartConnectionTest("nosuch").status()));
  const std::string test = core_->StartConnectionTest("src").value();
  EXPECT_THAT(Poll(), IsEmpty()) << "the only session is taken";
  ASSERT_TRUE(DescribeEmpty(busy).ok());
  const v1::Task task = Next(v1::Task::kTest);
  v1::CompleteTaskRequest report = Report(task, v1::SessionState::STATE_CLOSED);
  report.mutable_test()->set_server("PostgreSQL 15.20, primary");
  ASSERT_TRUE(Complete(report).ok());
  EXPECT_EQ((**core_->TakePreview(test))->test.server(), "PostgreSQL 15.20, primary");
  EXPECT_TRUE(absl::IsNotFound(core_->TakePreview(test).status()));
  EXPECT_EQ(core_->budget().Held("src"), 0);
  // Who asks wants to hear how it is now.
  const std::string refused = core_->StartConnectionTest("src").value();
  ASSERT_TRUE(Fail(Next(v1::Task::kTest), SimulatedError(14, "no route", true)).ok());
  EXPECT_TRUE(absl::IsUnavailable((**core_->TakePreview(refused)).status()));
  EXPECT_EQ(RunsOf("").size(), 1u) << "a test is no run";
}

TEST_F(QueuedRunsTest, ATestThatNobodyWaitsForAnyMoreIsGivenUp) {
  Apply({Job("a")});
  core_.reset();
  const std::unique_ptr<Coordinator> coordinator = Coordinator::Start(options_).value();
  ASSERT_TRUE(coordinator->ApplyProject(connections_, {Job("a")}).ok());
  EXPECT_TRUE(absl::IsDeadlineExceeded(coordinator->TestConnection("src", absl::ZeroDuration()).status()));
  const std::string preview = coordinator->StartPreview("a", {}).value();
  EXPECT_TRUE(absl::IsDeadlineExceeded(coordinator->WaitPreview(preview, absl::ZeroDuration()).status()));
  EXPECT_TRUE(absl::IsNotFound(coordinator->WaitPreview(preview, absl::ZeroDuration()).status()));
  int asked = 0;
  const auto gone = [&] { return ++asked > 2; };
  EXPECT_TRUE(absl::IsCancelled(coordinator->TestConnection("src", absl::Seconds(5), gone).status()));
  EXPECT_EQ(coordinator->Cluster().queued_tasks, 0);
  v1::RegisterRequest request;
  request.set_worker_id("w");
  request.set_incarnation("1");
  request.set_slots(4);
  ASSERT_TRUE(coordinator->Register(request).ok());
  v1::LeaseTasksRequest poll;
  poll.set_worker_id("w");
  poll.set_incarnation("1");
  poll.set_free_slots(4);
  EXPECT_EQ(coordinator->LeaseTasks(poll)->tasks_size(), 0);
}

TEST_F(QueuedRunsTest, AWorkerThatDrainsFinishesWhatItHas) {
  Apply({Job("a"), Job("b")});
  Start("a");
  Register(4);
  const v1::Task task = Next(v1::Task::kDescribe);
  EXPECT_TRUE(absl::IsNotFound(core_->DrainWorker("nosuch", "ann").status()));
  EXPECT_EQ(core_->DrainWorker("w", "ann")->state, WorkerView::State::kDraining);
  EXPECT_EQ(core_->DrainWorker("w", "ann")->state, WorkerView::State::kDraining);
  EXPECT_EQ(testing::Matches(testing::Contains("worker.drain").Times(1))(Actions()), true);
  Start("b");
  EXPECT_THAT(Poll(), IsEmpty());
  EXPECT_EQ(core_->Cluster().workers, 0);
  ASSERT_TRUE(DescribeEmpty(task).ok());
  EXPECT_EQ(core_->Workers()[0].state, WorkerView::State::kDrained);
  EXPECT_THAT(Poll(), IsEmpty());
  // The same life stays drained, however often it registers; a new one works again.
  Register(4);
  EXPECT_EQ(core_->Workers()[0].state, WorkerView::State::kDrained);
  v1::RegisterRequest again;
  again.set_worker_id("w");
  again.set_incarnation("2");
  again.set_slots(4);
  ASSERT_TRUE(core_->Register(again).ok());
  ASSERT_EQ(core_->Workers().size(), 1u);
  EXPECT_EQ(core_->Workers()[0].state, WorkerView::State::kReady);
  EXPECT_EQ(core_->Workers()[0].free_slots, 4);
}

TEST_F(QueuedRunsTest, AWorkerThatDrainsLetsGoOfTheSnapshotThatOthersWaitFor) {
  connections_[0].set_max_connections(1);
  Apply({Job("a")});
  const std::string id = Start("a");
  Register(4);
  const v1::Task describe = Next(v1::Task::kDescribe);
  ASSERT_TRUE(Describe(describe, 900).ok());
  EXPECT_EQ(core_->DrainWorker("w", "ann")->state, WorkerView::State::kDraining);
  v1::HeartbeatRequest beat;
  beat.set_worker_id("w");
  beat.set_incarnation("1");
  EXPECT_THAT(core_->Heartbeat(beat)->close_sessions(), ElementsAre(describe.session().session_id()));
  v1::SessionState& closed = *beat.add_sessions();
  closed.set_session_id(describe.session().session_id());
  closed.set_state(v1::SessionState::STATE_CLOSED);
  ASSERT_TRUE(core_->Heartbeat(beat).ok());
  EXPECT_EQ(core_->Workers()[0].state, WorkerView::State::kDrained);
  // The run starts again elsewhere.
  worker_ = "w2";
  Register(4);
  v1::CompleteTaskRequest dropped = Report(Next(v1::Task::kAbort), v1::SessionState::STATE_CLOSED);
  dropped.mutable_abort();
  ASSERT_TRUE(Complete(dropped).ok());
  EXPECT_EQ(Next(v1::Task::kDescribe).run_id(), id);
}

TEST_F(QueuedRunsTest, AWorkerThatIsLostIsShownForAnHour) {
  Register(4);
  clock_.Advance(absl::Seconds(16));
  ASSERT_TRUE(core_->Tick().ok());
  ASSERT_EQ(core_->Workers().size(), 1u);
  EXPECT_EQ(core_->Workers()[0].state, WorkerView::State::kLost);
  EXPECT_EQ(core_->Cluster().workers, 0);
  clock_.Advance(absl::Hours(1));
  EXPECT_THAT(core_->Workers(), IsEmpty());
}

}  // namespace
}  // namespace tidemark::coordinator
