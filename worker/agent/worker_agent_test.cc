// The agent with its threads, over fakes of everything around it.
#include "worker/agent/worker_agent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "worker/agent/fake_coordinator.h"
#include "worker/task/fake_connector.h"

namespace tidemark {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class WorkerAgentTest : public testing::Test {
 protected:
  WorkerAgentTest() {
    std::string path = (std::filesystem::temp_directory_path() / "worker_agent_test_XXXXXX").string();
    EXPECT_NE(mkdtemp(path.data()), nullptr);
    directory_ = path;
    connectors_.Add("fake", std::make_shared<test::FakeConnector>(source_, target_));
  }
  ~WorkerAgentTest() override {
    source_->Release();
    target_->Release();
    agent_.reset();
    EXPECT_EQ(source_->Open(), 0);
    EXPECT_EQ(target_->Open(), 0);
    std::filesystem::remove_all(directory_);
  }

  void Start(absl::Duration lease = absl::Seconds(15)) {
    coordinator_ = std::make_unique<test::FakeCoordinator>(lease);
    WorkerAgent::Options options;
    options.worker_id = "worker-1";
    options.slots = 2;
    options.spill_dir = directory_;
    options.task_memory_bytes = memory_share_;
    agent_ = std::make_unique<WorkerAgent>(options, &connectors_, coordinator_.get(), &clock_, &rng_);
    ASSERT_EQ(agent_->Start(), absl::OkStatus());
  }

  static v1::Task Task(const std::string& id, const std::string& session) {
    v1::Task task;
    task.set_task_id(id);
    task.set_attempt(1);
    task.set_run_id("run-1");
    task.mutable_job()->set_name("orders");
    task.mutable_job()->mutable_target()->set_strategy(v1::LOAD_STRATEGY_FULL);
    task.mutable_source()->set_name("shop");
    task.mutable_source()->set_dsn("fake:source");
    task.mutable_target()->set_name("warehouse");
    task.mutable_target()->set_dsn("fake:target");
    task.mutable_session()->set_session_id(session);
    task.mutable_session()->set_connection("shop");
    task.mutable_session()->set_open(true);
    return task;
  }
  static v1::Task Move(const std::string& id, const std::string& session, int partition = 0) {
    v1::Task task = Task(id, session);
    task.mutable_move()->set_partition(partition);
    task.mutable_move()->set_format(v1::CHUNK_FORMAT_PG_COPY_BINARY);
    task.mutable_job()->mutable_retry()->mutable_backoff()->set_nanos(10'000'000);
    return task;
  }

