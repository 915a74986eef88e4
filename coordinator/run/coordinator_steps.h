#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/run/coordinator_core.h"
#include "coordinator/run/faulty_store.h"
#include "coordinator/run/simulated_stores.h"

namespace tidemark::coordinator {

// What an observer was told.
class RecordingObserver final : public CoordinatorObserver {
 public:
  struct Missed {
    std::string job;
    std::string reason;
    int64_t count = 0;
    bool operator==(const Missed&) const = default;
  };

  void RunFired(const RunRecord& run, absl::Duration lag) override {
    fired.push_back(run);
    lags.push_back(lag);
  }
  void FiresMissed(std::string_view job, std::string_view reason, int64_t count) override {
    missed.push_back({std::string(job), std::string(reason), count});
  }
  void RunEnded(const RunRecord& run) override { ended.push_back(run); }
  void TriggerRefused(const TriggerRecord& trigger, std::string_view why) override { refused.push_back(trigger.id); }

  std::vector<RunRecord> fired;
  std::vector<absl::Duration> lags;
  std::vector<Missed> missed;
  std::vector<RunRecord> ended;
  std::vector<std::string> refused;
};

// A coordinator over a store in memory, and its workers, one at a time, driven by hand.
class CoordinatorSteps : public testing::Test {
 protected:
  CoordinatorSteps() {
    options_.store = &faults_;
    options_.clock = &clock_;
    options_.rng = &rng_;
    options_.holder = "test";
    options_.observer = &observer_;
  }

  // By job's name, of those that are scheduled.
  std::map<std::string, absl::Time> NextFires() const {
    std::map<std::string, absl::Time> fires;
    for (const JobView& job : core_->Jobs()) {
      if (job.next_fire.has_value()) fires[job.name] = *job.next_fire;
    }
    return fires;
  }

  static v1::ConnectionSpec Connection(const std::string& name, const std::string& dsn, int max_connections) {
    v1::ConnectionSpec connection;
    connection.set_name(name);
    connection.set_dsn(dsn);
    connection.set_max_connections(max_connections);
    return connection;
  }

  // Loads a table of its own.
  static v1::JobSpec Job(const std::string& name) {
    v1::JobSpec job;
    job.set_name(name);
    job.set_enabled(true);
    job.mutable_source()->set_connection("src");
    job.mutable_source()->set_table(name);
    job.mutable_source()->set_watermark("id");
    job.mutable_target()->set_connection("dst");
    job.mutable_target()->set_table(name);
    job.mutable_target()->set_strategy(v1::LOAD_STRATEGY_UPSERT);
    return job;
  }

  static v1::JobSpec Scheduled(const std::string& name, const std::string& cron) {
    v1::JobSpec job = Job(name);
    job.mutable_schedule()->set_cron(cron);
    return job;
  }

  // As after the death of the one before.
  absl::Status TryBoot() {
    core_.reset();
    absl::StatusOr<std::unique_ptr<CoordinatorCore>> core = CoordinatorCore::Start(options_);
    if (!core.ok()) return core.status();
    core_ = *std::move(core);
    return absl::OkStatus();
  }
  void Boot() {
    const absl::Status booted = TryBoot();
    ASSERT_TRUE(booted.ok()) << booted;
  }

  void Register(int slots) {
    v1::RegisterRequest request;
    request.set_worker_id(worker_);
    request.set_incarnation(incarnation_);
    request.set_slots(slots);
    ASSERT_TRUE(core_->Register(request).ok());
  }

  std::vector<v1::Task> Poll() {
    v1::LeaseTasksRequest request;
    request.set_worker_id(worker_);
    request.set_incarnation(incarnation_);
    request.set_free_slots(1);
    const v1::LeaseTasksResponse response = core_->LeaseTasks(request).value();
    return {response.tasks().begin(), response.tasks().end()};
  }

  v1::Task Next(v1::Task::WorkCase kind) {
    const std::vector<v1::Task> tasks = Poll();
    EXPECT_EQ(tasks.size(), 1u);
    if (tasks.size() != 1) return {};
    EXPECT_EQ(tasks[0].work_case(), kind);
    return tasks[0];
  }

