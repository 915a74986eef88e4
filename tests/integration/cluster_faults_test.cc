// Daemons that die, freeze, leave or come back in the middle of a run: it succeeds, its target is exact, and its source
// never sees more sessions than it allows. TIDEMARK_TEST_CLUSTER_ROWS sets the rows of a run, TIDEMARK_TEST_FAULTS how
// often each fault is tried.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/substitute.h"
#include "absl/time/clock.h"
#include "tests/integration/cluster.h"
#include "tests/integration/postgres_oracle.h"
#include "tests/integration/postgres_session_sampler.h"
#include "tests/support/postgres_server.h"

namespace tidemark::test {
namespace {

using testing::HasSubstr;

constexpr int kLimit = 2;
constexpr absl::Duration kLease = absl::Seconds(3);

int64_t Rows() {
  const char* rows = std::getenv("TIDEMARK_TEST_CLUSTER_ROWS");
  return rows ? std::atoll(rows) : 60'000;
}

int Faults() {
  const char* faults = std::getenv("TIDEMARK_TEST_FAULTS");
  return faults ? std::atoi(faults) : 1;
}

// A cluster with one job over a source that gives its rows slowly, in partitions.
class ClusterFaults : public testing::Test {
 protected:
  void Start(const std::string& strategy, const std::string& partitions = "partitions: 6", int coordinators = 1) {
    const std::string database = source_.substr(source_.rfind('/') + 1);
    Exec(source_,
         absl::StrCat("CREATE TABLE items (id bigint PRIMARY KEY, payload text, updated_at timestamptz NOT NULL);"
                      "INSERT INTO items SELECT g, md5(g::text), timestamptz '2025-01-01' + g * interval '1 s'"
                      " FROM generate_series(1, ",
                      Rows(),
                      ") g; CREATE INDEX ON items (updated_at); ANALYZE items;"
                      "DROP ROLE IF EXISTS etl; CREATE ROLE etl LOGIN;"
                      "GRANT pg_read_all_stats TO etl; GRANT SELECT ON items TO etl"));
    cluster_ =
        std::make_unique<Cluster>(Cluster::Options{.store = server_->NewDatabase(), .coordinators = coordinators});
    cluster_->Apply(absl::Substitute(R"(
connections:
  shop: { dsn: "postgresql://etl@127.0.0.1:$0/$1", max_connections: $2, max_rows_per_second: $3 }
  warehouse: { dsn: "$4" }
jobs:
  items:
    source: { connection: shop, table: public.items, watermark: updated_at, $6 }
    target: { connection: warehouse, table: public.items, strategy: $5, key: [id] }
)",
                                     server_->port(), database, kLimit, Rows() / 6, target_, strategy, partitions));
    sampler_ = std::make_unique<SessionSampler>(SessionSampler::Options{source_, "etl", "", ""});
  }

  // Waits until a worker is in the middle of a move, rows of it on their way, and returns its id.
  std::string MovingWorker(const std::string& run) {
    std::string worker;
    EXPECT_TRUE(Eventually([&] {
      const auto moves = Query(cluster_->store(), absl::StrCat("SELECT worker_id FROM etl_tasks WHERE run_id = '", run,
                                                               "' AND kind = 'move' AND state = 'leased' AND NOT "
                                                               "extracted ORDER BY id LIMIT 1"));
      if (!moves.empty()) worker = moves[0][0];
      return !moves.empty();
    }));
    return worker;
  }

  std::vector<int> BackendsOfRun() {
    std::vector<int> backends;
    for (const auto& row : Query(source_, "SELECT pid FROM pg_stat_activity WHERE usename = 'etl'")) {
      backends.push_back(std::stoi(row[0]));
    }
    return backends;
  }

  void ExpectSuccess(const std::string& run) {
    const nlohmann::json ended = cluster_->FinishRun(run);
    EXPECT_EQ(ended["status"], "success") << ended.dump(1) << cluster_->Output();
    EXPECT_EQ(Fingerprint(source_, "items", "id, payload, updated_at"),
              Fingerprint(target_, "items", "id, payload, updated_at"));
    EXPECT_EQ(DuplicateIds(target_, "items"), "0");
    EXPECT_EQ(LedgerViolations(target_, "public.items"), "");
    EXPECT_EQ(Scalar(target_, absl::StrCat("SELECT count(*) FROM tidemark.ledger WHERE run_id = '", run, "'")), "1");
  }

