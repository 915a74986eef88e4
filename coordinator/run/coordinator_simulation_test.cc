// A whole cluster in one thread, replayed from a seed: the real coordinator over a real store, workers that die, fall
// silent, lose replies and report twice, a coordinator that is killed and started again. What must hold holds at every
// step.
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>

#include "coordinator/run/faulty_store.h"
#include "coordinator/run/simulated_worker.h"

namespace tidemark::coordinator {
namespace {

constexpr absl::Duration kStep = absl::Milliseconds(100);
constexpr absl::Duration kLease = absl::Seconds(5);
constexpr absl::Duration kServerSide = absl::Seconds(3);
constexpr int kRuns = 4;
constexpr int64_t kRate = 9000;

struct Plot {
  bool embedded = false;
  SimulatedFaults faults;
  // Per step, per mille.
  int coordinator_death = 1;
  // Writes that happen and are not answered, per mille.
  int doubtful_write = 0;
  // In the middle of it all the metadata store is lost with everything it knows, and its successor adopts the targets.
  bool store_lost = false;
  // Rows are read from replicas, which replay by fits and starts.
  bool replicas = false;
};

constexpr char kPrimary[] = "postgresql://host/shop";
constexpr const char* kReplicas[] = {"postgresql://one/shop", "postgresql://two/shop"};

class Simulation {
 public:
  Simulation(uint64_t seed, const Plot& plot) : plot_(plot), rng_(seed), coordinator_rng_(seed ^ 0x5bd1e995) {
    world_.clock = &clock_;
    world_.rng = &rng_;
    world_.faults = plot.faults;
    world_.lease = kLease;
    world_.server_side_timeouts = plot.embedded ? absl::Seconds(1) : kServerSide;
    OpenStore(seed);
    if (plot.store_lost) loses_store_at_ = 50 + static_cast<int>(rng_.Below(600));
    limit_ = 1 + static_cast<int>(rng_.Below(3));
    world_.source.rows = 500;
    for (int i = 0; i < 3; ++i)
      workers_.push_back(std::make_unique<SimulatedWorker>("w" + std::to_string(i), 2, &world_));
    AddConnections();
    AddJob("full", v1::LOAD_STRATEGY_FULL, "src");
    AddJob("append", v1::LOAD_STRATEGY_INCREMENTAL, "src");
    jobs_.back().mutable_schedule()->set_cron("* * * * *");
    // Another name for the same database: one budget.
    AddJob("upsert", v1::LOAD_STRATEGY_UPSERT, "same");
  }

  void Run() {
    for (const v1::JobSpec& job : jobs_) left_[job.name()] = kRuns;
    for (int step = 0; step < 20'000 && !testing::Test::HasFatalFailure(); ++step) {
      clock_.Advance(kStep);
      const absl::Duration now = clock_.Monotonic();
      std::erase_if(world_.source.sessions, [&](const auto& entry) { return entry.second.dies_at <= now; });
      if (rng_.Below(4) == 0) world_.source.rows += static_cast<int64_t>(rng_.Below(20));
      if (plot_.replicas) ReplayLog();
      if (step == loses_store_at_) LoseStore();
      LiveCoordinator();
      for (auto& worker : workers_) worker->Step(coordinator_.get());
      if (coordinator_ != nullptr) {
        if (coordinator_->NextWake() <= absl::ZeroDuration()) (void)coordinator_->Tick();
        StartRuns();
        DrainWorkers();
      }
      CheckStep(step);
      if (coordinator_ != nullptr && Done()) {
        CheckEnd();
        return;
      }
    }
    if (!testing::Test::HasFatalFailure()) FAIL() << "runs did not end: " << Unfinished();
  }

  int succeeded() const { return succeeded_; }
  int failed() const { return failed_; }

 private:
  void OpenStore(uint64_t seed) {
    store_ = NewMemoryStore(&clock_, seed);
    faulty_store_ = std::make_unique<FaultyStore>(store_.get());
    faulty_store_->rng = &rng_;
  }

  // Whoever knew of sessions is gone: they are waited for before anybody may open new ones.
  void LoseStore() {
    coordinator_.reset();
    for (auto& worker : workers_) worker->Die(world_.server_side_timeouts);
    back_at_ = clock_.Monotonic() + absl::Seconds(20);
    OpenStore(rng_.Below(1'000'000));
    adopts_ = true;
    for (auto& [job, left] : left_) left = std::max(left, 2);
  }