  v1::CompleteTaskRequest Report(const v1::Task& task, v1::SessionState::State session) {
    v1::CompleteTaskRequest request;
    request.set_worker_id(worker_);
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

  absl::Status Fail(const v1::Task& task, const v1::TaskError& error) {
    v1::CompleteTaskRequest request = Report(task, v1::SessionState::STATE_CLOSED);
    *request.mutable_error() = error;
    return Complete(request);
  }

  // Answers a describe: there is nothing to move, and the run has succeeded.
  absl::Status DescribeEmpty(const v1::Task& task) {
    v1::CompleteTaskRequest request = Report(task, v1::SessionState::STATE_CLOSED);
    request.mutable_describe()->set_empty_window(true);
    return Complete(request);
  }

  // Answers a describe: the rows up to `high` in two ranges of the key, without a snapshot.
  absl::Status Describe(const v1::Task& task, int64_t high) { return Complete(Described(task, high)); }
  v1::CompleteTaskRequest Described(const v1::Task& task, int64_t high) {
    v1::CompleteTaskRequest request = Report(task, v1::SessionState::STATE_CLOSED);
    v1::DescribeResult& result = *request.mutable_describe();
    result.add_formats(v1::CHUNK_FORMAT_ARROW);
    result.set_estimated_rows(1'000'000);
    *result.mutable_high() = SimulatedWatermark(high);
    v1::PartitionFacts& facts = *result.add_partition_facts();
    facts.set_partitioning(v1::PARTITIONING_KEY);
    facts.add_columns("id");
    facts.set_immutable(true);
    facts.add_quantiles()->add_values("500");
    result.set_has_snapshot(true);
    result.set_snapshot("snap");
    result.set_source_identity("server-1");
    request.mutable_sessions(0)->set_state(v1::SessionState::STATE_IDLE);
    return request;
  }

  absl::Status Move(const v1::Task& task, int64_t rows) {
    v1::CompleteTaskRequest request =
        Report(task, task.session().keep() ? v1::SessionState::STATE_IDLE : v1::SessionState::STATE_CLOSED);
    request.mutable_move()->mutable_counts()->set_read(rows);
    return Complete(request);
  }

  // Until the clock shows `time`, ticking when the coordinator wants to.
  void TickUntil(absl::Time time) {
    while (clock_.Now() < time) {
      clock_.Advance(std::min(std::max(core_->NextWake(), absl::Milliseconds(1)), time - clock_.Now()));
      if (core_->NextWake() <= absl::ZeroDuration()) (void)core_->Tick();
    }
  }
  void TickFor(absl::Duration duration) { TickUntil(clock_.Now() + duration); }

  // Oldest first.
  std::vector<RunRecord> RunsOf(const std::string& job) {
    const std::vector<RunRecord> runs = store_->ListRuns({.job_name = job, .limit = 0}).value();
    return {runs.rbegin(), runs.rend()};
  }
  std::vector<RunRecord> UnfinishedRuns() { return store_->ListUnfinishedRuns().value(); }
  std::vector<AuditEvent> Audit() {
    const std::vector<AuditEvent> events = store_->ListAudit({.limit = 0}).value();
    return {events.rbegin(), events.rend()};
  }
  std::vector<std::string> Actions() {
    std::vector<std::string> actions;
    for (const AuditEvent& event : Audit()) actions.push_back(event.action);
    return actions;
  }

  // Who polls and reports.
  std::string worker_ = "w";
  std::string incarnation_ = "1";
  SimulatedClock clock_;
  Rng rng_{1};
  std::unique_ptr<MetadataStore> store_ = NewMemoryStore(&clock_, 1);
  FaultyStore faults_{store_.get()};
  RecordingObserver observer_;
  CoordinatorOptions options_;
  std::unique_ptr<CoordinatorCore> core_;
};

}  // namespace tidemark::coordinator