  void ExpectLimitHeld() {
    const std::vector<SessionSampler::Sample> samples = sampler_->Stop();
    EXPECT_LE(MostSessions(samples), kLimit);
    // It has looked while there was something to see.
    EXPECT_GE(MostSessions(samples), 1);
    RecordProperty("samples", absl::StrCat(samples.size()));
  }

  // Tasks of the run whose worker was lost: tried again, or, where the run's snapshot went with the worker, moves given
  // up for those of another describe. A run that waits for its horizon asks for it again and again.
  std::string LostTasks(const std::string& run) {
    return Scalar(
        cluster_->store(),
        absl::StrCat("SELECT coalesce(string_agg(id || ' ' || coalesce(error_msg, ''), ', '), '') FROM "
                     "etl_tasks WHERE run_id = '",
                     run, "' AND (attempt > 1 AND kind <> 'horizon' OR state = 'cancelled' AND kind = 'move')"));
  }

  // So that a run has all to read again.
  void TouchAll() { Exec(source_, "UPDATE items SET updated_at = clock_timestamp()"); }

  // Of its own: nothing else has sessions there.
  const std::unique_ptr<PostgresServer> server_ = PostgresServer::Start().value();
  const std::string source_ = server_->NewDatabase();
  const std::string target_ = server_->NewDatabase();
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<SessionSampler> sampler_;
};

class WorkerFaults : public ClusterFaults, public testing::WithParamInterface<const char*> {};

TEST_P(WorkerFaults, KilledInTheMiddleOfAMove) {
  Start(GetParam());
  for (int fault = 0; fault < Faults(); ++fault) {
    if (fault > 0) TouchAll();
    const std::string run = cluster_->StartRun("items");
    const std::string killed = MovingWorker(run);
    // Backends that are busy elsewhere for a while do not notice that their client is gone.
    const std::vector<int> backends = BackendsOfRun();
    for (const int backend : backends) kill(backend, SIGSTOP);
    cluster_->worker(killed).KillHard();
    absl::SleepFor(2 * kLease);
    const std::vector<int> after = sampler_->Next().backends;
    for (const int backend : backends) {
      EXPECT_THAT(after, testing::Contains(backend)) << "the dead worker's session is gone too early to tell";
      kill(backend, SIGCONT);
    }
    ExpectSuccess(run);
    EXPECT_NE(LostTasks(run), "") << "the kill hit no task";
    cluster_->StartWorker(std::stoi(killed.substr(1)));
  }
  ExpectLimitHeld();
}

TEST_P(WorkerFaults, StoppedForThreeLeasesAndContinued) {
  Start(GetParam());
  for (int fault = 0; fault < Faults(); ++fault) {
    if (fault > 0) TouchAll();
    const std::string run = cluster_->StartRun("items");
    Process& frozen = cluster_->worker(MovingWorker(run));
    frozen.Signal(SIGSTOP);
    absl::SleepFor(3 * kLease);
    frozen.Signal(SIGCONT);
    ExpectSuccess(run);
    EXPECT_NE(LostTasks(run), "") << "the stop hit no task";
    // It is of use again.
    EXPECT_TRUE(Eventually([&] {
      return nlohmann::json::parse(cluster_->Command({"status", "-o", "json"}).out)["workers"] == cluster_->workers();
    }));
  }
  ExpectLimitHeld();
}

TEST_P(WorkerFaults, DrainedInTheMiddleOfARun) {
  Start(GetParam());
  for (int fault = 0; fault < Faults(); ++fault) {
    if (fault > 0) TouchAll();
    const std::string run = cluster_->StartRun("items");
    const std::string leaving = MovingWorker(run);
    cluster_->worker(leaving).Signal(SIGTERM);
    const absl::StatusOr<int> exit_code = cluster_->worker(leaving).Wait(absl::Seconds(30));
    EXPECT_EQ(exit_code.value_or(-1), 0) << exit_code.status() << cluster_->worker(leaving).err();
    ExpectSuccess(run);
    EXPECT_EQ(LostTasks(run), "");
    cluster_->StartWorker(std::stoi(leaving.substr(1)));
  }
  ExpectLimitHeld();
}

INSTANTIATE_TEST_SUITE_P(Strategies, WorkerFaults, testing::Values("full", "upsert"));

// Workers close their sessions while no coordinator is heard of. A run whose partitions need no common snapshot, one of
// what has changed since the last, loses nothing of what was done by that.
class CoordinatorFaults : public ClusterFaults {
 protected:
  std::string ByKey() const { return absl::StrCat("partition: { by: id, rows: ", Rows() / 6, " }"); }

