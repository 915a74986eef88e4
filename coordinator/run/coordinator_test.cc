// The coordinator step by step, one worker driven by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/rpc/error_details.h"
#include "coordinator/run/coordinator_core.h"
#include "coordinator/run/faulty_store.h"
#include "coordinator/run/simulated_stores.h"

namespace tidemark::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class CoordinatorTest : public testing::Test {
 protected:
  CoordinatorTest() {
    for (const char* name : {"src", "dst"}) {
      connections_.emplace_back().set_name(name);
      connections_.back().set_dsn(std::string("sqlite:") + name + ".db");
      connections_.back().set_max_connections(2);
    }
    job_.set_name("orders");
    job_.set_enabled(true);
    job_.mutable_source()->set_connection("src");
    job_.mutable_source()->set_table("orders");
    job_.mutable_source()->set_watermark("id");
    job_.mutable_target()->set_connection("dst");
    job_.mutable_target()->set_table("orders");
    job_.mutable_target()->set_strategy(v1::LOAD_STRATEGY_UPSERT);
    Boot();
  }

  void Boot(bool died_with_us = true, bool resume = true) {
    core_.reset();
    CoordinatorOptions options;
    options.store = &faults_;
    options.clock = &clock_;
    options.rng = &rng_;
    options.holder = "test";
    options.workers_died_with_us = died_with_us;
    options.resume = resume;
    absl::StatusOr<std::unique_ptr<CoordinatorCore>> core = CoordinatorCore::Start(options);
    ASSERT_TRUE(core.ok()) << core.status();
    core_ = *std::move(core);
    ASSERT_TRUE(core_->ApplyProject(connections_, {job_}).ok());
    v1::RegisterRequest request;
    request.set_worker_id("w");
    incarnation_ = std::to_string(core_->epoch());
    request.set_incarnation(incarnation_);
    request.set_slots(4);
    ASSERT_TRUE(core_->Register(request).ok());
  }

  v1::LeaseTasksResponse Poll() {
    v1::LeaseTasksRequest request;
    request.set_worker_id("w");
    request.set_incarnation(incarnation_);
    request.set_free_slots(4);
    return core_->LeaseTasks(request).value();
  }

  v1::Task Next(v1::Task::WorkCase kind) {
    const v1::LeaseTasksResponse response = Poll();
    EXPECT_EQ(response.tasks_size(), 1);
    if (response.tasks_size() != 1) return {};
    EXPECT_EQ(response.tasks(0).work_case(), kind);
    return response.tasks(0);
  }

  v1::CompleteTaskRequest Report(const v1::Task& task,
                                 v1::SessionState::State session = v1::SessionState::STATE_CLOSED) {
    v1::CompleteTaskRequest request;
    request.set_worker_id("w");
    request.set_incarnation(incarnation_);
    request.set_task_id(task.task_id());
    request.set_attempt(task.attempt());
    if (task.has_session()) {
      v1::SessionState& state = *request.add_sessions();
      state.set_session_id(task.session().session_id());
      state.set_state(session);
    }
    return request;
  }

  absl::Status Complete(const v1::CompleteTaskRequest& request) { return core_->CompleteTask(request).status(); }

  absl::Status Fail(const v1::Task& task, v1::TaskError error) {
    v1::CompleteTaskRequest request = Report(task);
    *request.mutable_error() = std::move(error);
    return Complete(request);
  }

  // Answers a describe: two ranges of a key, up to `high`.
  absl::Status Describe(const v1::Task& task, int64_t high, const v1::LedgerHead& head = {}) {
    v1::CompleteTaskRequest request =
        Report(task, task.session().keep() ? v1::SessionState::STATE_IDLE : v1::SessionState::STATE_CLOSED);
    v1::DescribeResult& result = *request.mutable_describe();
    result.add_formats(v1::CHUNK_FORMAT_ARROW);
    result.set_estimated_rows(1'000'000);
    *result.mutable_high() = SimulatedWatermark(high);
    *result.mutable_ledger() = head;
    if (head.exists()) result.mutable_target_schema();
    *result.mutable_completeness() = completeness_;
    result.set_source_identity("server-1");
    v1::PartitionFacts& facts = *result.add_partition_facts();
    facts.set_partitioning(v1::PARTITIONING_KEY);
    facts.add_columns("id");
    facts.set_immutable(true);
    facts.add_quantiles()->add_values("500");
    if (!task.describe().window().has_low()) {
      result.set_has_snapshot(true);
      result.set_snapshot("snap");
    }
    return Complete(request);
  }

  absl::Status Move(const v1::Task& task, int64_t rows) {
    v1::CompleteTaskRequest request =
        Report(task, task.session().keep() ? v1::SessionState::STATE_IDLE : v1::SessionState::STATE_CLOSED);
    request.mutable_move()->mutable_counts()->set_read(rows);
    return Complete(request);
  }

  absl::Status Commit(const v1::Task& task, int64_t read, int64_t loaded) {
    v1::CompleteTaskRequest request = Report(task);
    v1::RowCounts& counts = *request.mutable_commit()->mutable_counts();
    counts.set_read(read);
    counts.set_loaded(loaded);
    counts.set_filtered(read - loaded);
    if (read > loaded) (*counts.mutable_filtered_by_reason())["superseded"] = read - loaded;
    return Complete(request);
  }

  // Answers a describe of a job that stands where `before` left it: nothing is new.
  absl::Status DescribeNothingNew(const v1::Task& task, const RunRecord& before) {
    v1::CompleteTaskRequest report = Report(task);
    *report.mutable_describe()->mutable_high() = before.window.high();
    *report.mutable_describe()->mutable_ledger() = HeadOf(before);
    report.mutable_describe()->mutable_target_schema();
    report.mutable_describe()->set_empty_window(true);
    return Complete(report);
  }

  absl::Status Abort(const v1::Task& task) {
    v1::CompleteTaskRequest report = Report(task);
    report.mutable_abort();
    return Complete(report);
  }

  void Beat(const std::vector<v1::Task>& held) {
    v1::HeartbeatRequest request;
    request.set_worker_id("w");
    request.set_incarnation(incarnation_);
    for (const v1::Task& task : held) {
      v1::TaskProgress& progress = *request.add_tasks();
      progress.set_task_id(task.task_id());
      progress.set_attempt(task.attempt());
    }
    ASSERT_TRUE(core_->Heartbeat(request).ok());
  }

  // Whether a heartbeat brings news for those who wait for some.
  bool BringsNews(const v1::HeartbeatRequest& request) {
    const int64_t before = core_->version();
    EXPECT_TRUE(core_->Heartbeat(request).ok());
    return core_->version() != before;
  }

  std::string Start(const RunRequest& request = {}) {
    // Runs sort by creation.
    clock_.Advance(absl::Milliseconds(1));
    return core_->StartRun("orders", request).value();
  }

