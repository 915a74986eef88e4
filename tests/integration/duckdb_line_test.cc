// The main job from PostgreSQL to a DuckDB file with the real program: full, upsert of what changed, nothing; and
// killed with -9 at any moment, then again. TIDEMARK_TEST_ROWS sets the size of lineitem (the `long` tier runs
// 6,000,000), TIDEMARK_TEST_KILLS how many moments are tried for each strategy.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/substitute.h"
#include "tests/integration/duckdb_file.h"
#include "tests/integration/postgres_oracle.h"
#include "tests/integration/project.h"
#include "tests/support/postgres_server.h"

namespace tidemark::test {
namespace {

int64_t FromEnvironment(const char* name, int64_t otherwise) {
  const char* number = std::getenv(name);
  return number ? std::atoll(number) : otherwise;
}

std::string LineitemProject(const std::string& source, const std::string& strategy) {
  return absl::Substitute(R"(
connections:
  shop: { dsn: "$0", max_connections: 2 }
  warehouse: { dsn: "duckdb:warehouse.duckdb" }
jobs:
  lineitem:
    source: { connection: shop, table: public.lineitem, watermark: updated_at, partitions: 8, horizon_wait: 5s }
    target: { connection: warehouse, table: lineitem, strategy: $1, key: [id] }
)",
                          source, strategy);
}

// Of the file's rows, brought to the server by the two programs' own CSV: a way that shares no code with ours.
std::string TargetFingerprint(const Project& project, const std::string& server) {
  const std::string file = project.directory() + "/warehouse.duckdb";
  const std::string csv = project.directory() + "/lineitem.csv";
  DuckdbExec(file, absl::Substitute("COPY (SELECT $0 FROM lineitem) TO '$1' (FORMAT csv, HEADER false, FORCE_QUOTE *)",
                                    kLineitemColumns, csv));
  Exec(server, "DROP TABLE IF EXISTS arrived; CREATE TABLE arrived (LIKE lineitem)");
  const std::string copy = absl::Substitute(
      R"(psql -qX '$1' -c '\copy arrived ($2) FROM $0 (FORMAT csv, FORCE_NULL ($2))')", csv, server, kLineitemColumns);
  const ProcessResult result = *RunProcess({"sh", "-c", copy}, absl::Minutes(30));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return Fingerprint(server, "arrived", kLineitemColumns);
}

std::string SourceFingerprint(const std::string& source) { return Fingerprint(source, "lineitem", kLineitemColumns); }

// What a run leaves behind in the file beside the table and the ledger. Every run stands once in the ledger, and each
// window begins where the one before it ended.
void ExpectTidy(const Project& project) {
  const std::string file = project.directory() + "/warehouse.duckdb";
  EXPECT_EQ(DuckdbScalar(file, "SELECT count(*) FROM duckdb_tables() WHERE table_name LIKE 'stg%'"), "0");
  EXPECT_EQ(DuckdbScalar(file, "SELECT count(*) FROM tidemark.moves"), "0");
  EXPECT_EQ(DuckdbScalar(file, "SELECT count(*) - count(DISTINCT run_id) FROM tidemark.ledger"), "0");
  EXPECT_EQ(
      DuckdbScalar(file,
                   "SELECT count(*) FROM (SELECT kind, low_text, lag(high_text) OVER (ORDER BY number) AS last FROM "
                   "tidemark.ledger) WHERE kind = 'window' AND low_text IS DISTINCT FROM last"),
      "0");
}

TEST(DuckdbLine, FullThenChangesThenNothing) {
  const std::string source = PostgresServer::Shared().NewDatabase();
  const int64_t rows = FromEnvironment("TIDEMARK_TEST_ROWS", 60'000);
  CreateLineitem(source, rows);
  Project project(LineitemProject(source, "full"));
  const std::string file = project.directory() + "/warehouse.duckdb";

  RunOutcome full = project.Run();
  ASSERT_EQ(full.exit_code, 0) << full.err;
  EXPECT_EQ(full.job()["rows_read"], rows);
  EXPECT_EQ(full.job()["rows_loaded"], rows);
  RecordProperty("rows", std::to_string(rows));
  RecordProperty("full_seconds", full.job()["duration_seconds"].dump());
  EXPECT_EQ(TargetFingerprint(project, source), SourceFingerprint(source));

  // The second meets what users have built on the table.
  DuckdbExec(file, "CREATE VIEW shipped AS SELECT id, l_shipdate FROM lineitem WHERE l_shipdate IS NOT NULL");
  DuckdbExec(file, "CREATE INDEX lineitem_shipdate ON lineitem (l_shipdate)");
  DuckdbExec(file, "COMMENT ON TABLE lineitem IS 'one row per ordered line'");
  Exec(source, "DELETE FROM lineitem WHERE id = 7");
  RunOutcome again = project.Run();
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(TargetFingerprint(project, source), SourceFingerprint(source));
  EXPECT_EQ(DuckdbScalar(file, "SELECT (SELECT count(*) FROM shipped) = (SELECT count(*) FROM lineitem)"), "true");
  EXPECT_EQ(DuckdbScalar(file, "SELECT index_name FROM duckdb_indexes()"), "lineitem_shipdate");
  EXPECT_EQ(DuckdbScalar(file, "SELECT comment FROM duckdb_tables() WHERE table_name = 'lineitem'"),
            "one row per ordered line");

  Exec(source,
       "UPDATE lineitem SET l_quantity = l_quantity + 1, l_comment = 'changed', updated_at = clock_timestamp() "
       "WHERE id % 10 = 0");
  project.Write(LineitemProject(source, "upsert"));
  RunOutcome changed = project.Run();
  ASSERT_EQ(changed.exit_code, 0) << changed.err;
  EXPECT_EQ(changed.job()["rows_read"], rows / 10);
  EXPECT_EQ(changed.job()["rows_loaded"], rows / 10);
  RecordProperty("upsert_seconds", changed.job()["duration_seconds"].dump());
  EXPECT_EQ(TargetFingerprint(project, source), SourceFingerprint(source));

  RunOutcome nothing = project.Run();
  ASSERT_EQ(nothing.exit_code, 0) << nothing.err;
  EXPECT_EQ(nothing.job()["rows_read"], 0);
  EXPECT_EQ(nothing.job()["status"], "success");
  ExpectTidy(project);
}

class DuckdbKill : public testing::TestWithParam<const char*> {};

TEST_P(DuckdbKill, AtAnyMomentThenAgainIsExact) {
  const std::string source = PostgresServer::Shared().NewDatabase();
  CreateLineitem(source, 40'000);
  Project project(LineitemProject(source, GetParam()));
  const bool append = std::string_view(GetParam()) == "incremental";

  // How long an undisturbed run takes here, so that the moments fall inside it.
  const auto start = std::chrono::steady_clock::now();
  ASSERT_EQ(project.Run().exit_code, 0);
  const auto whole = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start);

  std::mt19937 random(11);
  const int64_t kills = FromEnvironment("TIDEMARK_TEST_KILLS", 4);
  for (int kill = 0; kill < kills; ++kill) {
    SCOPED_TRACE(absl::StrCat("kill ", kill));
    Exec(source,
         append ? absl::StrCat(
                      "INSERT INTO lineitem SELECT id + ", (kill + 1) * 1'000'000,
                      ", l_orderkey, l_partkey, l_suppkey, l_linenumber, l_quantity, l_extendedprice, l_discount, "
                      "l_tax, l_returnflag, l_linestatus, l_shipdate, l_commitdate, l_receiptdate, l_shipinstruct, "
                      "l_shipmode, l_comment, clock_timestamp() FROM lineitem WHERE id <= 20000")
                : "UPDATE lineitem SET l_quantity = l_quantity + 1, updated_at = clock_timestamp() WHERE id % 2 = 0");
    auto process = project.Start();
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % (whole.count() + 50)));
    process->KillHard();

    RunOutcome again = project.Run();
    ASSERT_EQ(again.exit_code, 0) << again.err;
    EXPECT_EQ(TargetFingerprint(project, source), SourceFingerprint(source));
    ExpectTidy(project);
  }
  RecordProperty("kills", std::to_string(kills));
}

INSTANTIATE_TEST_SUITE_P(Strategies, DuckdbKill, testing::Values("full", "incremental", "upsert"));

}  // namespace
}  // namespace tidemark::test