  void AddConnections() {
    for (const char* name : {"src", "same", "target"}) {
      v1::ConnectionSpec& connection = connections_.emplace_back();
      connection.set_name(name);
      const bool target = std::string(name) == "target";
      connection.set_dsn(target ? "sqlite:target.db" : kPrimary);
      connection.set_max_connections(limit_);
      if (std::string(name) == "src") connection.set_max_rows_per_second(kRate);
      if (target || !plot_.replicas) continue;
      for (const char* replica : kReplicas) connection.add_replicas(replica);
      connection.set_fallback_to_primary(std::string(name) == "same");
    }
  }

  void ReplayLog() {
    for (const char* replica : kReplicas) {
      int64_t& rows = world_.source.replayed[replica];
      if (rng_.Below(200) == 0) paused_[replica] = !paused_[replica];
      if (!paused_[replica] && rng_.Below(3) == 0) rows += static_cast<int64_t>(rng_.Below(100));
      rows = std::min(rows, world_.source.rows);
    }
  }

  void AddJob(const std::string& name, v1::LoadStrategy strategy, const std::string& source) {
    v1::JobSpec& job = jobs_.emplace_back();
    job.set_name(name);
    job.set_enabled(true);
    job.mutable_source()->set_connection(source);
    job.mutable_source()->set_table("rows");
    job.mutable_source()->set_watermark("id");
    job.mutable_source()->mutable_partition()->set_rows(200);
    job.mutable_target()->set_connection("target");
    job.mutable_target()->set_table(name);
    job.mutable_target()->set_strategy(strategy);
    job.mutable_retry()->set_attempts(8);
    job.mutable_retry()->mutable_backoff()->set_nanos(200'000'000);
  }

  // Kills it now and then, with its workers where they live in one process, and starts it again.
  void LiveCoordinator() {
    if (coordinator_ != nullptr && world_.Happens(plot_.coordinator_death)) {
      coordinator_.reset();
      if (plot_.embedded) {
        for (auto& worker : workers_) worker->Die(world_.server_side_timeouts);
      }
      back_at_ = clock_.Monotonic() + absl::Milliseconds(100) * rng_.Below(80);
    }
    if (coordinator_ != nullptr || clock_.Monotonic() < back_at_) return;
    CoordinatorOptions options;
    options.store = faulty_store_.get();
    faulty_store_->doubtful_per_mille = 0;
    options.clock = &clock_;
    options.rng = &coordinator_rng_;
    options.holder = "simulation";
    options.lease = kLease;
    options.server_side_timeouts = kServerSide;
    options.workers_died_with_us = plot_.embedded;
    options.schedule = true;
    // A drain is not remembered.
    draining_.clear();
    absl::StatusOr<std::unique_ptr<CoordinatorCore>> started = CoordinatorCore::Start(options);
    ASSERT_TRUE(started.ok()) << started.status();
    coordinator_ = *std::move(started);
    const absl::Status applied = coordinator_->ApplyProject(connections_, jobs_);
    ASSERT_TRUE(applied.ok()) << applied;
    for (const v1::JobSpec& job : jobs_) {
      if (!adopts_) break;
      const absl::StatusOr<JobRecord> adopting = coordinator_->AdoptJob(job.name(), "somebody");
      ASSERT_TRUE(adopting.ok()) << adopting.status();
    }
    adopts_ = false;
    faulty_store_->doubtful_per_mille = plot_.doubtful_write;
  }

  void StartRuns() {
    for (auto& [job, left] : left_) {
      if (left == 0 || rng_.Below(60) != 0) continue;
      RunRequest request;
      request.request_id = job + std::to_string(left);
      if (rng_.Below(4) == 0) {
        // Asked for in the store, where it is taken up some time.
        TriggerRecord trigger;
        trigger.id = request.request_id;
        trigger.job_name = job;
        trigger.request_id = request.request_id;
        trigger.requested = clock_.Now();
        ASSERT_TRUE(store_->AddTrigger(trigger).ok());
        --left;
        continue;
      }
      // A trigger may come twice.
      const absl::StatusOr<std::string> first = coordinator_->StartRun(job, request);
      if (plot_.doubtful_write > 0 && absl::IsUnavailable(first.status())) continue;
      ASSERT_TRUE(first.ok()) << first.status();
      const absl::StatusOr<std::string> again = coordinator_->StartRun(job, request);
      ASSERT_TRUE(again.ok() && *again == *first);
      --left;
      if (rng_.Below(10) == 0) (void)coordinator_->CancelRun(*first);
    }
    if (rng_.Below(10) == 0) (void)coordinator_->TakeTriggers();
  }

