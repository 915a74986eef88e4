#include "coordinator/server/coordinator_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "coordinator/run/faulty_store.h"
#include "coordinator/store/sample_records.h"

namespace tidemark::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const absl::Time kNoon = absl::FromUnixSeconds(1'767'268'800);

RunRecord EndedRun(const JobRecord& job, RunStatus status) {
  RunRecord run = SampleRun(job, "r1");
  run.status = status;
  run.phase = status == RunStatus::kSuccess ? RunPhase::kDone : RunPhase::kFailed;
  run.started = kNoon - absl::Seconds(20);
  run.ended = kNoon;
  return run;
}

class CoordinatorMetricsTest : public testing::Test {
 protected:
  std::unique_ptr<CoordinatorMetrics> Metrics(std::function<void(const RunRecord& run)> run_ended = {}) {
    return std::make_unique<CoordinatorMetrics>(
        &registry_, [this](const std::string& line) { log_.push_back(line); }, std::move(run_ended));
  }

  MetricRegistry registry_;
  std::vector<std::string> log_;
  const JobRecord orders_ = SampleJob("orders");
};

TEST_F(CoordinatorMetricsTest, WhatNobodyMissedIsShownFromTheStart) {
  const auto metrics = Metrics();
  for (const char* reason : {"superseded", "too_late", "skipped"}) {
    EXPECT_THAT(registry_.Text(),
                HasSubstr(absl::StrCat("tidemark_schedule_missed_total{reason=\"", reason, "\"} 0\n")));
  }
}

TEST_F(CoordinatorMetricsTest, TheScheduleIsLateOrMissesFires) {
  const auto metrics = Metrics();
  metrics->RunFired(SampleRun(orders_, "r1"), absl::Seconds(3));
  metrics->FiresMissed("orders", "too_late", 1);
  metrics->FiresMissed("orders", "superseded", 2);
  metrics->FiresMissed("orders", "skipped", 4);
  EXPECT_THAT(registry_.Text(), HasSubstr("tidemark_schedule_lag_seconds_sum 3\n"));
  EXPECT_THAT(registry_.Text(), HasSubstr("tidemark_schedule_missed_total{reason=\"too_late\"} 1\n"));
  EXPECT_THAT(registry_.Text(), HasSubstr("tidemark_schedule_missed_total{reason=\"superseded\"} 2\n"));
  EXPECT_THAT(registry_.Text(), HasSubstr("tidemark_schedule_missed_total{reason=\"skipped\"} 4\n"));
  EXPECT_THAT(log_,
              ElementsAre("job orders: 1 fire time missed (too_late)", "job orders: 2 fire times missed (superseded)"));
}

TEST_F(CoordinatorMetricsTest, ARunThatEnds) {
  const auto metrics = Metrics();
  metrics->RunEnded(EndedRun(orders_, RunStatus::kSuccess));
  const std::string text = registry_.Text();
  EXPECT_THAT(text, HasSubstr("tidemark_runs_total{etl_job=\"orders\",status=\"success\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("tidemark_run_duration_seconds_sum{etl_job=\"orders\"} 20\n"));
  EXPECT_THAT(text, HasSubstr("tidemark_stage_duration_seconds_sum{stage=\"wait\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("tidemark_stage_duration_seconds_sum{stage=\"move\"} 180\n"));
  EXPECT_THAT(text, HasSubstr("tidemark_horizon_hold_seconds{connection=\"shop\"} 0.1\n"));
  EXPECT_THAT(log_, IsEmpty());

  metrics->RunEnded(EndedRun(orders_, RunStatus::kFailed));
  EXPECT_THAT(registry_.Text(), HasSubstr("tidemark_runs_total{etl_job=\"orders\",status=\"failed\"} 1\n"));
  EXPECT_THAT(log_, ElementsAre("run r1 of job orders ended as failed: the target is down: start it"));
}

TEST_F(CoordinatorMetricsTest, ASkippedRunTookNoTime) {
  const auto metrics = Metrics();
  metrics->RunEnded(EndedRun(orders_, RunStatus::kSkipped));
  EXPECT_THAT(registry_.Text(), HasSubstr("tidemark_runs_total{etl_job=\"orders\",status=\"skipped\"} 1\n"));
  EXPECT_THAT(registry_.Text(), Not(HasSubstr("tidemark_run_duration_seconds")));
  EXPECT_THAT(log_, IsEmpty());
}

TEST_F(CoordinatorMetricsTest, WhoHearsOfEveryEndReadsNoneInTheLog) {
  std::vector<std::string> heard;
  const auto metrics = Metrics([&](const RunRecord& run) { heard.push_back(run.id); });
  metrics->RunEnded(EndedRun(orders_, RunStatus::kFailed));
  EXPECT_THAT(heard, ElementsAre("r1"));
  EXPECT_THAT(log_, IsEmpty());
}

TEST_F(CoordinatorMetricsTest, TasksTriggersAndTheCache) {
  const auto metrics = Metrics();
  metrics->TaskLeased(v1::TASK_KIND_MOVE, absl::Seconds(7));
  metrics->AttemptLost(v1::TASK_KIND_MOVE);
  metrics->TriggerRefused(SampleTrigger("t1"), "no job orders");
  metrics->CacheAsked(JobCacheResult::kHit);
  metrics->RedisFailed(absl::UnavailableError("redis cache:6379: no answer in time"));
  metrics->RedisAnswers(absl::Seconds(65));
  EXPECT_THAT(registry_.Text(), HasSubstr("tidemark_task_queue_wait_seconds_sum 7\n"));
  EXPECT_THAT(registry_.Text(), HasSubstr("tidemark_task_attempts_total{kind=\"move\",result=\"lost\"} 1\n"));
  EXPECT_THAT(registry_.Text(), HasSubstr(absl::StrCat("tidemark_job_cache_requests_total{result=\"",
                                                       std::string(Name(JobCacheResult::kHit)), "\"} 1\n")));
  EXPECT_THAT(log_, ElementsAre("trigger t1 for job orders is refused: no job orders",
                                "the job cache does without Redis: redis cache:6379: no answer in time; jobs are "
                                "listed from the store meanwhile",
                                "the job cache has Redis again, after 1m05s"));
}

// What mirrors a coordinator that took over from another.
class WatchedCoordinatorTest : public CoordinatorMetricsTest {
 protected:
  WatchedCoordinatorTest() {
    JobRecord job = orders_;
    job.spec.mutable_target()->set_connection("dwh");
    job.last_watermark.emplace().set_type("timestamptz");
    job.last_watermark->set_text("2026-01-01 11:00:00+00");
    JobRecord untimed = SampleJob("numbers");
    untimed.last_watermark.emplace().set_type("bigint");
    untimed.last_watermark->set_text("5");
    const int64_t epoch = store_->AcquireLeadership("before", absl::ZeroDuration(), 0).value();
    EXPECT_EQ(store_->Apply(epoch, {.jobs = {job, untimed}, .runs = {EndedRun(orders_, RunStatus::kSuccess)}}),
              absl::OkStatus());
    EXPECT_EQ(store_->ResignLeadership(epoch), absl::OkStatus());

    metrics_ = Metrics();
    CoordinatorOptions options;
    options.store = &faults_;
    options.clock = &clock_;
    options.rng = &rng_;
    options.holder = "this";
    options.observer = metrics_.get();
    coordinator_ = Coordinator::Start(options).value();
    std::vector<v1::ConnectionSpec> connections(2);
    connections[0].set_name("shop");
    connections[1].set_name("dwh");
    for (v1::ConnectionSpec& connection : connections) connection.set_dsn("sqlite:" + connection.name());
    EXPECT_EQ(coordinator_->ApplyProject(connections, {job.spec}), absl::OkStatus());
    metrics_->Recall(store_->LastSuccesses().value());
    watch_ = metrics_->Watch(coordinator_.get());
  }

  SimulatedClock clock_;
  Rng rng_{7};
  const std::unique_ptr<MetadataStore> store_ = NewMemoryStore(&clock_, 1);
  FaultyStore faults_{store_.get()};
  std::unique_ptr<CoordinatorMetrics> metrics_;
  std::unique_ptr<Coordinator> coordinator_;
  MetricRegistry::CollectHook watch_;
};

TEST_F(WatchedCoordinatorTest, ALeaderShowsWhatWasReachedBeforeIt) {
  const std::string text = registry_.Text();
  EXPECT_THAT(text, HasSubstr("tidemark_coordinator_is_leader 1\n"));
  EXPECT_THAT(text, HasSubstr("tidemark_job_last_success_timestamp_seconds{etl_job=\"orders\"} 1767268800\n"));
  EXPECT_THAT(text, HasSubstr("tidemark_watermark_timestamp_seconds{etl_job=\"orders\"} 1767265200\n"));
  EXPECT_THAT(text, Not(HasSubstr("numbers"))) << "it never succeeded, and its watermark is no time";
  EXPECT_THAT(text, HasSubstr("tidemark_source_connections{connection=\"shop\"} 0\n"));
}

TEST_F(WatchedCoordinatorTest, TheNextSuccessIsTheLast) {
  RunRecord run = EndedRun(orders_, RunStatus::kSuccess);
  run.ended = kNoon + absl::Hours(1);
  metrics_->RunEnded(run);
  run.status = RunStatus::kFailed;
  run.ended = kNoon + absl::Hours(2);
  metrics_->RunEnded(run);
  EXPECT_THAT(registry_.Text(),
              HasSubstr("tidemark_job_last_success_timestamp_seconds{etl_job=\"orders\"} 1767272400\n"));
}

TEST_F(WatchedCoordinatorTest, AnOutageOfTheStoreIsSaidOnce) {
  faults_.write_error = absl::UnavailableError("no route to the store");
  EXPECT_FALSE(coordinator_->StartRun("orders", {}).ok());
  EXPECT_FALSE(coordinator_->StartRun("orders", {}).ok());
  const char* const began =
      "the metadata store fails: no route to the store; no run begins or ends until it takes changes";
  EXPECT_THAT(log_, ElementsAre(began));
  clock_.Advance(absl::Seconds(10));
  faults_.write_error = absl::OkStatus();
  EXPECT_TRUE(coordinator_->StartRun("orders", {}).ok());
  EXPECT_TRUE(coordinator_->StartRun("orders", {}).ok());
  EXPECT_THAT(log_, ElementsAre(began, "the metadata store takes changes again, after 10.0s"));

  // Who is replaced has no outage.
  ASSERT_EQ(store_->ResignLeadership(coordinator_->epoch()), absl::OkStatus());
  ASSERT_TRUE(store_->AcquireLeadership("next", absl::Minutes(1), 0).ok());
  EXPECT_FALSE(coordinator_->StartRun("orders", {}).ok());
  EXPECT_EQ(log_.size(), 2u);
}

TEST_F(WatchedCoordinatorTest, TheMetricsOfAJobGoWithIt) {
  metrics_->RunEnded(EndedRun(orders_, RunStatus::kSuccess));
  metrics_->RunEnded(EndedRun(orders_, RunStatus::kFailed));
  EXPECT_THAT(registry_.Text(), HasSubstr("etl_job=\"orders\""));
  ASSERT_EQ(coordinator_->DeleteJob("orders", 0, /*force=*/false, "test"), absl::OkStatus());
  EXPECT_THAT(registry_.Text(), Not(HasSubstr("orders")));
}

TEST_F(WatchedCoordinatorTest, TheMetricsOfAConnectionGoWithIt) {
  metrics_->RunEnded(EndedRun(orders_, RunStatus::kSuccess));
  EXPECT_THAT(registry_.Text(), HasSubstr("tidemark_horizon_hold_seconds{connection=\"shop\"}"));
  ASSERT_EQ(coordinator_->DeleteJob("orders", 0, /*force=*/false, "test"), absl::OkStatus());
  ASSERT_EQ(coordinator_->ApplyProject({}, {}), absl::OkStatus());
  EXPECT_THAT(registry_.Text(), Not(HasSubstr("shop")));
}

}  // namespace
}  // namespace tidemark::coordinator
