// A run killed with -9 at any moment and started again ends with an exact target and one ledger row per run.
// TIDEMARK_TEST_KILLS sets how many moments are tried for each strategy (the `long` tier: 40).
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/substitute.h"
#include "tests/integration/postgres_oracle.h"
#include "tests/integration/project.h"
#include "tests/support/postgres_server.h"

namespace tidemark::test {
namespace {

int Kills() {
  const char* kills = std::getenv("TIDEMARK_TEST_KILLS");
  return kills ? std::atoi(kills) : 6;
}

std::string KillProject(const std::string& source, const std::string& target, const std::string& strategy) {
  return absl::Substitute(R"(
connections:
  shop: { dsn: "$0", max_connections: 2 }
  warehouse: { dsn: "$1" }
jobs:
  lineitem:
    source: { connection: shop, table: public.lineitem, watermark: updated_at, partitions: 6, horizon_wait: 0s }
    target: { connection: warehouse, table: public.lineitem, strategy: $2, key: [id] }
)",
                          source, target, strategy);
}

class Kill : public testing::TestWithParam<const char*> {};

TEST_P(Kill, AtAnyMomentThenAgainIsExact) {
  PostgresServer& server = PostgresServer::Shared();
  const std::string source = server.NewDatabase();
  const std::string target = server.NewDatabase();
  CreateLineitem(source, 40'000);
  Project project(KillProject(source, target, GetParam()));
  const bool append = std::string_view(GetParam()) == "incremental";

  // How long an undisturbed run takes here, so that the moments fall inside it.
  const auto start = std::chrono::steady_clock::now();
  ASSERT_EQ(project.Run().exit_code, 0);
  const auto whole = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start);

  std::mt19937 random(7);
  for (int kill = 0; kill < Kills(); ++kill) {
    SCOPED_TRACE(absl::StrCat("kill ", kill));
    if (append) {
      Exec(source,
           absl::StrCat(
               "INSERT INTO lineitem SELECT id + ", (kill + 1) * 1'000'000,
               ", l_orderkey, l_partkey, l_suppkey, l_linenumber, l_quantity, l_extendedprice, l_discount, l_tax, "
               "l_returnflag, l_linestatus, l_shipdate, l_commitdate, l_receiptdate, l_shipinstruct, l_shipmode, "
               "l_comment, clock_timestamp() FROM lineitem WHERE id <= 20000"));
    } else {
      Exec(source, "UPDATE lineitem SET l_quantity = l_quantity + 1, updated_at = clock_timestamp() WHERE id % 2 = 0");
    }
    // Below the horizon, which stands a second behind the clock.
    std::this_thread::sleep_for(std::chrono::milliseconds(1100));
    auto process = project.Start();
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % (whole.count() + 50)));
    process->KillHard();

    RunOutcome again = project.Run();
    ASSERT_EQ(again.exit_code, 0) << again.err;
    EXPECT_EQ(Fingerprint(source, "lineitem", kLineitemColumns), Fingerprint(target, "lineitem", kLineitemColumns));
    EXPECT_EQ(DuplicateIds(target, "lineitem"), "0");
    EXPECT_EQ(LedgerViolations(target, "public.lineitem"), "");
  }
  RecordProperty("kills", Kills());
  EXPECT_EQ(Scalar(target, "SELECT count(*) - count(DISTINCT run_id) FROM tidemark.ledger"), "0");
  EXPECT_EQ(Scalar(target, "SELECT count(*) FROM pg_tables WHERE schemaname = 'tidemark' AND tablename LIKE 'stg%'"),
            "0");
}

INSTANTIATE_TEST_SUITE_P(Strategies, Kill, testing::Values("full", "incremental", "upsert"));

}  // namespace
}  // namespace tidemark::test