  template <class Condition>
  static bool Eventually(const Condition& condition) {
    const SystemClock clock;
    const absl::Duration start = clock.Monotonic();
    while (!condition()) {
      if (clock.Monotonic() - start > absl::Seconds(10)) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return true;
  }

  SystemClock clock_;
  Rng rng_{1};
  int64_t memory_share_ = 100 << 20;
  std::string directory_;
  std::shared_ptr<test::FakeSource> source_ = std::make_shared<test::FakeSource>();
  std::shared_ptr<test::FakeTarget> target_ = std::make_shared<test::FakeTarget>();
  ConnectorRegistry connectors_;
  std::unique_ptr<test::FakeCoordinator> coordinator_;
  std::unique_ptr<WorkerAgent> agent_;
};

TEST_F(WorkerAgentTest, RunsAMoveToItsEnd) {
  Start();
  coordinator_->Queue(Move("t1", "s1", 4));
  const auto outcome = coordinator_->AwaitCompletion("t1");
  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(outcome->move().counts().read(), 30) << outcome->error().message();
  EXPECT_EQ(outcome->worker_id(), "worker-1");
  ASSERT_EQ(outcome->sessions_size(), 1);
  EXPECT_EQ(outcome->sessions(0).state(), v1::SessionState::STATE_CLOSED);
  EXPECT_GT(outcome->finished().seconds(), 0);
  EXPECT_EQ(target_->MovedRows(), 30);
}

TEST_F(WorkerAgentTest, TheSessionGoesBackHoweverSlowTheTargetIs) {
  {
    absl::MutexLock lock(&target_->mutex);
    target_->stuck = true;
  }
  Start();
  coordinator_->Queue(Move("t1", "s1"));
  EXPECT_TRUE(coordinator_->AwaitSession("s1", v1::SessionState::STATE_CLOSED));
  EXPECT_EQ(source_->Open(), 0);
  EXPECT_FALSE(coordinator_->Completed("t1"));
  target_->Release();
  const auto outcome = coordinator_->AwaitCompletion("t1");
  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(outcome->move().counts().read(), 30);
}

TEST_F(WorkerAgentTest, ATargetThatWasDownIsLoadedFromTheSpillOnDisk) {
  memory_share_ = 15;
  {
    absl::MutexLock lock(&target_->mutex);
    target_->open_errors = {2, absl::UnavailableError("connection refused")};
    target_->write_errors = {absl::OkStatus(), absl::UnavailableError("connection lost")};
  }
  Start();
  coordinator_->Queue(Move("t1", "s1"));
  const auto outcome = coordinator_->AwaitCompletion("t1");
  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(outcome->move().counts().read(), 30) << outcome->error().message();
  EXPECT_GT(outcome->move().spilled_bytes(), 0);
  EXPECT_EQ(source_->Reads(), 1);
  EXPECT_TRUE(std::filesystem::is_empty(directory_ + "/worker-1"));
}

TEST_F(WorkerAgentTest, OneSessionServesARunInItsSnapshot) {
  Start();
  v1::Task describe = Task("t1", "s1");
  describe.mutable_describe()->mutable_window()->set_kind(v1::WINDOW_KIND_FULL);
  describe.mutable_session()->set_keep(true);
  coordinator_->Queue(describe);
  const auto described = coordinator_->AwaitCompletion("t1");
  ASSERT_TRUE(described.has_value());
  EXPECT_EQ(described->describe().snapshot(), "snapshot-1") << described->error().message();
  EXPECT_EQ(described->sessions(0).state(), v1::SessionState::STATE_IDLE);
  EXPECT_EQ(source_->Open(), 1);

  v1::Task move = Move("t2", "s1");
  move.mutable_session()->set_open(false);
  move.mutable_session()->set_keep(true);
  move.mutable_move()->set_in_snapshot(true);
  coordinator_->Queue(move);
  const auto moved = coordinator_->AwaitCompletion("t2");
  ASSERT_TRUE(moved.has_value());
  EXPECT_EQ(moved->move().counts().read(), 30) << moved->error().message();
  EXPECT_EQ(moved->sessions(0).state(), v1::SessionState::STATE_IDLE);
  {
    absl::MutexLock lock(&source_->mutex);
    EXPECT_EQ(source_->opened, 1);
  }
  coordinator_->CloseSession("s1");
  EXPECT_TRUE(coordinator_->AwaitSession("s1", v1::SessionState::STATE_CLOSED));
  EXPECT_EQ(source_->Open(), 0);
}

TEST_F(WorkerAgentTest, AWaitingDescribeHoldsNoSession) {
  Start();
  source_->rows_above = true;
  v1::Task describe = Task("t1", "s1");
  describe.mutable_job()->mutable_source()->set_watermark("updated_at");
  describe.mutable_job()->mutable_target()->set_strategy(v1::LOAD_STRATEGY_INCREMENTAL);
  describe.mutable_describe()->mutable_window()->set_kind(v1::WINDOW_KIND_WINDOW);
  describe.mutable_session()->set_keep(true);
  coordinator_->Queue(describe);
  const auto outcome = coordinator_->AwaitCompletion("t1");
  ASSERT_TRUE(outcome.has_value());
  EXPECT_TRUE(outcome->describe().should_wait()) << outcome->error().message();
  EXPECT_EQ(outcome->sessions(0).state(), v1::SessionState::STATE_CLOSED);
  EXPECT_EQ(source_->Open(), 0);
}

TEST_F(WorkerAgentTest, ASecondSessionImportsTheSnapshotOrDoesNotRead) {
  Start();
  v1::Task imports = Move("t1", "s1");
  imports.mutable_move()->set_in_snapshot(true);
  imports.mutable_session()->set_import_snapshot("snapshot-1");
  coordinator_->Queue(imports);
  ASSERT_TRUE(coordinator_->AwaitCompletion("t1")->has_move());
  {
    absl::MutexLock lock(&source_->mutex);
    EXPECT_EQ(source_->imported, std::vector<std::string>{"snapshot-1"});
  }
  v1::Task cannot = Move("t2", "s2", 1);
  cannot.mutable_move()->set_in_snapshot(true);
  coordinator_->Queue(cannot);
  const auto outcome = coordinator_->AwaitCompletion("t2");
  ASSERT_TRUE(outcome.has_value());
  EXPECT_TRUE(outcome->error().snapshot_lost());
  EXPECT_EQ(source_->Reads(), 1);
}

TEST_F(WorkerAgentTest, CancelReachesABlockedRead) {
  source_->stuck_chunk = 1;
  Start();
  coordinator_->Queue(Move("t1", "s1"));
  ASSERT_TRUE(Eventually([&] { return source_->Reads() == 1; }));
  const absl::Duration start = clock_.Monotonic();
  coordinator_->Cancel("t1");
  const auto outcome = coordinator_->AwaitCompletion("t1");
  EXPECT_LT(clock_.Monotonic() - start, absl::Seconds(1));
  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(outcome->error().code(), static_cast<int>(absl::StatusCode::kCancelled)) << outcome->error().message();
  EXPECT_EQ(outcome->sessions(0).state(), v1::SessionState::STATE_CLOSED);
  EXPECT_EQ(target_->MovedRows(), 0);
}

TEST_F(WorkerAgentTest, CancelReachesABlockedWrite) {
  {
    absl::MutexLock lock(&target_->mutex);
    target_->stuck = true;
  }
  Start();
  coordinator_->Queue(Move("t1", "s1"));
  ASSERT_TRUE(coordinator_->AwaitSession("s1", v1::SessionState::STATE_CLOSED));
  const absl::Duration start = clock_.Monotonic();
  coordinator_->Cancel("t1");
  const auto outcome = coordinator_->AwaitCompletion("t1");
  EXPECT_LT(clock_.Monotonic() - start, absl::Seconds(1));
  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(outcome->error().code(), static_cast<int>(absl::StatusCode::kCancelled)) << outcome->error().message();
  EXPECT_EQ(target_->MovedRows(), 0);
}

TEST_F(WorkerAgentTest, CancelEndsAWaitForTheTarget) {
  {
    absl::MutexLock lock(&target_->mutex);
    target_->open_errors = {100, absl::UnavailableError("connection refused")};
  }
  Start();
  v1::Task move = Move("t1", "s1");
  move.mutable_job()->mutable_retry()->mutable_backoff()->set_seconds(600);
  coordinator_->Queue(move);
  ASSERT_TRUE(coordinator_->AwaitSession("s1", v1::SessionState::STATE_CLOSED));
  const absl::Duration start = clock_.Monotonic();
  coordinator_->Cancel("t1");
  ASSERT_TRUE(coordinator_->AwaitCompletion("t1").has_value());
  EXPECT_LT(clock_.Monotonic() - start, absl::Seconds(1));
}

TEST_F(WorkerAgentTest, AFailedLoadEndsItsExtract) {
  source_->stuck_chunk = 1;
  {
    absl::MutexLock lock(&target_->mutex);
    target_->write_errors = {absl::FailedPreconditionError("the fence is higher")};
  }
  Start();
  coordinator_->Queue(Move("t1", "s1"));
  const auto outcome = coordinator_->AwaitCompletion("t1");
  ASSERT_TRUE(outcome.has_value());
  EXPECT_THAT(outcome->error().message(), StartsWith("job orders, run run-1: move of partition 0"));
  EXPECT_THAT(outcome->error().message(), HasSubstr("fence"));
  EXPECT_EQ(source_->Open(), 0);
}

TEST_F(WorkerAgentTest, UnheardItClosesItsSessionsBeforeTheLeaseEnds) {
  const absl::Duration lease = absl::Seconds(2.4);
  source_->stuck_chunk = 1;
  Start(lease);
  v1::Task describe = Task("idle", "s0");
  describe.mutable_describe()->mutable_window()->set_kind(v1::WINDOW_KIND_FULL);
  describe.mutable_session()->set_keep(true);
  coordinator_->Queue(describe);
  ASSERT_TRUE(coordinator_->AwaitCompletion("idle").has_value());
  coordinator_->Queue(Move("t1", "s1"));
  ASSERT_TRUE(Eventually([&] { return source_->Reads() == 1; }));
  ASSERT_TRUE(coordinator_->AwaitProgress("t1"));
  EXPECT_EQ(source_->Open(), 2);

  const absl::Duration cut = clock_.Monotonic();
  coordinator_->SetReachable(false);
  ASSERT_TRUE(Eventually([&] { return source_->Open() == 0; }));
  EXPECT_LT(clock_.Monotonic() - cut, lease * 0.95);
  EXPECT_GT(clock_.Monotonic() - cut, lease * 0.3);

  // Heard again, it tells what has become of everything, and works on.
  coordinator_->SetReachable(true);
  const auto outcome = coordinator_->AwaitCompletion("t1");
  ASSERT_TRUE(outcome.has_value());
  EXPECT_TRUE(outcome->error().retryable()) << outcome->error().message();
  EXPECT_TRUE(coordinator_->AwaitSession("s0", v1::SessionState::STATE_CLOSED));
  source_->Release();
  coordinator_->Queue(Move("t2", "s2", 1));
  const auto next = coordinator_->AwaitCompletion("t2");
  ASSERT_TRUE(next.has_value());
  EXPECT_TRUE(next->has_move()) << next->error().message();
}

TEST_F(WorkerAgentTest, UnheardALoadGoesOn) {
  {
    absl::MutexLock lock(&target_->mutex);
    target_->stuck = true;
  }
  Start(absl::Seconds(0.6));
  coordinator_->Queue(Move("t1", "s1"));
  ASSERT_TRUE(coordinator_->AwaitSession("s1", v1::SessionState::STATE_CLOSED));
  coordinator_->SetReachable(false);
  std::this_thread::sleep_for(std::chrono::milliseconds(700));
  target_->Release();
  ASSERT_TRUE(Eventually([&] { return target_->MovedRows() == 30; }));
  coordinator_->SetReachable(true);
  ASSERT_TRUE(coordinator_->AwaitCompletion("t1").has_value());
}

TEST_F(WorkerAgentTest, UnknownItDropsEverythingAndRegistersAnew) {
  source_->stuck_chunk = 1;
  Start(absl::Seconds(0.6));
  coordinator_->Queue(Move("t1", "s1"));
  ASSERT_TRUE(Eventually([&] { return source_->Reads() == 1; }));
  coordinator_->ForgetWorker();
  ASSERT_TRUE(coordinator_->AwaitIncarnations(2));
  EXPECT_EQ(source_->Open(), 0);
  EXPECT_NE(coordinator_->incarnations()[0], coordinator_->incarnations()[1]);
  EXPECT_FALSE(coordinator_->Completed("t1"));
  source_->Release();
  coordinator_->Queue(Move("t2", "s2"));
  ASSERT_TRUE(coordinator_->AwaitCompletion("t2").has_value());
}

TEST_F(WorkerAgentTest, AResultIsToldUntilItIsHeardAndDroppedIfStale) {
  Start();
  coordinator_->FailCompletions({absl::UnavailableError("1"), absl::DeadlineExceededError("2"),
                                 absl::ResourceExhaustedError("the store's disk is full")});
  coordinator_->Queue(Move("t1", "s1"));
  const auto told = coordinator_->AwaitCompletion("t1");
  ASSERT_TRUE(told.has_value());
  EXPECT_TRUE(told->has_move());
  EXPECT_EQ(coordinator_->completions_tried(), 4);
  coordinator_->FailCompletions({absl::FailedPreconditionError("stale attempt")});
  coordinator_->Queue(Move("t2", "s2", 1));
  EXPECT_TRUE(Eventually([&] { return coordinator_->completions_tried() == 5; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_EQ(coordinator_->completions_tried(), 5);
}

TEST_F(WorkerAgentTest, AResultThatCannotBeParsedIsToldPlainly) {
  // Not UTF-8, which a proto3 string must be.
  source_->description.identity = "serveur n\xb0 1";
  Start();
  v1::Task describe = Task("t1", "s1");
  describe.mutable_describe()->mutable_window()->set_kind(v1::WINDOW_KIND_FULL);
  coordinator_->Queue(describe);
  const auto outcome = coordinator_->AwaitCompletion("t1");
  ASSERT_TRUE(outcome.has_value()) << "the same request is sent again and again";
  EXPECT_THAT(outcome->error().message(), StartsWith("job orders, run run-1: describe"));
  EXPECT_THAT(outcome->error().message(), HasSubstr("the result could not be delivered: Error deserializing"));
  EXPECT_EQ(outcome->sessions_size(), 1);
  EXPECT_EQ(coordinator_->completions_tried(), 2);
}

TEST_F(WorkerAgentTest, OfACommitThatCannotBeToldTheLedgerIsAsked) {
  Start();
  coordinator_->FailCompletions({absl::InternalError("Error deserializing")});
  v1::Task commit = Task("t1", "");
  commit.clear_session();
  commit.mutable_commit();
  coordinator_->Queue(commit);
  const auto outcome = coordinator_->AwaitCompletion("t1");
  ASSERT_TRUE(outcome.has_value());
  EXPECT_TRUE(outcome->error().outcome_unknown());
  EXPECT_FALSE(outcome->error().retryable());

  // An error is told as what it is, in other words.
  coordinator_->FailCompletions({absl::InvalidArgumentError("of another kind")});
  {
    absl::MutexLock lock(&target_->mutex);
    target_->open_errors = {10, absl::PermissionDeniedError("no")};
  }
  coordinator_->Queue(Move("t2", "s2"));
  const auto refused = coordinator_->AwaitCompletion("t2");
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->error().code(), static_cast<int>(absl::StatusCode::kPermissionDenied));
  EXPECT_FALSE(refused->error().retryable());
  EXPECT_THAT(refused->error().message(), HasSubstr("could not be delivered: of another kind"));
}

TEST_F(WorkerAgentTest, AReportThatNobodyCanTakeEnds) {
  Start();
  const int before = coordinator_->completions_tried();
  coordinator_->FailCompletions({10, absl::InternalError("a bug")});
  coordinator_->Queue(Move("t1", "s1"));
  EXPECT_TRUE(Eventually([&] { return coordinator_->completions_tried() == before + 2; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_EQ(coordinator_->completions_tried(), before + 2);
  EXPECT_TRUE(coordinator_->AwaitFreeSlots(2));
}

TEST_F(WorkerAgentTest, RegisteredByALeaderThatWasReplacedItAsksAgainInItsTime) {
  Start(absl::Seconds(0.6));
  ASSERT_TRUE(coordinator_->AwaitIncarnations(1));
  // A leader that does not know yet that another has taken its place answers in its stead.
  coordinator_->SetRegisteringEpoch(test::FakeCoordinator::kEpoch - 1);
  coordinator_->ForgetWorker();
  ASSERT_TRUE(coordinator_->AwaitIncarnations(2));
  std::this_thread::sleep_for(std::chrono::seconds(1));
  EXPECT_LE(coordinator_->incarnations().size(), 10U);
  coordinator_->SetRegisteringEpoch(test::FakeCoordinator::kEpoch);
  coordinator_->Queue(Move("t1", "s1"));
  ASSERT_TRUE(coordinator_->AwaitCompletion("t1").has_value());
}

TEST_F(WorkerAgentTest, TheSameLeaseTwiceIsReadOnce) {
  source_->stuck_chunk = 1;
  Start();
  coordinator_->Queue(Move("t1", "s1"));
  coordinator_->Queue(Move("t1", "s1"));
  ASSERT_TRUE(Eventually([&] { return coordinator_->queued() == 0 && source_->Reads() == 1; }));
  EXPECT_TRUE(coordinator_->AwaitFreeSlots(1));
  source_->Release();
  ASSERT_TRUE(coordinator_->AwaitCompletion("t1").has_value());
  EXPECT_EQ(source_->Reads(), 1);
}

TEST_F(WorkerAgentTest, ASlotThatComesFreeIsOfferedAtOnce) {
  source_->stuck_chunk = 1;
  Start();
  for (int i = 0; i < 3; ++i) coordinator_->Queue(Move("t" + std::to_string(i), "s" + std::to_string(i), i));
  ASSERT_TRUE(coordinator_->AwaitFreeSlots(0));
  const absl::Duration start = clock_.Monotonic();
  source_->Release();
  ASSERT_TRUE(coordinator_->AwaitCompletion("t2").has_value());
  EXPECT_LT(clock_.Monotonic() - start, absl::Seconds(1));
}

TEST_F(WorkerAgentTest, TasksTogetherReadNoFasterThanTheShare) {
  source_->chunks = 40;
  Start();
  coordinator_->SetShare("shop", 1000);
  const absl::Duration start = clock_.Monotonic();
  for (int i = 0; i < 2; ++i) {
    v1::Task move = Move("t" + std::to_string(i), "s" + std::to_string(i), i);
    move.mutable_source()->set_max_rows_per_second(1000);
    coordinator_->Queue(move);
  }
  ASSERT_TRUE(coordinator_->AwaitCompletion("t0").has_value());
  ASSERT_TRUE(coordinator_->AwaitCompletion("t1").has_value());
  const double seconds = absl::ToDoubleSeconds(clock_.Monotonic() - start);
  EXPECT_EQ(target_->MovedRows(), 800);
  EXPECT_GE(seconds, 0.72);
  EXPECT_LT(seconds, 2);
}

TEST_F(WorkerAgentTest, ALimitedSourceIsNotReadBeforeItsShareIsKnown) {
  Start();
  v1::Task move = Move("t1", "s1");
  move.mutable_source()->set_max_rows_per_second(1000);
  coordinator_->Queue(move);
  ASSERT_TRUE(coordinator_->AwaitFreeSlots(1));
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  EXPECT_EQ(source_->Reads(), 0);
  coordinator_->SetShare("shop", 1000);
  ASSERT_TRUE(coordinator_->AwaitCompletion("t1").has_value());
}

TEST_F(WorkerAgentTest, ADrainFinishesWhatIsLeasedAndTakesNoMore) {
  {
    absl::MutexLock lock(&target_->mutex);
    target_->stuck = true;
  }
  Start();
  coordinator_->Queue(Move("t1", "s1"));
  ASSERT_TRUE(coordinator_->AwaitSession("s1", v1::SessionState::STATE_CLOSED));
  std::thread release([&] {
    EXPECT_TRUE(coordinator_->AwaitFreeSlots(0));
    coordinator_->Queue(Move("t2", "s2", 1));
    target_->Release();
  });
  EXPECT_EQ(agent_->Drain(absl::Seconds(10)), absl::OkStatus());
  release.join();
  EXPECT_TRUE(coordinator_->Completed("t1"));
  EXPECT_EQ(coordinator_->queued(), 1U);
}

TEST_F(WorkerAgentTest, ADrainThatTakesTooLongCancelsTheRest) {
  source_->stuck_chunk = 1;
  Start();
  coordinator_->Queue(Move("t1", "s1"));
  ASSERT_TRUE(Eventually([&] { return source_->Reads() == 1; }));
  const absl::Duration start = clock_.Monotonic();
  EXPECT_EQ(agent_->Drain(absl::Milliseconds(100)).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_LT(clock_.Monotonic() - start, absl::Seconds(2));
  EXPECT_EQ(source_->Open(), 0);
}

TEST_F(WorkerAgentTest, LeftOversOfAnEarlierProcessAreRemoved) {
  std::filesystem::create_directories(directory_ + "/worker-1");
  std::ofstream(directory_ + "/worker-1/old-1.spill") << "x";
  Start();
  EXPECT_TRUE(std::filesystem::is_empty(directory_ + "/worker-1"));
}

TEST_F(WorkerAgentTest, ASecondWorkerOfThatIdIsRefused) {
  Start();
  std::ofstream(directory_ + "/worker-1/kept.spill") << "of the first";
  test::FakeCoordinator coordinator(absl::Seconds(15));
  WorkerAgent::Options options;
  options.worker_id = "worker-1";
  options.spill_dir = directory_;
  WorkerAgent second(options, &connectors_, &coordinator, &clock_, &rng_);
  const absl::Status refused = second.Start();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("give each an id of its own"));
  EXPECT_TRUE(std::filesystem::exists(directory_ + "/worker-1/kept.spill"));
  EXPECT_EQ(second.usage().memory_bytes, 0);
}

TEST_F(WorkerAgentTest, EveryAttemptIsToldOfWhenItEnds) {
  coordinator_ = std::make_unique<test::FakeCoordinator>(absl::Seconds(15));
  WorkerAgent::Options options;
  options.worker_id = "worker-1";
  options.spill_dir = directory_;
  absl::Mutex mutex;
  std::vector<std::string> told;
  options.attempt_ended = [&](const v1::Task& task, const v1::CompleteTaskRequest& outcome,
                              const v1::TaskProgress& progress) {
    absl::MutexLock lock(&mutex);
    told.push_back(absl::StrCat(task.task_id(), " ", outcome.has_move(), " ", progress.rows_read()));
  };
  agent_ = std::make_unique<WorkerAgent>(options, &connectors_, coordinator_.get(), &clock_, &rng_);
  ASSERT_EQ(agent_->Start(), absl::OkStatus());
  coordinator_->Queue(Move("m1", "s1"));
  EXPECT_TRUE(Eventually([&] {
    absl::MutexLock lock(&mutex);
    return told == std::vector<std::string>{"m1 1 30"};
  }));
  EXPECT_EQ(agent_->usage().spill_bytes, 0);
  agent_->Stop();
}

TEST_F(WorkerAgentTest, ASpillDirectoryThatCannotBeMadeIsSaid) {
  std::ofstream(directory_ + "/file") << "x";
  WorkerAgent::Options options;
  options.worker_id = "worker-1";
  options.spill_dir = directory_ + "/file";
  test::FakeCoordinator coordinator(absl::Seconds(15));
  WorkerAgent agent(options, &connectors_, &coordinator, &clock_, &rng_);
  EXPECT_THAT(std::string(agent.Start().message()), HasSubstr("spill_dir"));
}

}  // namespace
}  // namespace tidemark
