// 48 writers commit late and out of order while an incremental and an upsert job run in a loop. TIDEMARK_TEST_SECONDS
// sets how long (the `long` tier: 60).
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "absl/strings/substitute.h"
#include "tests/integration/postgres_late_writers.h"
#include "tests/integration/postgres_oracle.h"
#include "tests/integration/project.h"
#include "tests/support/postgres_server.h"

namespace tidemark::test {
namespace {

constexpr char kColumns[] = "id, payload, updated_at";

std::chrono::seconds RaceTime() {
  const char* seconds = std::getenv("TIDEMARK_TEST_SECONDS");
  return std::chrono::seconds(seconds ? std::atoi(seconds) : 12);
}

// The writers' server: 48 of them, the job's sessions and the tests' own.
PostgresServer& Server() {
  static PostgresServer& server = *PostgresServer::Start({.settings = {"max_connections = 120"}}).value().release();
  return server;
}

std::string NewSource() {
  std::string dsn = Server().NewDatabase();
  Exec(dsn,
       "CREATE TABLE events (id bigint PRIMARY KEY, payload text, updated_at timestamptz NOT NULL);"
       "CREATE INDEX ON events (updated_at)");
  return dsn;
}

std::string EventsProject(const std::string& source, const std::string& target, const std::string& strategy) {
  return absl::Substitute(R"(
connections:
  shop: { dsn: "$0", max_connections: 3 }
  warehouse: { dsn: "$1" }
jobs:
  events:
    source: { connection: shop, table: public.events, watermark: updated_at, horizon_wait: 0s }
    target: { connection: warehouse, table: public.events, strategy: $2, key: [id] }
)",
                          source, target, strategy);
}

int64_t CountEvents(const std::string& dsn) { return std::stoll(Scalar(dsn, "SELECT count(*) FROM events")); }

struct RaceResult {
  std::string source, target, duplicates, ledger;
  int64_t commits = 0;
  int runs_with_rows = 0;
  int64_t lost = 0;
};

enum class Bound { kHorizon, kNaive };

// Loops the job while the writers write, then until it has seen everything. The naive bound is the one everybody writes
// first: each run moves the rows from the last bound up to the greatest stamp that can be seen.
RaceResult Race(const std::string& strategy, bool updates, Bound bound = Bound::kHorizon) {
  const std::string source = NewSource();
  const std::string target = Server().NewDatabase();
  Project project(EventsProject(source, target, strategy));
  RaceResult result;
  std::string last = "2000-01-01 00:00:00+00";
  auto run = [&] {
    std::vector<std::string> window;
    if (bound == Bound::kNaive) {
      const std::string seen = Scalar(source, "SELECT max(updated_at) FROM events");
      if (seen == "NULL" || seen == last) return;
      window = {"--from", last, "--to", seen};
      last = seen;
    }
    RunOutcome outcome = project.Run(window);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    if (outcome.exit_code != 0) return;
    EXPECT_TRUE(Balances(outcome.job()));
    result.runs_with_rows += outcome.job()["rows_read"] > 0;
  };
  {
    LateWriters writers({.dsn = source, .table = "events", .updates = updates});
    const auto end = std::chrono::steady_clock::now() + RaceTime();
    while (std::chrono::steady_clock::now() < end && !testing::Test::HasFailure()) run();
    writers.Stop();
    result.commits = writers.commits();
  }
  // The horizon stands a second behind the clock.
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  run();
  result.lost = CountEvents(source) - CountEvents(target);
  result.source = Fingerprint(source, "events", kColumns);
  result.target = Fingerprint(target, "events", kColumns);
  result.duplicates = DuplicateIds(target, "events");
  result.ledger = LedgerViolations(target, "public.events");
  testing::Test::RecordProperty("commits", std::to_string(result.commits));
  testing::Test::RecordProperty("runs_with_rows", result.runs_with_rows);
  testing::Test::RecordProperty("rows_lost", std::to_string(result.lost));
  return result;
}

TEST(LateCommitRace, IncrementalLosesNothing) {
  const RaceResult result = Race("incremental", /*updates=*/false);
  EXPECT_GT(result.commits, 200);
  EXPECT_GT(result.runs_with_rows, 2);
  EXPECT_EQ(result.target, result.source);
  EXPECT_EQ(result.duplicates, "0");
  EXPECT_EQ(result.ledger, "");
}

TEST(LateCommitRace, UpsertLosesNothing) {
  const RaceResult result = Race("upsert", /*updates=*/true);
  EXPECT_GT(result.commits, 200);
  EXPECT_GT(result.runs_with_rows, 2);
  EXPECT_EQ(result.target, result.source);
  EXPECT_EQ(result.duplicates, "0");
  EXPECT_EQ(result.ledger, "");
}

// The same race under the bound everybody writes first. It must lose rows, or the two tests above prove nothing.
TEST(LateCommitRace, TheNaiveBoundLosesRows) {
  const RaceResult result = Race("incremental", /*updates=*/false, Bound::kNaive);
  EXPECT_GT(result.lost, 0);
}

}  // namespace
}  // namespace tidemark::test