  // A first run, from its trigger to its committed watermark.
  void FirstRun(int64_t high) {
    Start();
    ASSERT_TRUE(Describe(Next(v1::Task::kDescribe), high).ok());
    ASSERT_TRUE(Move(Next(v1::Task::kMove), 10).ok());
    ASSERT_TRUE(Move(Next(v1::Task::kMove), 10).ok());
    ASSERT_TRUE(Commit(Next(v1::Task::kCommit), 20, 20).ok());
  }

  v1::LedgerHead HeadOf(const RunRecord& run) {
    v1::LedgerHead head;
    head.set_exists(true);
    head.set_run_id(run.id);
    head.set_sequence(run.sequence);
    head.set_kind(v1::WINDOW_KIND_WINDOW);
    *head.mutable_high() = run.window.high();
    head.set_cluster_id(core_->cluster_id());
    head.set_job_uid(run.job_uid);
    return head;
  }

  // The head that another cluster's job has left.
  static v1::LedgerHead Foreign(int64_t sequence, int64_t high) {
    v1::LedgerHead head;
    head.set_exists(true);
    head.set_run_id("theirs");
    head.set_sequence(sequence);
    head.set_kind(v1::WINDOW_KIND_WINDOW);
    *head.mutable_high() = SimulatedWatermark(high);
    head.set_cluster_id("elsewhere");
    head.set_job_uid("another");
    return head;
  }
  // As a worker tells of it that has taken it over.
  v1::LedgerHead Owned(v1::LedgerHead head) {
    head.set_cluster_id(core_->cluster_id());
    head.set_job_uid(StoredJob().uid);
    return head;
  }
  JobRecord StoredJob() { return store_->GetJob("orders").value(); }
  AuditEvent LastAudit() { return store_->ListAudit({.limit = 1}).value()[0]; }

  std::vector<v1::ConnectionSpec> connections_;
  v1::JobSpec job_;
  // What describes report.
  v1::Completeness completeness_;
  std::string incarnation_;
  SimulatedClock clock_;
  Rng rng_{1};
  std::unique_ptr<MetadataStore> store_ = NewMemoryStore(&clock_, 1);
  FaultyStore faults_{store_.get()};
  std::unique_ptr<CoordinatorCore> core_;
};