  // Drains one now and then, and starts it anew when it has nothing left.
  void DrainWorkers() {
    for (const WorkerView& view : coordinator_->Workers()) {
      if (view.state == WorkerView::State::kReady) {
        draining_.erase(view.id);
        if (rng_.Below(1000) != 0 || !coordinator_->DrainWorker(view.id, "somebody").ok()) continue;
        draining_[view.id] = LeasedTo(view.id);
      } else if (view.state == WorkerView::State::kDrained && draining_.erase(view.id) > 0) {
        workers_[static_cast<size_t>(view.id[1] - '0')]->Die(world_.server_side_timeouts);
      } else if (view.state == WorkerView::State::kLost) {
        draining_.erase(view.id);
      }
    }
  }

  // Attempts, as "task/attempt".
  std::set<std::string> LeasedTo(const std::string& worker) {
    std::set<std::string> leased;
    for (const RunRecord& run : UnfinishedRuns()) {
      for (const TaskRecord& task : TasksOf(run)) {
        if (task.state != TaskState::kLeased || task.worker_id != worker) continue;
        leased.insert(task.id + "/" + std::to_string(task.attempt));
      }
    }
    return leased;
  }

  bool Done() {
    for (const auto& [job, left] : left_) {
      if (left > 0) return false;
    }
    return coordinator_->UnfinishedRuns("").empty() && store_->ListTriggers()->empty();
  }

  std::vector<RunRecord> UnfinishedRuns() { return store_->ListUnfinishedRuns().value(); }
  std::vector<TaskRecord> TasksOf(const RunRecord& run) { return store_->ListTasks(run.id).value(); }
  std::vector<JobRecord> StoredJobs() { return store_->ListJobs().value(); }
  std::vector<RunRecord> RunsOf(const v1::JobSpec& job) {
    return store_->ListRuns({.job_name = job.name(), .status = std::nullopt, .before = "", .limit = 0}).value();
  }

  std::string Unfinished() {
    std::string text;
    for (const RunRecord& run : UnfinishedRuns()) {
      text += run.job_name + " " + run.id + " " + std::string(Name(run.phase)) + " " + run.error + "\n";
      for (const TaskRecord& task : TasksOf(run)) {
        if (task.state == TaskState::kQueued || task.state == TaskState::kLeased) {
          text += "  " + task.id + " " + std::string(Name(task.state)) + " " + task.worker_id + " " + task.error + "\n";
        }
      }
    }
    return text;
  }

  void CheckStep(int step) {
    // The source never sees more than its limit: describes, probes and sessions of the dead included.
    std::map<std::string, int> open;
    for (const auto& [id, session] : world_.source.sessions) {
      const int there = ++open[session.server];
      ASSERT_LE(there, limit_) << session.server << " step " << step;
      most_open_ = std::max(most_open_, there);
      ASSERT_FALSE(plot_.replicas && session.reading && session.server == kPrimary && session.connection == "src")
          << "step " << step;
    }
    ASSERT_EQ(world_.source.foreign_imports, 0) << "step " << step;
    int64_t rate = 0;
    std::set<std::string> readers;
    for (const auto& [id, session] : world_.source.sessions) {
      if (session.reading) readers.insert(session.owner.substr(0, session.owner.find('/')) + " " + session.connection);
    }
    for (const std::string& reader : readers) {
      const size_t space = reader.find(' ');
      const int64_t share = workers_[static_cast<size_t>(reader[1] - '0')]->ShareInForce(reader.substr(space + 1));
      ASSERT_GT(share, 0) << "reads without a share, step " << step;
      rate += share;
    }
    ASSERT_LE(rate, kRate) << "step " << step;
    ASSERT_EQ(world_.source.shared_sessions, 0) << "step " << step;

    // One that drains gets nothing new.
    for (const auto& [worker, had] : draining_) {
      for (const std::string& attempt : LeasedTo(worker)) ASSERT_TRUE(had.contains(attempt)) << "step " << step;
    }

    // A job never runs twice at once.
    std::map<std::string, int> running;
    for (const RunRecord& run : UnfinishedRuns()) {
      running[run.job_name] += run.phase != RunPhase::kQueued;
      ASSERT_LE(running[run.job_name], 1) << run.job_name << " step " << step;
    }
    // The watermark only rises, and only to the high of a run in the ledger.
    for (const JobRecord& job : StoredJobs()) {
      if (!job.last_watermark.has_value()) continue;
      const int64_t value = ValueOf(*job.last_watermark);
      ASSERT_GE(value, watermarks_[job.spec.name()]) << "step " << step;
      watermarks_[job.spec.name()] = value;
      bool in_ledger = false;
      for (const LedgerRow& row : world_.targets[job.spec.target().table()].ledger()) in_ledger |= row.high == value;
      ASSERT_TRUE(in_ledger) << job.spec.name() << " " << value << " step " << step;
    }
  }