  // The id of a run that reads everything once more, as changed.
  std::string StartSecondRun() {
    EXPECT_EQ(cluster_->FinishRun(cluster_->StartRun("items"))["status"], "success");
    TouchAll();
    return cluster_->StartRun("items");
  }
  std::string DoneMoves(const std::string& run) {
    return Scalar(cluster_->store(), absl::StrCat("SELECT coalesce(string_agg(id || ' ' || attempt, ', ' ORDER BY id), "
                                                  "'') FROM etl_tasks WHERE run_id = '",
                                                  run, "' AND kind = 'move' AND state = 'succeeded'"));
  }
  // Waits until some moves are done and others are not, and returns those that are.
  std::string AwaitSomeMoves(const std::string& run) {
    EXPECT_TRUE(Eventually([&] { return DoneMoves(run) != ""; }));
    EXPECT_EQ(Scalar(cluster_->store(), absl::StrCat("SELECT phase FROM etl_runs WHERE id = '", run, "'")), "moving")
        << "too late to be in the middle";
    return DoneMoves(run);
  }
  void ExpectGoneOn(const std::string& run, const std::string& done) {
    ExpectSuccess(run);
    EXPECT_THAT(DoneMoves(run), HasSubstr(done));
    EXPECT_EQ(
        Scalar(cluster_->store(),
               absl::StrCat("SELECT count(*) FROM etl_tasks WHERE kind = 'move' AND state = 'cancelled' AND run_id = '",
                            run, "'")),
        "0");
    ExpectLimitHeld();
  }
};

TEST_F(CoordinatorFaults, KilledAndStartedAnewItGoesOn) {
  Start("upsert", ByKey());
  const std::string run = StartSecondRun();
  const std::string done = AwaitSomeMoves(run);
  cluster_->coordinator().KillHard();
  cluster_->StartCoordinator(0);
  cluster_->AwaitLeader(0);
  ExpectGoneOn(run, done);
}

TEST_F(CoordinatorFaults, AStandbyTakesOver) {
  Start("upsert", ByKey(), /*coordinators=*/2);
  cluster_->StartCoordinator(1);
  Process& standby = cluster_->coordinator(1);
  ASSERT_EQ(standby.WaitForOutput("the store is led by", kClusterPatience), absl::OkStatus());
  const std::string run = StartSecondRun();
  const std::string done = AwaitSomeMoves(run);
  EXPECT_EQ(standby.out(), "");
  const std::string said = standby.err();
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
  cluster_->coordinator(0).KillHard();
  cluster_->AwaitLeader(1);
  EXPECT_EQ(standby.WaitForOutput("in epoch 2", kClusterPatience), absl::OkStatus());
  const absl::Time leads = absl::Now();
  EXPECT_TRUE(Eventually([&] {
    return nlohmann::json::parse(cluster_->Command({"status", "-o", "json"}).out)["workers"] == cluster_->workers();
  }));
  EXPECT_LT(absl::Now() - leads, 2 * kLease) << "the workers were slow to find the new leader" << cluster_->Output();
  ExpectGoneOn(run, done);
}

TEST_F(CoordinatorFaults, ARowInTriggersStartsARun) {
  Start("full");
  const absl::Time inserted = absl::Now();
  Exec(cluster_->store(), "INSERT INTO etl_triggers (job_name) VALUES ('items')");
  ASSERT_TRUE(Eventually([&] { return Scalar(cluster_->store(), "SELECT count(*) FROM etl_runs") == "1"; }));
  // Far less than the half minute after which it would look anyway.
  EXPECT_LT(absl::Now() - inserted, absl::Seconds(10));
  ExpectSuccess(Scalar(cluster_->store(), "SELECT id FROM etl_runs"));
  EXPECT_EQ(Scalar(cluster_->store(), "SELECT count(*) FROM etl_triggers"), "0");
  ExpectLimitHeld();
}

}  // namespace
}  // namespace tidemark::test
