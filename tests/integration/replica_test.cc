// Reads on a standby: nothing is lost whatever its replay does, it is left alone when it lags, and the primary serves
// rows only where that is allowed. TIDEMARK_TEST_SECONDS sets how long the race runs (the `long` tier: 60).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/substitute.h"
#include "tests/integration/postgres_late_writers.h"
#include "tests/integration/postgres_oracle.h"
#include "tests/integration/postgres_session_sampler.h"
#include "tests/integration/project.h"
#include "tests/support/postgres_server.h"

namespace tidemark::test {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr char kColumns[] = "id, payload, updated_at";
constexpr int kLimit = 2;

std::chrono::seconds RaceTime() {
  const char* seconds = std::getenv("TIDEMARK_TEST_SECONDS");
  return std::chrono::seconds(seconds ? std::atoi(seconds) : 12);
}

// Stops and resumes a standby's replay at random.
class ReplayStutter {
 public:
  explicit ReplayStutter(std::string standby) : thread_([this, standby = std::move(standby)] { Stutter(standby); }) {}
  ~ReplayStutter() {
    stop_ = true;
    thread_.join();
  }

 private:
  void Stutter(const std::string& standby) {
    std::mt19937 random(7);
    while (!stop_) {
      Exec(standby, "SELECT pg_wal_replay_pause()");
      std::this_thread::sleep_for(std::chrono::milliseconds(random() % 700));
      Exec(standby, "SELECT pg_wal_replay_resume()");
      std::this_thread::sleep_for(std::chrono::milliseconds(random() % 500));
    }
  }

  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

// A primary with a standby, which the tests of this program share.
class ReplicaTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    primary_ = PostgresServer::Start({.settings = {"max_connections = 120"}}).value().release();
    standby_ = PostgresServer::StartStandby(*primary_, {.settings = {"max_standby_streaming_delay = 200ms"}})
                   .value()
                   .release();
  }
  static void TearDownTestSuite() {
    delete standby_;
    delete primary_;
  }

  ReplicaTest() : source_(primary_->NewDatabase()), target_(primary_->NewDatabase()) {
    // A role of its own, so that its sessions can be counted.
    Exec(source_,
         "CREATE TABLE events (id bigint PRIMARY KEY, payload text, updated_at timestamptz NOT NULL);"
         "CREATE INDEX ON events (updated_at); DROP ROLE IF EXISTS etl; CREATE ROLE etl LOGIN;"
         "GRANT pg_read_all_stats TO etl; GRANT SELECT ON events TO etl");
    AwaitReplay();
  }
  ~ReplicaTest() override {
    Exec(standby_->Dsn(), "SELECT pg_wal_replay_resume()");
    Exec(source_, "DROP OWNED BY etl");
  }

  std::string Database() const { return source_.substr(source_.rfind('/') + 1); }
  std::string Replica() const { return standby_->Dsn(Database()); }

  void AwaitReplay() {
    const std::string position = Scalar(primary_->Dsn(), "SELECT pg_current_wal_insert_lsn()");
    for (int i = 0; i < 1000; ++i) {
      if (Scalar(standby_->Dsn(), absl::StrCat("SELECT pg_last_wal_replay_lsn() >= '", position, "'")) == "t") return;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    FAIL() << "the standby does not follow";
  }

  static std::string AsEtl(std::string dsn) { return absl::StrReplaceAll(dsn, {{"//postgres@", "//etl@"}}); }

  // `extra` stands in the source's connection.
  std::string EventsProject(const std::string& strategy, const std::string& extra = "", const std::string& source = "",
                            const std::string& wait = "0s") {
    return absl::Substitute(R"(
connections:
  shop: { dsn: "$0", max_connections: $5, replicas: ["$1"]$4 }
  warehouse: { dsn: "$2" }
jobs:
  events:
    source: { connection: shop, table: public.events, watermark: updated_at, horizon_wait: $7$6 }
    target: { connection: warehouse, table: public.events, strategy: $3, key: [id] }
    retry: { backoff: 50ms }
)",
                            AsEtl(source_), AsEtl(Replica()), target_, strategy, extra, kLimit, source, wait);
  }

  void AddRows(int from, int to) {
    Exec(source_, absl::StrCat("INSERT INTO events SELECT g, md5(g::text), clock_timestamp() - interval '1 min' FROM "
                               "generate_series(",
                               from, ", ", to, ") g"));
  }

  // What the last run says besides its counts.
  static std::string Notes(const Project& project) {
    const auto run =
        RunProcess({TidemarkProgram(), "runs", "get", "events@latest", "--project", project.file(), "-o", "json"},
                   absl::Seconds(60));
    return nlohmann::json::parse(run.value().out)["notes"].dump();
  }

  void ExpectEqual() {
    EXPECT_EQ(Fingerprint(target_, "events", kColumns), Fingerprint(source_, "events", kColumns));
    EXPECT_EQ(DuplicateIds(target_, "events"), "0");
    EXPECT_EQ(LedgerViolations(target_, "public.events"), "");
  }

  static PostgresServer* primary_;
  static PostgresServer* standby_;
  const std::string source_;
  const std::string target_;
};

PostgresServer* ReplicaTest::primary_ = nullptr;
PostgresServer* ReplicaTest::standby_ = nullptr;

class ReplicaRace : public ReplicaTest, public testing::WithParamInterface<const char*> {};