  void CheckEnd() {
    for (const v1::JobSpec& job : jobs_) {
      const SimulatedTarget& target = world_.targets[job.target().table()];
      // Exactly the rows up to the watermark (a full load: of its snapshot), each once.
      const std::set<int64_t> distinct(target.table().begin(), target.table().end());
      ASSERT_EQ(distinct.size(), target.table().size()) << job.name() << ": rows were loaded twice";
      const int64_t high = target.ledger().empty() ? 0 : target.ledger().back().high;
      ASSERT_EQ(static_cast<int64_t>(distinct.size()), high) << job.name() << ": rows were lost";
      const absl::StatusOr<JobRecord> stored = store_->GetJob(job.name());
      // Of the runs that should have adopted it, none may have got as far as its describe.
      if (!stored->adopting) {
        ASSERT_EQ(stored->last_watermark.has_value() ? ValueOf(*stored->last_watermark) : 0, high) << job.name();
      }

      std::map<std::string, const LedgerRow*> ledger;
      for (const LedgerRow& row : target.ledger())
        ASSERT_TRUE(ledger.emplace(row.run_id, &row).second) << "two ledger rows";
      std::optional<absl::Time> later_fire;
      for (const RunRecord& run : RunsOf(job)) {
        ASSERT_NE(run.status, RunStatus::kRunning);
        // Newest first: nobody is away for a minute, so that every one of them has its run, and has it once.
        if (run.fire_time.has_value()) {
          ASSERT_EQ(job.name(), "append");
          ASSERT_EQ(later_fire.value_or(*run.fire_time + absl::Minutes(1)) - *run.fire_time, absl::Minutes(1))
              << run.id;
          later_fire = run.fire_time;
        }
        if (run.status == RunStatus::kSkipped) continue;
        ASSERT_LE(run.peak_source_connections, limit_);
        if (run.status != RunStatus::kSuccess) {
          ASSERT_FALSE(run.error.empty());
          failed_ += run.phase != RunPhase::kCancelled;
          continue;
        }
        ++succeeded_;
        if (run.description->empty_window()) {
          ASSERT_EQ(run.counts.read(), 0);
          continue;
        }
        ASSERT_TRUE(ledger.contains(run.id)) << "a success that the ledger does not have";
        ASSERT_EQ(run.counts.read(), ledger[run.id]->counts.read()) << run.id;
        ASSERT_EQ(run.counts.loaded(), run.counts.read());
        int64_t staged = 0;
        for (const TaskRecord& task : TasksOf(run)) {
          if (task.kind == v1::TASK_KIND_MOVE && task.state == TaskState::kSucceeded) staged += task.counts.loaded();
        }
        ASSERT_EQ(staged, run.counts.read()) << "each partition counts once";
      }
    }
    ASSERT_GT(most_open_, 0);
  }