TEST_F(CoordinatorTest, ADescribeKnowsHowTheWindowBeforeItEnded) {
  completeness_.set_level(v1::Completeness::LEVEL_LOOKBACK);
  completeness_.set_lookback_seconds(1'200);
  FirstRun(900);
  const RunRecord first = store_->ListRuns({}).value()[0];
  completeness_.set_level(v1::Completeness::LEVEL_PROVED);
  completeness_.clear_lookback_seconds();
  Start();
  v1::Task describe = Next(v1::Task::kDescribe);
  EXPECT_EQ(describe.describe().last_source_identity(), "server-1");
  EXPECT_EQ(describe.describe().last_completeness().lookback_seconds(), 1'200);
  // Nothing new has moved nothing: the next window still goes on from the first.
  ASSERT_TRUE(DescribeNothingNew(describe, first).ok());
  Start();
  describe = Next(v1::Task::kDescribe);
  EXPECT_EQ(describe.describe().last_completeness().lookback_seconds(), 1'200);
  ASSERT_TRUE(Describe(describe, 950, HeadOf(first)).ok());
  ASSERT_TRUE(Move(Next(v1::Task::kMove), 1).ok());
  ASSERT_TRUE(Move(Next(v1::Task::kMove), 1).ok());
  ASSERT_TRUE(Commit(Next(v1::Task::kCommit), 2, 2).ok());
  Start();
  EXPECT_EQ(Next(v1::Task::kDescribe).describe().last_completeness().level(), v1::Completeness::LEVEL_PROVED);
}

TEST_F(CoordinatorTest, TheStraightLine) {
  const std::string id = Start();
  v1::Task describe = Next(v1::Task::kDescribe);
  EXPECT_TRUE(describe.session().open());
  EXPECT_TRUE(describe.session().keep()) << "a first window reads one snapshot";
  EXPECT_FALSE(describe.describe().window().has_low());
  clock_.Advance(absl::Seconds(3));
  ASSERT_TRUE(Describe(describe, 900).ok());
  // The bound is stored before any row is read.
  EXPECT_EQ(ValueOf(store_->GetRun(id)->window.high()), 900);

  const v1::Task first = Next(v1::Task::kMove);
  EXPECT_EQ(first.session().session_id(), describe.session().session_id()) << "the session that holds the snapshot";
  EXPECT_FALSE(first.session().open());
  const v1::Task second = Next(v1::Task::kMove);
  EXPECT_TRUE(second.session().open());
  EXPECT_EQ(second.session().import_snapshot(), "snap");
  EXPECT_THAT(Poll().tasks(), IsEmpty());
  ASSERT_TRUE(Move(first, 30).ok());
  ASSERT_TRUE(Move(second, 12).ok());

  const v1::LeaseTasksResponse response = Poll();
  const int closing = response.close_sessions_size();
  const v1::Task commit = response.tasks(0);
  EXPECT_EQ(commit.commit().moves_size(), 2);
  ASSERT_TRUE(Commit(commit, 42, 40).ok());
  const RunRecord run = store_->GetRun(id).value();
  EXPECT_EQ(run.status, RunStatus::kSuccess);
  EXPECT_EQ(run.phase, RunPhase::kDone);
  EXPECT_EQ(run.counts.read(), 42);
  EXPECT_EQ(run.counts.filtered(), 2);
  EXPECT_EQ(run.peak_source_connections, 2);
  EXPECT_EQ(run.describe_time, absl::Seconds(3));
  EXPECT_EQ(ValueOf(*store_->GetJob("orders")->last_watermark), 900);
  // Its sessions were told to close when the last range was read.
  EXPECT_EQ(closing, 2);
  EXPECT_EQ(core_->budget().Held("src"), 2) << "until they are known gone";
}

TEST_F(CoordinatorTest, ATriggerTwiceIsOneRunAndAJobNeverRunsTwiceAtOnce) {
  const std::string first = Start({.request_id = "tick", .full_refresh = false, .from = {}, .to = {}});
  EXPECT_EQ(Start({.request_id = "tick", .full_refresh = false, .from = {}, .to = {}}), first);
  const std::string second = Start();
  EXPECT_NE(second, first);
  Next(v1::Task::kDescribe);
  EXPECT_THAT(Poll().tasks(), IsEmpty());
  EXPECT_EQ(store_->GetRun(second)->phase, RunPhase::kQueued);
  EXPECT_THAT(core_->UnfinishedRuns("orders"), testing::SizeIs(2));
}

TEST_F(CoordinatorTest, AnEmptyWindowSucceedsWithoutMoves) {
  FirstRun(900);
  const RunRecord before = store_->ListRuns({}).value()[0];
  const std::string id = Start();
  const v1::Task describe = Next(v1::Task::kDescribe);
  EXPECT_FALSE(describe.session().keep());
  EXPECT_EQ(ValueOf(describe.describe().window().low()), 900);
  ASSERT_TRUE(DescribeNothingNew(describe, before).ok());
  EXPECT_EQ(store_->GetRun(id)->status, RunStatus::kSuccess);
  EXPECT_EQ(store_->GetRun(id)->counts.read(), 0);
  EXPECT_EQ(ValueOf(*store_->GetJob("orders")->last_watermark), 900);
}

TEST_F(CoordinatorTest, StaleAndRepeatedReports) {
  Start();
  const v1::Task describe = Next(v1::Task::kDescribe);
  v1::CompleteTaskRequest other = Report(describe, v1::SessionState::STATE_BUSY);
  other.set_attempt(7);
  other.mutable_describe();
  EXPECT_TRUE(absl::IsFailedPrecondition(Complete(other)));
  ASSERT_TRUE(Describe(describe, 900).ok());
  EXPECT_TRUE(Describe(describe, 901).ok()) << "its answer was lost";
  EXPECT_EQ(ValueOf(store_->ListRuns({}).value()[0].window.high()), 900) << "and the second changes nothing";
}

TEST_F(CoordinatorTest, RetriesByTheJobsPolicyThenFailsWithThePlace) {
  job_.mutable_retry()->set_attempts(2);
  ASSERT_TRUE(core_->ApplyProject(connections_, {job_}).ok());
  const std::string id = Start();
  ASSERT_TRUE(Describe(Next(v1::Task::kDescribe), 900).ok());
  const v1::Task move = Next(v1::Task::kMove);
  ASSERT_TRUE(Move(Next(v1::Task::kMove), 5).ok());
  ASSERT_TRUE(Fail(move, SimulatedError(14, "partition 0 (id < 500): the network is down", true)).ok());
  EXPECT_THAT(Poll().tasks(), IsEmpty()) << "not before its backoff";
  clock_.Advance(absl::Minutes(1));
  Beat({});
  const v1::Task again = Next(v1::Task::kMove);
  EXPECT_EQ(again.task_id(), move.task_id());
  EXPECT_EQ(again.attempt(), 2);
  ASSERT_TRUE(Fail(again, SimulatedError(14, "partition 0 (id < 500): the network is down", true)).ok());
  const v1::Task abort = Next(v1::Task::kAbort);
  v1::CompleteTaskRequest report = Report(abort);
  report.mutable_abort();
  ASSERT_TRUE(Complete(report).ok());
  const RunRecord run = store_->GetRun(id).value();
  EXPECT_EQ(run.phase, RunPhase::kFailed);
  EXPECT_THAT(run.error, HasSubstr("partition 0 (id < 500)"));
  EXPECT_THAT(run.error, HasSubstr("attempt 2 of 2"));
}

TEST_F(CoordinatorTest, ALostCommitAnswerIsLookedUpInTheLedger) {
  const std::string id = Start();
  ASSERT_TRUE(Describe(Next(v1::Task::kDescribe), 900).ok());
  ASSERT_TRUE(Move(Next(v1::Task::kMove), 5).ok());
  ASSERT_TRUE(Move(Next(v1::Task::kMove), 5).ok());
  v1::TaskError unknown = SimulatedError(2, "COMMIT was not answered", false);
  unknown.set_outcome_unknown(true);
  ASSERT_TRUE(Fail(Next(v1::Task::kCommit), unknown).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(core_->CancelRun(id))) << "it may be committed";
  EXPECT_TRUE(core_->CancelRunsOf("orders", 0, "ann").ok()) << "it ends by itself";
  v1::CompleteTaskRequest missing = Report(Next(v1::Task::kProbe));
  missing.mutable_probe()->set_staging_exists(true);
  ASSERT_TRUE(Complete(missing).ok());
  EXPECT_THAT(Poll().tasks(), IsEmpty()) << "not before its backoff";
  clock_.Advance(absl::Minutes(1));
  Beat({});
  ASSERT_TRUE(Fail(Next(v1::Task::kCommit), unknown).ok());
  v1::CompleteTaskRequest found = Report(Next(v1::Task::kProbe));
  found.mutable_probe()->set_committed(true);
  found.mutable_probe()->mutable_counts()->set_read(10);
  found.mutable_probe()->mutable_counts()->set_loaded(10);
  ASSERT_TRUE(Complete(found).ok());
  EXPECT_EQ(store_->GetRun(id)->status, RunStatus::kSuccess);
  EXPECT_EQ(ValueOf(*store_->GetJob("orders")->last_watermark), 900);
}

TEST_F(CoordinatorTest, ACommitThatStaysInDoubtFailsWithItsLastError) {
  job_.mutable_retry()->set_attempts(2);
  ASSERT_TRUE(core_->ApplyProject(connections_, {job_}).ok());
  const std::string id = Start();
  ASSERT_TRUE(Describe(Next(v1::Task::kDescribe), 900).ok());
  ASSERT_TRUE(Move(Next(v1::Task::kMove), 5).ok());
  ASSERT_TRUE(Move(Next(v1::Task::kMove), 5).ok());
  for (const char* reason : {"commit: COMMIT was not answered", "commit: the disk is full"}) {
    v1::TaskError unknown = SimulatedError(2, reason, false);
    unknown.set_outcome_unknown(true);
    ASSERT_TRUE(Fail(Next(v1::Task::kCommit), unknown).ok());
    v1::CompleteTaskRequest missing = Report(Next(v1::Task::kProbe));
    missing.mutable_probe()->set_staging_exists(true);
    ASSERT_TRUE(Complete(missing).ok());
    clock_.Advance(absl::Minutes(1));
    Beat({});
  }
  ASSERT_TRUE(Abort(Next(v1::Task::kAbort)).ok());
  EXPECT_EQ(store_->GetRun(id)->phase, RunPhase::kFailed);
  EXPECT_EQ(store_->GetRun(id)->error, "commit: the disk is full (attempt 2 of 2)");
}

TEST_F(CoordinatorTest, ALoadThatFailedForGoodFailsTheRunAndReadsNothingAgain) {
  const std::string id = Start();
  const v1::Task describe = Next(v1::Task::kDescribe);
  ASSERT_TRUE(Describe(describe, 900).ok());
  const v1::Task move = Next(v1::Task::kMove);
  EXPECT_TRUE(move.move().in_snapshot());
  // What a worker says whose load has used up the job's attempts.
  ASSERT_TRUE(Fail(move, SimulatedError(8, "partition 0: the disk is full (attempt 5 of 5)", false)).ok());
  ASSERT_TRUE(Abort(Next(v1::Task::kAbort)).ok());
  const RunRecord run = store_->GetRun(id).value();
  EXPECT_EQ(run.phase, RunPhase::kFailed);
  EXPECT_EQ(run.error, "partition 0: the disk is full (attempt 5 of 5)");
}

TEST_F(CoordinatorTest, StagingThatCannotBeDroppedIsSoonLeftBehind) {
  const std::string failed = Start();
  ASSERT_TRUE(Describe(Next(v1::Task::kDescribe), 900).ok());
  ASSERT_TRUE(Fail(Next(v1::Task::kMove), SimulatedError(5, "no such column", false)).ok());
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(store_->GetRun(failed)->phase, RunPhase::kAborting);
    ASSERT_TRUE(Fail(Next(v1::Task::kAbort), SimulatedError(14, "the file is locked", true)).ok());
    clock_.Advance(absl::Minutes(1));
    Beat({});
  }
  EXPECT_EQ(store_->GetRun(failed)->phase, RunPhase::kFailed);
  EXPECT_EQ(store_->GetRun(failed)->error,
            "no such column; its staging is left behind until the job's next run: the file is locked");
  // Who has cancelled waits for its end.
  const std::string cancelled = Start();
  ASSERT_TRUE(Describe(Next(v1::Task::kDescribe), 900).ok());
  ASSERT_TRUE(core_->CancelRun(cancelled).ok());
  ASSERT_TRUE(Fail(Next(v1::Task::kAbort), SimulatedError(14, "the file is locked", true)).ok());
  EXPECT_EQ(store_->GetRun(cancelled)->phase, RunPhase::kCancelled);
}

TEST_F(CoordinatorTest, CountsThatDoNotBalanceFailTheRun) {
  const std::string id = Start();
  ASSERT_TRUE(Describe(Next(v1::Task::kDescribe), 900).ok());
  ASSERT_TRUE(Move(Next(v1::Task::kMove), 5).ok());
  ASSERT_TRUE(Move(Next(v1::Task::kMove), 5).ok());
  ASSERT_TRUE(Commit(Next(v1::Task::kCommit), 9, 9).ok());
  EXPECT_THAT(store_->GetRun(id)->error, HasSubstr("does not balance"));
  EXPECT_FALSE(store_->GetJob("orders")->last_watermark.has_value());
}

TEST_F(CoordinatorTest, ASnapshotThatIsLostStartsTheRunOverBehindANewFence) {
  const std::string id = Start();
  const v1::Task describe = Next(v1::Task::kDescribe);
  ASSERT_TRUE(Describe(describe, 900).ok());
  v1::Task move = Next(v1::Task::kMove);
  v1::TaskError lost = SimulatedError(15, "snapshot gone", false);
  lost.set_snapshot_lost(true);
  ASSERT_TRUE(Fail(move, lost).ok());
  const v1::Task abort = Next(v1::Task::kAbort);
  EXPECT_GT(abort.epoch(), move.epoch());
  v1::CompleteTaskRequest report = Report(abort);
  report.mutable_abort();
  ASSERT_TRUE(Complete(report).ok());
  EXPECT_EQ(store_->GetRun(id)->phase, RunPhase::kDescribing);
  EXPECT_FALSE(store_->GetRun(id)->description.has_value());
}

TEST_F(CoordinatorTest, APermitOfADeadWorkerIsGrantedAgainOnlyWhenItsSessionIsKnownGone) {
  connections_[0].set_max_connections(1);
  ASSERT_TRUE(core_->ApplyProject(connections_, {job_}).ok());
  Start();
  const v1::Task describe = Next(v1::Task::kDescribe);
  // Another life of the process: what it held is lost, and its session may live on in the source.
  v1::RegisterRequest reborn;
  reborn.set_worker_id("w");
  reborn.set_incarnation("reborn");
  reborn.set_slots(4);
  ASSERT_TRUE(core_->Register(reborn).ok());
  v1::LeaseTasksRequest poll;
  poll.set_worker_id("w");
  poll.set_incarnation("reborn");
  poll.set_free_slots(4);
  EXPECT_EQ(core_->LeaseTasks(poll)->tasks_size(), 0);
  const absl::Duration gone = CoordinatorOptions().lease + CoordinatorOptions().server_side_timeouts;
  const auto beat = [&] {
    v1::HeartbeatRequest request;
    request.set_worker_id("w");
    request.set_incarnation("reborn");
    ASSERT_TRUE(core_->Heartbeat(request).ok());
  };
  clock_.Advance(gone / 2);
  beat();
  clock_.Advance(gone / 2 - absl::Seconds(1));
  beat();
  ASSERT_TRUE(core_->Tick().ok());
  EXPECT_EQ(core_->LeaseTasks(poll)->tasks_size(), 0);
  clock_.Advance(absl::Seconds(1));
  ASSERT_TRUE(core_->Tick().ok());
  const v1::LeaseTasksResponse response = core_->LeaseTasks(poll).value();
  ASSERT_EQ(response.tasks_size(), 1);
  EXPECT_EQ(response.tasks(0).task_id(), describe.task_id());
  EXPECT_EQ(response.tasks(0).attempt(), 2);
}

TEST_F(CoordinatorTest, ARunWaitsForItsHorizonWithoutSlotAndPermit) {
  FirstRun(900);
  const RunRecord before = store_->ListRuns({}).value()[0];
  const std::string id = Start();
  const v1::Task describe = Next(v1::Task::kDescribe);
  v1::CompleteTaskRequest report = Report(describe);
  *report.mutable_describe()->mutable_high() = SimulatedWatermark(950);
  *report.mutable_describe()->mutable_ledger() = HeadOf(before);
  report.mutable_describe()->mutable_target_schema();
  report.mutable_describe()->set_should_wait(true);
  *report.mutable_describe()->mutable_wait_until() = SimulatedWatermark(960);
  ASSERT_TRUE(Complete(report).ok());
  EXPECT_EQ(store_->GetRun(id)->phase, RunPhase::kWaiting);
  EXPECT_EQ(core_->GetProgress(id)->source_connections, 0);
  clock_.Advance(absl::Milliseconds(500));
  const v1::Task probe = Next(v1::Task::kHorizon);
  EXPECT_EQ(ValueOf(probe.horizon().until()), 960);
  v1::CompleteTaskRequest not_yet = Report(probe);
  not_yet.mutable_horizon();
  ASSERT_TRUE(Complete(not_yet).ok());
  // Time is up: it goes on with the horizon there is.
  clock_.Advance(absl::Seconds(2));
  Beat({});
  ASSERT_TRUE(core_->Tick().ok());
  EXPECT_TRUE(Next(v1::Task::kDescribe).describe().horizon_is_final());
  EXPECT_GE(store_->GetRun(id)->wait_time, absl::Seconds(2));
}

TEST_F(CoordinatorTest, CancelStopsTasksThenDropsTheStaging) {
  const std::string id = Start();
  ASSERT_TRUE(Describe(Next(v1::Task::kDescribe), 900).ok());
  const v1::Task move = Next(v1::Task::kMove);
  ASSERT_TRUE(core_->CancelRun(id).ok());
  ASSERT_TRUE(core_->CancelRun(id).ok());
  const v1::LeaseTasksResponse response = Poll();
  EXPECT_THAT(response.tasks(), IsEmpty()) << "staging is dropped once nobody writes to it";
  ASSERT_EQ(response.cancel_tasks_size(), 1);
  EXPECT_EQ(response.cancel_tasks(0).task_id(), move.task_id());
  ASSERT_TRUE(Fail(move, SimulatedError(1, "cancelled", false)).ok());
  v1::CompleteTaskRequest report = Report(Next(v1::Task::kAbort));
  report.mutable_abort();
  ASSERT_TRUE(Complete(report).ok());
  EXPECT_EQ(store_->GetRun(id)->phase, RunPhase::kCancelled);
  EXPECT_EQ(store_->GetRun(id)->status, RunStatus::kFailed);
}

TEST_F(CoordinatorTest, APreviewStoresNothing) {
  const std::string id = core_->StartPreview("orders", {}).value();
  const v1::Task describe = Next(v1::Task::kDescribe);
  EXPECT_TRUE(describe.describe().dry_run());
  EXPECT_FALSE(core_->TakePreview(id)->has_value());
  ASSERT_TRUE(Describe(describe, 900).ok());
  const Preview preview = (**core_->TakePreview(id)).value();
  EXPECT_EQ(ValueOf(preview.window.high()), 900);
  EXPECT_THAT(preview.plan.ranges, testing::SizeIs(2));
  EXPECT_THAT(store_->ListRuns({}).value(), IsEmpty());
  EXPECT_THAT(store_->ListPermits().value(), IsEmpty());
  EXPECT_TRUE(absl::IsNotFound(core_->TakePreview(id).status()));
}

TEST_F(CoordinatorTest, ADeadLeadersRunIsTakenUpWhereItWas) {
  FirstRun(900);
  const RunRecord before = store_->ListRuns({}).value()[0];
  const std::string id = Start();
  ASSERT_TRUE(Describe(Next(v1::Task::kDescribe), 950, HeadOf(before)).ok());
  ASSERT_TRUE(Move(Next(v1::Task::kMove), 5).ok());
  Next(v1::Task::kMove);
  Boot();
  clock_.Advance(CoordinatorOptions().dead_process_grace);
  ASSERT_TRUE(core_->Tick().ok());
  const v1::Task move = Next(v1::Task::kMove);
  EXPECT_EQ(move.attempt(), 2) << "the window is kept, and the move that was done stays done";
  ASSERT_TRUE(Move(move, 5).ok());
  Next(v1::Task::kCommit);
  Boot();
  v1::CompleteTaskRequest found = Report(Next(v1::Task::kProbe));
  found.mutable_probe()->set_committed(true);
  found.mutable_probe()->mutable_counts()->set_read(10);
  found.mutable_probe()->mutable_counts()->set_loaded(10);
  ASSERT_TRUE(Complete(found).ok());
  EXPECT_EQ(store_->GetRun(id)->status, RunStatus::kSuccess);
  EXPECT_EQ(ValueOf(*store_->GetJob("orders")->last_watermark), 950);
}

TEST_F(CoordinatorTest, ALedgerAheadOfTheStoreIsAdoptedAndAudited) {
  const std::string id = Start();
  v1::LedgerHead head;
  head.set_exists(true);
  head.set_run_id("gone");
  head.set_sequence(8);
  head.set_kind(v1::WINDOW_KIND_WINDOW);
  *head.mutable_high() = SimulatedWatermark(700);
  head.set_cluster_id(core_->cluster_id());
  head.set_job_uid(store_->GetJob("orders")->uid);
  ASSERT_TRUE(Describe(Next(v1::Task::kDescribe), 900, head).ok());
  EXPECT_EQ(ValueOf(*store_->GetJob("orders")->last_watermark), 700);
  EXPECT_EQ(store_->ListAudit({.limit = 1}).value()[0].action, "job.adopt_ledger");
  // What the first describe has prepared is for another window, and the next one may be empty.
  ASSERT_TRUE(Abort(Next(v1::Task::kAbort)).ok());
  const v1::Task again = Next(v1::Task::kDescribe);
  EXPECT_EQ(ValueOf(again.describe().window().low()), 700);
  EXPECT_GT(again.sequence(), 8);
  EXPECT_EQ(store_->GetRun(id)->phase, RunPhase::kDescribing);
}

TEST_F(CoordinatorTest, AForeignLedgerIsAdoptedByTheUsersWord) {
  const v1::LedgerHead foreign = Foreign(57, 700);
  ASSERT_TRUE(core_->AdoptJob("orders", "ann").ok());
  EXPECT_EQ(LastAudit().action, "job.adopt");
  EXPECT_EQ(LastAudit().actor, "ann");
  const std::string id = Start();
  const v1::Task describe = Next(v1::Task::kDescribe);
  EXPECT_TRUE(describe.describe().window().adopt());
  EXPECT_FALSE(describe.describe().window().has_low());
  // The write happens and is not answered: what it has changed, it has changed in one.
  faults_.doubtful_write = 1;
  EXPECT_TRUE(absl::IsUnavailable(Describe(describe, 900, Owned(foreign))));
  EXPECT_EQ(ValueOf(*StoredJob().last_watermark), 700);
  EXPECT_EQ(StoredJob().last_sequence, 57);
  EXPECT_FALSE(StoredJob().adopting);
  EXPECT_EQ(LastAudit().action, "job.adopt_ledger");
  EXPECT_THAT(LastAudit().detail, HasSubstr("700"));
  ASSERT_TRUE(Describe(describe, 900, Owned(foreign)).ok()) << "reported again";
  ASSERT_TRUE(Abort(Next(v1::Task::kAbort)).ok());

  // From here on it is a run like any other.
  const v1::Task again = Next(v1::Task::kDescribe);
  EXPECT_FALSE(again.describe().window().adopt());
  EXPECT_EQ(ValueOf(again.describe().window().low()), 700);
  EXPECT_EQ(again.sequence(), 58);
  ASSERT_TRUE(Describe(again, 900, Owned(foreign)).ok());
  ASSERT_TRUE(Move(Next(v1::Task::kMove), 5).ok());
  ASSERT_TRUE(Move(Next(v1::Task::kMove), 5).ok());
  const v1::Task commit = Next(v1::Task::kCommit);
  EXPECT_EQ(ValueOf(commit.commit().window().low()), 700);
  ASSERT_TRUE(Commit(commit, 10, 10).ok());
  EXPECT_EQ(store_->GetRun(id)->status, RunStatus::kSuccess);
  EXPECT_EQ(ValueOf(*StoredJob().last_watermark), 900);
}

TEST_F(CoordinatorTest, AStoreAheadOfTheLedgerGoesBackByTheUsersWord) {
  FirstRun(900);
  const RunRecord before = store_->ListRuns({}).value()[0];
  v1::LedgerHead restored = HeadOf(before);
  restored.set_run_id("older");
  restored.set_sequence(before.sequence - 1);
  *restored.mutable_high() = SimulatedWatermark(500);
  std::string id = Start();
  ASSERT_TRUE(Describe(Next(v1::Task::kDescribe), 950, restored).ok());
  ASSERT_TRUE(Abort(Next(v1::Task::kAbort)).ok());
  EXPECT_THAT(store_->GetRun(id)->error, HasSubstr("behind"));
  EXPECT_EQ(ValueOf(*StoredJob().last_watermark), 900);

  ASSERT_TRUE(core_->AdoptJob("orders", "ann").ok());
  id = Start();
  ASSERT_TRUE(Describe(Next(v1::Task::kDescribe), 950, restored).ok());
  EXPECT_EQ(ValueOf(*StoredJob().last_watermark), 500);
  EXPECT_EQ(StoredJob().last_sequence, before.sequence) << "what was once committed there stays superseded";
  EXPECT_FALSE(StoredJob().adopting);
  EXPECT_THAT(LastAudit().detail, testing::AllOf(HasSubstr("500"), HasSubstr("900")));
  ASSERT_TRUE(Abort(Next(v1::Task::kAbort)).ok());
  const v1::Task again = Next(v1::Task::kDescribe);
  EXPECT_EQ(ValueOf(again.describe().window().low()), 500);
  EXPECT_GT(again.sequence(), before.sequence);
  ASSERT_TRUE(Describe(again, 950, restored).ok());
  EXPECT_EQ(store_->GetRun(id)->phase, RunPhase::kMoving);
}

TEST_F(CoordinatorTest, AdoptingATargetWithoutALedgerIsAFirstRun) {
  ASSERT_TRUE(core_->AdoptJob("orders", "ann").ok());
  const std::string id = Start();
  ASSERT_TRUE(Describe(Next(v1::Task::kDescribe), 900).ok());
  EXPECT_FALSE(StoredJob().adopting);
  EXPECT_EQ(LastAudit().action, "job.adopt") << "there was nothing to adopt";
  EXPECT_EQ(store_->GetRun(id)->phase, RunPhase::kMoving);
  EXPECT_FALSE(store_->GetRun(id)->window.adopt()) << "its later describes take nothing from anybody";
}

TEST_F(CoordinatorTest, AWatermarkIsNotGivenUpForATargetWithoutALedger) {
  FirstRun(900);
  ASSERT_TRUE(core_->AdoptJob("orders", "ann").ok());
  const std::string id = Start();
  ASSERT_TRUE(Describe(Next(v1::Task::kDescribe), 950).ok());
  ASSERT_TRUE(Abort(Next(v1::Task::kAbort)).ok());
  EXPECT_THAT(store_->GetRun(id)->error, HasSubstr("no ledger to go on from"));
  EXPECT_EQ(ValueOf(*StoredJob().last_watermark), 900);
  EXPECT_TRUE(StoredJob().adopting);
}

TEST_F(CoordinatorTest, AFullLoadAdoptsAboveWhatItReplaces) {
  job_.mutable_target()->set_strategy(v1::LOAD_STRATEGY_FULL);
  ASSERT_TRUE(core_->ApplyProject(connections_, {job_}).ok());
  ASSERT_TRUE(core_->AdoptJob("orders", "ann").ok());
  const std::string id = Start();
  const v1::Task describe = Next(v1::Task::kDescribe);
  EXPECT_TRUE(describe.describe().window().adopt());
  EXPECT_FALSE(describe.describe().window().full_refresh());
  ASSERT_TRUE(Describe(describe, 900, Owned(Foreign(57, 700))).ok());
  EXPECT_FALSE(StoredJob().adopting);
  EXPECT_EQ(store_->GetRun(id)->phase, RunPhase::kMoving);
  EXPECT_EQ(Next(v1::Task::kMove).sequence(), 58);
}

TEST_F(CoordinatorTest, APreviewOfAnAdoptionChangesNothing) {
  ASSERT_TRUE(core_->AdoptJob("orders", "ann").ok());
  const std::string id = core_->StartPreview("orders", {}).value();
  const v1::Task first = Next(v1::Task::kDescribe);
  EXPECT_TRUE(first.describe().dry_run());
  EXPECT_TRUE(first.describe().window().adopt());
  ASSERT_TRUE(Describe(first, 900, Foreign(57, 700)).ok());
  const v1::Task second = Next(v1::Task::kDescribe);
  EXPECT_TRUE(second.describe().dry_run());
  EXPECT_EQ(ValueOf(second.describe().window().low()), 700);
  ASSERT_TRUE(Describe(second, 900, Foreign(57, 700)).ok());
  const Preview preview = (**core_->TakePreview(id)).value();
  EXPECT_EQ(ValueOf(preview.window.low()), 700);
  EXPECT_EQ(ValueOf(preview.window.high()), 900);
  EXPECT_TRUE(StoredJob().adopting);
  EXPECT_FALSE(StoredJob().last_watermark.has_value());
  EXPECT_EQ(LastAudit().action, "job.adopt");
}

TEST_F(CoordinatorTest, APreviewOfAnAdoptionRefusesWhatTheRunWould) {
  job_.mutable_target()->set_strategy(v1::LOAD_STRATEGY_INCREMENTAL);
  ASSERT_TRUE(core_->ApplyProject(connections_, {job_}).ok());
  ASSERT_TRUE(core_->AdoptJob("orders", "ann").ok());
  v1::LedgerHead full = Foreign(57, 700);
  full.set_kind(v1::WINDOW_KIND_FULL);
  const std::string id = core_->StartPreview("orders", {}).value();
  ASSERT_TRUE(Describe(Next(v1::Task::kDescribe), 900, full).ok());
  ASSERT_TRUE(Describe(Next(v1::Task::kDescribe), 900, full).ok());
  EXPECT_THAT(std::string((**core_->TakePreview(id)).status().message()), HasSubstr("twice"));
}

TEST_F(CoordinatorTest, ARunThatFailsBeforeItsDescribeDoesNotUseTheWordUp) {
  ASSERT_TRUE(core_->AdoptJob("orders", "ann").ok());
  const std::string id = Start();
  ASSERT_TRUE(Fail(Next(v1::Task::kDescribe), SimulatedError(3, "no such table", false)).ok());
  EXPECT_EQ(store_->GetRun(id)->status, RunStatus::kFailed);
  EXPECT_TRUE(StoredJob().adopting);
  const std::string cancelled = Start();
  ASSERT_TRUE(core_->CancelRun(cancelled).ok());
  EXPECT_TRUE(StoredJob().adopting);
  Start();
  EXPECT_TRUE(Next(v1::Task::kDescribe).describe().window().adopt());
}

TEST_F(CoordinatorTest, AnEmptyWindowDropsWhatAnEarlierAttemptHasPrepared) {
  FirstRun(900);
  const RunRecord before = store_->ListRuns({}).value()[0];
  const std::string id = Start();
  // It may have prepared the staging before it failed.
  ASSERT_TRUE(Fail(Next(v1::Task::kDescribe), SimulatedError(14, "the network blinked", true)).ok());
  clock_.Advance(absl::Minutes(1));
  Beat({});
  const v1::Task second = Next(v1::Task::kDescribe);
  EXPECT_EQ(second.attempt(), 2);
  ASSERT_TRUE(DescribeNothingNew(second, before).ok());
  const v1::Task abort = Next(v1::Task::kAbort);
  EXPECT_GT(abort.epoch(), second.epoch()) << "the first attempt may be at it still";
  EXPECT_EQ(core_->GetProgress(id)->error, "");
  ASSERT_TRUE(Abort(abort).ok());
  ASSERT_TRUE(DescribeNothingNew(Next(v1::Task::kDescribe), before).ok());
  EXPECT_EQ(store_->GetRun(id)->status, RunStatus::kSuccess);
}

TEST_F(CoordinatorTest, AnEndlessRowOfEmptyWindowsCostsNothingToLookBehind) {
  FirstRun(900);
  const RunRecord before = store_->ListRuns({}).value()[0];
  const auto find_nothing = [&] {
    Start();
    ASSERT_TRUE(DescribeNothingNew(Next(v1::Task::kDescribe), before).ok());
  };
  find_nothing();
  faults_.runs_listed = 0;
  find_nothing();
  const int64_t of_one = faults_.runs_listed;
  for (int i = 0; i < 120; ++i) find_nothing();
  faults_.runs_listed = 0;
  find_nothing();
  EXPECT_EQ(faults_.runs_listed, of_one);
  // And the run behind them all is found.
  job_.mutable_source()->set_watermark("updated_at");
  ASSERT_TRUE(core_->ApplyProject(connections_, {job_}).ok());
  EXPECT_THAT(std::string(core_->StartRun("orders", {}).status().message()), HasSubstr("source.watermark was id"));
}

TEST_F(CoordinatorTest, AWriteInDoubtStillRaisesTheFence) {
  Start();
  ASSERT_TRUE(Describe(Next(v1::Task::kDescribe), 900).ok());
  const v1::Task move = Next(v1::Task::kMove);
  v1::TaskError lost = SimulatedError(15, "snapshot gone", false);
  lost.set_snapshot_lost(true);
  // The first write drops the permit, the second queues the move again, the third starts the run over.
  faults_.doubtful_write = 3;
  EXPECT_TRUE(absl::IsUnavailable(Fail(move, lost)));
  EXPECT_TRUE(absl::IsFailedPrecondition(Fail(move, lost))) << "that life of the run is over";
  EXPECT_GT(Next(v1::Task::kAbort).epoch(), move.epoch());
}

TEST_F(CoordinatorTest, AWriteInDoubtStillKnowsWhoHoldsTheSnapshot) {
  Start();
  const v1::Task describe = Next(v1::Task::kDescribe);
  faults_.doubtful_write = 1;
  EXPECT_TRUE(absl::IsUnavailable(Describe(describe, 900)));
  ASSERT_TRUE(Describe(describe, 900).ok());
  const v1::Task move = Next(v1::Task::kMove);
  EXPECT_EQ(move.session().session_id(), describe.session().session_id());
  EXPECT_FALSE(move.session().open());
  // Its row is written by the revision it has now.
  ASSERT_TRUE(Move(move, 5).ok());
  ASSERT_TRUE(Move(Next(v1::Task::kMove), 5).ok());
  ASSERT_TRUE(Commit(Next(v1::Task::kCommit), 10, 10).ok());
}

TEST_F(CoordinatorTest, AStoreThatFailsSaysSinceWhenAndWhy) {
  EXPECT_EQ(core_->store_failure(), std::nullopt);
  const absl::Duration since = clock_.Monotonic();
  faults_.write_error = absl::ResourceExhaustedError("state.db: database or disk is full");
  const absl::Status refused = core_->StartRun("orders", {}).status();
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  clock_.Advance(absl::Seconds(6));
  EXPECT_FALSE(core_->Tick().ok());
  ASSERT_TRUE(core_->store_failure().has_value());
  EXPECT_TRUE(absl::IsResourceExhausted(core_->store_failure()->error));
  EXPECT_THAT(std::string(core_->store_failure()->error.message()), HasSubstr("disk is full"));
  EXPECT_EQ(core_->store_failure()->since, since);
  faults_.write_error = absl::PermissionDeniedError("state.db: attempt to write a readonly database");
  EXPECT_TRUE(absl::IsPermissionDenied(core_->StartRun("orders", {}).status()));
  EXPECT_TRUE(absl::IsPermissionDenied(core_->store_failure()->error));
  faults_.write_error = absl::InternalError("state.db: odd");
  EXPECT_TRUE(absl::IsUnavailable(core_->StartRun("orders", {}).status()));
  faults_.write_error = absl::OkStatus();
  EXPECT_EQ(core_->NextWake(), absl::ZeroDuration()) << "what is in doubt is read at once";
  ASSERT_TRUE(core_->Tick().ok());
  EXPECT_EQ(core_->store_failure(), std::nullopt);
}

TEST_F(CoordinatorTest, AStoreThatTakesLongToFailIsLeftAloneForAMoment) {
  core_.reset();
  CoordinatorOptions options;
  options.store = &faults_;
  options.clock = &clock_;
  options.rng = &rng_;
  options.holder = "test";
  const std::unique_ptr<Coordinator> coordinator = Coordinator::Start(options).value();
  ASSERT_TRUE(coordinator->ApplyProject(connections_, {job_}).ok());
  int attempts = 0;
  faults_.write_error = absl::ResourceExhaustedError("disk is full");
  faults_.while_failing = [&] { ++attempts; };
  EXPECT_TRUE(absl::IsResourceExhausted(coordinator->StartRun("orders", {}).status()));
  EXPECT_TRUE(absl::IsResourceExhausted(coordinator->StartRun("orders", {}).status())) << "that was quick";
  EXPECT_EQ(attempts, 2);
  faults_.while_failing = [&] {
    ++attempts;
    clock_.Advance(absl::Seconds(3));
  };
  EXPECT_FALSE(coordinator->StartRun("orders", {}).ok());
  EXPECT_EQ(attempts, 3);
  // All those who waited behind it are answered at once.
  EXPECT_TRUE(absl::IsUnavailable(coordinator->StartRun("orders", {}).status()));
  EXPECT_TRUE(absl::IsUnavailable(coordinator->Tick()));
  EXPECT_EQ(attempts, 3);
  clock_.Advance(absl::Seconds(1));
  EXPECT_FALSE(coordinator->StartRun("orders", {}).ok());
  EXPECT_EQ(attempts, 4);
}

TEST_F(CoordinatorTest, ARunWhoseRecordsAreUnreadableFailsAlone) {
  v1::JobSpec other = job_;
  other.set_name("customers");
  other.mutable_target()->set_table("customers");
  ASSERT_TRUE(core_->ApplyProject(connections_, {job_, other}).ok());
  Start();
  const std::string second = Start();
  const v1::Task describe = Next(v1::Task::kDescribe);
  faults_.unreadable_job = "orders";
  ASSERT_TRUE(Fail(describe, SimulatedError(3, "no such table", false)).ok());
  const RunRecord run = store_->GetRun(second).value();
  EXPECT_EQ(run.phase, RunPhase::kFailed);
  EXPECT_THAT(run.error, HasSubstr("unreadable run"));
  EXPECT_TRUE(core_->Tick().ok());
  ASSERT_TRUE(core_->StartRun("customers", {}).ok());
  EXPECT_EQ(Next(v1::Task::kDescribe).job().name(), "customers");
}

TEST_F(CoordinatorTest, WithoutResumeTheRunsOfTheDeadAreLeftAlone) {
  const std::string id = Start();
  ASSERT_TRUE(Describe(Next(v1::Task::kDescribe), 900).ok());
  Next(v1::Task::kMove);
  const int64_t revision = store_->GetRun(id)->revision;
  Boot(/*died_with_us=*/true, /*resume=*/false);
  clock_.Advance(absl::Seconds(6));
  ASSERT_TRUE(core_->Tick().ok());
  EXPECT_THAT(Poll().tasks(), IsEmpty());
  EXPECT_THAT(core_->UnfinishedRuns(""), IsEmpty());
  const std::string preview = core_->StartPreview("orders", {}).value();
  ASSERT_TRUE(Describe(Next(v1::Task::kDescribe), 900).ok());
  EXPECT_TRUE((*core_->TakePreview(preview))->ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(core_->StartRun("orders", {}).status()));
  EXPECT_EQ(store_->GetRun(id)->revision, revision);
  const std::vector<TaskRecord> tasks = store_->ListTasks(id).value();
  EXPECT_EQ(std::count_if(tasks.begin(), tasks.end(), [](const auto& t) { return t.state == TaskState::kLeased; }), 1);
  // The next one takes it up; its snapshot died with its sessions.
  Boot();
  EXPECT_THAT(core_->UnfinishedRuns(""), ElementsAre(id));
  EXPECT_EQ(Next(v1::Task::kAbort).run_id(), id);
}

TEST_F(CoordinatorTest, APreviewThatFailsSaysWhatKindOfFailureItIs) {
  job_.mutable_retry()->set_attempts(1);
  ASSERT_TRUE(core_->ApplyProject(connections_, {job_}).ok());
  const auto preview_after = [&](const v1::TaskError& error) {
    const std::string id = core_->StartPreview("orders", {}).value();
    EXPECT_TRUE(Fail(Next(v1::Task::kDescribe), error).ok());
    return (**core_->TakePreview(id)).status();
  };
  const absl::Status unreachable = preview_after(SimulatedError(14, "no route to the source", true));
  EXPECT_TRUE(absl::IsUnavailable(unreachable)) << unreachable;
  EXPECT_THAT(std::string(unreachable.message()), HasSubstr("no route to the source"));
  EXPECT_TRUE(absl::IsNotFound(preview_after(SimulatedError(5, "no such table", false))));
  EXPECT_TRUE(absl::IsFailedPrecondition(preview_after(SimulatedError(0, "of no kind", false))));
}

TEST_F(CoordinatorTest, ATaskThatWasNeverReceivedIsLeasedAgain) {
  Start();
  const v1::Task lost = Next(v1::Task::kDescribe);
  for (int i = 0; i < 3; ++i) {
    clock_.Advance(absl::Seconds(4));
    Beat({});
  }
  const v1::Task again = Next(v1::Task::kDescribe);
  EXPECT_EQ(again.task_id(), lost.task_id());
  EXPECT_EQ(again.attempt(), 2);
  // One that is listed stays where it is.
  for (int i = 0; i < 3; ++i) {
    clock_.Advance(absl::Seconds(4));
    Beat({again});
  }
  EXPECT_THAT(Poll().tasks(), IsEmpty());
}

TEST_F(CoordinatorTest, AReplacedLeaderChangesNothing) {
  ASSERT_TRUE(store_->AcquireLeadership("test", absl::Seconds(15), 0).ok());
  const absl::StatusOr<std::string> refused = core_->StartRun("orders", {});
  EXPECT_TRUE(IsNotLeader(refused.status())) << refused.status();
  EXPECT_TRUE(IsNotLeader(core_->StartRun("orders", {}).status())) << "for good";
  EXPECT_THAT(store_->ListRuns({}).value(), IsEmpty());
}

TEST_F(CoordinatorTest, RefusesProjectsThatCannotLive) {
  v1::JobSpec other = job_;
  other.set_name("orders2");
  EXPECT_THAT(std::string(core_->ApplyProject(connections_, {job_, other}).message()),
              HasSubstr("both load table orders"));
  other.mutable_target()->set_connection("nowhere");
  EXPECT_THAT(std::string(core_->ApplyProject(connections_, {other}).message()), HasSubstr("connection nowhere"));
}

TEST_F(CoordinatorTest, AHeartbeatIsNewsIfSomethingChanges) {
  v1::HeartbeatRequest request;
  request.set_worker_id("w");
  request.set_incarnation(incarnation_);
  EXPECT_FALSE(BringsNews(request));
  Start();
  ASSERT_TRUE(Describe(Next(v1::Task::kDescribe), 20).ok());
  const v1::Task move = Next(v1::Task::kMove);
  v1::TaskProgress& progress = *request.add_tasks();
  progress.set_task_id(move.task_id());
  progress.set_attempt(move.attempt());
  v1::SessionState& session = *request.add_sessions();
  session.set_session_id(move.session().session_id());
  session.set_state(v1::SessionState::STATE_BUSY);
  progress.set_rows_read(5);
  EXPECT_FALSE(BringsNews(request));
  EXPECT_EQ(core_->GetProgress(core_->UnfinishedRuns("orders").front())->rows_read, 5);

  // Its session is free for another.
  progress.set_extracted(true);
  session.set_state(v1::SessionState::STATE_IDLE);
  EXPECT_TRUE(BringsNews(request));
  EXPECT_FALSE(BringsNews(request));

  // A task that was never received.
  Next(v1::Task::kMove);
  bool news = false;
  for (int i = 0; i < 3 && !news; ++i) {
    clock_.Advance(absl::Seconds(4));
    news = BringsNews(request);
  }
  EXPECT_TRUE(news);

  // An attempt that was cancelled, and is over.
  ASSERT_EQ(core_->CancelRun(core_->UnfinishedRuns("orders").front()), absl::OkStatus());
  EXPECT_FALSE(BringsNews(request)) << "it goes on";
  request.clear_tasks();
  EXPECT_TRUE(BringsNews(request));
  session.set_state(v1::SessionState::STATE_CLOSED);
  EXPECT_TRUE(BringsNews(request));
  EXPECT_FALSE(BringsNews(request));
}

}  // namespace
}  // namespace tidemark::coordinator