// As a role that sees every transaction's start, and as one that has to wait them out.
TEST_P(ReplicaRace, NothingIsLostWhateverTheReplayDoes) {
  const bool sees_activity = GetParam() == std::string("seeing");
  if (!sees_activity) Exec(source_, "REVOKE pg_read_all_stats FROM etl");
  Project project(EventsProject("incremental", "", "", sees_activity ? "0s" : "1s"));
  int runs_with_rows = 0;
  int proved = 0;
  int runs = 0;
  const auto run = [&] {
    RunOutcome outcome = project.Run({});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_TRUE(Balances(outcome.job()));
    ++runs;
    proved += outcome.job()["completeness"] == "proved";
    runs_with_rows += outcome.job()["rows_read"] > 0;
  };
  SessionSampler on_primary({source_, "etl", "", ""});
  SessionSampler on_standby({Replica(), "etl", "", ""});
  int64_t commits = 0;
  {
    ReplayStutter stutter(standby_->Dsn());
    LateWriters writers({.dsn = source_, .table = "events"});
    const auto end = std::chrono::steady_clock::now() + RaceTime();
    while (std::chrono::steady_clock::now() < end && !HasFailure()) run();
    writers.Stop();
    commits = writers.commits();
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  run();
  EXPECT_GT(commits, 200);
  EXPECT_GT(runs_with_rows, 2);
  ExpectEqual();
  EXPECT_EQ(proved, sees_activity ? runs : proved);
  EXPECT_LE(MostSessions(on_primary.Stop()), kLimit);
  const int most = MostSessions(on_standby.Stop());
  EXPECT_LE(most, kLimit);
  EXPECT_GE(most, 1) << "nothing was read there";
  RecordProperty("commits", std::to_string(commits));
  RecordProperty("runs_with_rows", runs_with_rows);
  RecordProperty("proved", proved);
}

INSTANTIATE_TEST_SUITE_P(Roles, ReplicaRace, testing::Values("seeing", "waiting"),
                         [](const testing::TestParamInfo<const char*>& role) { return std::string(role.param); });

TEST_F(ReplicaTest, AFullLoadReadsItsSnapshotThere) {
  AddRows(1, 20000);
  Project project(EventsProject("full", "", ", partitions: 4"));
  const RunOutcome outcome = project.Run({});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.job()["rows_read"], 20000);
  ExpectEqual();
  const std::string notes = Notes(project);
  EXPECT_THAT(notes, HasSubstr(absl::StrCat("replica postgresql://127.0.0.1:", standby_->port(), "/", Database())));
  EXPECT_THAT(notes, Not(HasSubstr("from primary")));
}

TEST_F(ReplicaTest, OneThatLagsIsLeftAlone) {
  AddRows(1, 100);
  AwaitReplay();
  Exec(standby_->Dsn(), "SELECT pg_wal_replay_pause()");
  AddRows(101, 200);
  Project project(EventsProject("upsert", ", max_lag: 200ms"));
  const RunOutcome refused = project.Run({});
  EXPECT_EQ(refused.exit_code, 1) << refused.err;
  EXPECT_THAT(refused.err, HasSubstr("within 200ms (max_lag)"));
  EXPECT_THAT(refused.err, HasSubstr("its replay is paused"));

  project.Write(EventsProject("upsert", ", max_lag: 200ms, fallback_to_primary: true"));
  const RunOutcome served = project.Run({});
  ASSERT_EQ(served.exit_code, 0) << served.err;
  EXPECT_EQ(served.job()["rows_read"], 200);
  EXPECT_THAT(Notes(project),
              HasSubstr(absl::StrCat("primary postgresql://127.0.0.1:", primary_->port(), "/", Database())));
  ExpectEqual();
}

TEST_F(ReplicaTest, OneOfAnotherPrimaryIsRefused) {
  AddRows(1, 10);
  const auto other = PostgresServer::Start().value();
  const std::string elsewhere = other->NewDatabase();
  Exec(elsewhere, "CREATE TABLE events (id bigint PRIMARY KEY, payload text, updated_at timestamptz NOT NULL)");
  std::string text = EventsProject("upsert", ", max_lag: 1s");
  text = absl::StrReplaceAll(text, {{AsEtl(Replica()), elsewhere}});
  Project project(text);
  const RunOutcome outcome = project.Run({});
  EXPECT_EQ(outcome.exit_code, 1) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("not one of the primary that was probed"));
}

// The standby cancels whoever holds its replay up.
TEST_F(ReplicaTest, ACancelledReaderIsTriedAgainByShorterStatementsAndThenElsewhere) {
  // More than the sockets hold, so that a reader that takes its time is still reading.
  Exec(source_,
       "INSERT INTO events SELECT g, repeat(md5(g::text), 40), clock_timestamp() - interval '1 min' FROM "
       "generate_series(1, 30000) g");
  Exec(source_, "VACUUM ANALYZE events");
  Project project(EventsProject("upsert", ", max_rows_per_second: 20000, fallback_to_primary: true",
                                ", partitions: 2, lookback: 1m"));
  std::atomic<bool> stop = false;
  std::thread vacuum([&] {
    // Dead rows of the table, removed at once: every reader of the standby is in the way.
    while (!stop) {
      Exec(source_, "UPDATE events SET payload = payload WHERE id % 97 = 0");
      Exec(source_, "VACUUM (FREEZE) events");
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
    }
  });
  // First windows read one snapshot; this one is like those that follow.
  const RunOutcome outcome = project.Run({"--from", "2000-01-01 00:00:00+00", "--to", "2100-01-01 00:00:00+00"});
  stop = true;
  vacuum.join();
  const int64_t conflicts =
      std::stoll(Scalar(Replica(), absl::StrCat("SELECT sum(confl_snapshot + confl_lock + confl_bufferpin + "
                                                "confl_deadlock) FROM pg_stat_database_conflicts WHERE "
                                                "datname = '",
                                                Database(), "'")));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  ExpectEqual();
  EXPECT_GE(conflicts, 1) << "no reader was cancelled";
  EXPECT_THAT(outcome.err, HasSubstr("conflict with recovery"));
}

}  // namespace
}  // namespace tidemark::test