  const Plot plot_;
  SimulatedClock clock_;
  Rng rng_;
  Rng coordinator_rng_;
  SimulatedWorld world_;
  std::unique_ptr<MetadataStore> store_;
  std::unique_ptr<FaultyStore> faulty_store_;
  std::unique_ptr<CoordinatorCore> coordinator_;
  absl::Duration back_at_;
  std::vector<std::unique_ptr<SimulatedWorker>> workers_;
  std::vector<v1::ConnectionSpec> connections_;
  std::vector<v1::JobSpec> jobs_;
  std::map<std::string, int> left_;
  std::map<std::string, int64_t> watermarks_;
  // By worker that drains: what it had when it began to.
  std::map<std::string, std::set<std::string>> draining_;
  int loses_store_at_ = -1;
  // The next coordinator begins by it.
  bool adopts_ = false;
  int limit_ = 0;
  int most_open_ = 0;
  std::map<std::string, bool> paused_;
  int succeeded_ = 0;
  int failed_ = 0;
};

struct Outcome {
  int succeeded = 0;
  int failed = 0;
};

// As many seeds as the environment asks for: a long test runs hundreds.
uint64_t Seeds() {
  const char* seeds = std::getenv("TIDEMARK_SIMULATION_SEEDS");
  return seeds == nullptr ? 4 : std::strtoull(seeds, nullptr, 10);
}

Outcome Replay(const Plot& plot, uint64_t first) {
  Outcome outcome;
  const uint64_t last = first + Seeds() - 1;
  for (uint64_t seed = first; seed <= last && !testing::Test::HasFatalFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Simulation simulation(seed, plot);
    simulation.Run();
    outcome.succeeded += simulation.succeeded();
    outcome.failed += simulation.failed();
  }
  return outcome;
}

constexpr SimulatedFaults kNone = {.lost_reply = 0,
                                   .lost_request = 0,
                                   .failed_move = 0,
                                   .unknown_commit = 0,
                                   .lost_snapshot = 0,
                                   .death = 0,
                                   .silence = 0};

TEST(CoordinatorSimulationTest, InPeaceEveryRunSucceeds) {
  const Outcome outcome = Replay({.embedded = false, .faults = kNone, .coordinator_death = 0}, 1000);
  EXPECT_EQ(outcome.failed, 0);
  EXPECT_GE(outcome.succeeded, static_cast<int>(Seeds()) * 9);
}

TEST(CoordinatorSimulationTest, LostCallsAndFailures) {
  const Outcome outcome =
      Replay({.embedded = false, .faults = {.death = 0, .silence = 0}, .coordinator_death = 0}, 100000);
  EXPECT_GT(outcome.succeeded, outcome.failed);
}

TEST(CoordinatorSimulationTest, WorkersDieAndFallSilent) {
  const Outcome outcome = Replay({.embedded = false, .faults = {.lost_snapshot = 0}, .coordinator_death = 0}, 200000);
  EXPECT_GT(outcome.succeeded, outcome.failed);
}

TEST(CoordinatorSimulationTest, TheCoordinatorDiesAndWorkersGoOn) {
  const Outcome outcome =
      Replay({.embedded = false, .faults = {.death = 0, .silence = 1}, .coordinator_death = 8}, 300000);
  EXPECT_GT(outcome.succeeded, outcome.failed);
}

TEST(CoordinatorSimulationTest, TheCoordinatorAndWorkersDie) {
  const Outcome outcome = Replay({.embedded = false, .faults = {.lost_snapshot = 0}, .coordinator_death = 8}, 700000);
  EXPECT_GT(outcome.succeeded, outcome.failed);
}

TEST(CoordinatorSimulationTest, TheStoreDoesNotAlwaysAnswer) {
  const Outcome outcome = Replay(
      {.embedded = false, .faults = {.death = 0, .silence = 0}, .coordinator_death = 0, .doubtful_write = 20}, 500008);
  EXPECT_GT(outcome.succeeded, outcome.failed);
}

TEST(CoordinatorSimulationTest, TheStoreIsLostAndItsSuccessorAdoptsTheTargets) {
  const Outcome outcome = Replay(
      {.embedded = false, .faults = {.death = 0, .silence = 0}, .coordinator_death = 4, .store_lost = true}, 600000);
  EXPECT_GT(outcome.succeeded, outcome.failed);
}

TEST(CoordinatorSimulationTest, ReplicasReplayByFitsAndStarts) {
  const Outcome outcome = Replay(
      {.embedded = false, .faults = {.death = 0, .silence = 1}, .coordinator_death = 4, .replicas = true}, 800000);
  EXPECT_GT(outcome.succeeded, outcome.failed);
}

TEST(CoordinatorSimulationTest, TheWholeProcessDies) {
  const Outcome outcome =
      Replay({.embedded = true, .faults = {.death = 0, .silence = 0}, .coordinator_death = 4}, 400000);
  EXPECT_GT(outcome.succeeded, outcome.failed);
}

}  // namespace
}  // namespace tidemark::coordinator
