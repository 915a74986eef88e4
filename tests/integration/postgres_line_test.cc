// The main job from PostgreSQL to PostgreSQL with the real program: full, upsert of what changed, nothing.
// TIDEMARK_TEST_ROWS sets the size of lineitem (the `long` tier runs 6,000,000).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/substitute.h"
#include "tests/integration/postgres_late_writers.h"
#include "tests/integration/postgres_oracle.h"
#include "tests/integration/project.h"
#include "tests/support/postgres_server.h"

namespace tidemark::test {
namespace {

int64_t Rows() {
  const char* rows = std::getenv("TIDEMARK_TEST_ROWS");
  return rows ? std::atoll(rows) : 60'000;
}

std::string LineitemProject(const std::string& source, const std::string& target, const std::string& strategy,
                            int max_connections) {
  return absl::Substitute(R"(
connections:
  shop: { dsn: "$0", max_connections: $3 }
  warehouse: { dsn: "$1" }
jobs:
  lineitem:
    source: { connection: shop, table: public.lineitem, watermark: updated_at, partitions: 8 }
    target: { connection: warehouse, table: public.lineitem, strategy: $2, key: [id] }
)",
                          source, target, strategy, max_connections);
}

std::string DatabaseOf(const std::string& dsn) { return dsn.substr(dsn.rfind('/') + 1); }

// What a user had built on the target table and finds again after every run.
void BuildDependents(const std::string& target) {
  Exec(target, R"(
    DROP ROLE IF EXISTS analyst;
    CREATE ROLE analyst;
    COMMENT ON TABLE lineitem IS 'one row per ordered line';
    COMMENT ON COLUMN lineitem.l_quantity IS 'pieces';
    CREATE INDEX lineitem_shipdate ON lineitem (l_shipdate);
    GRANT SELECT ON lineitem TO analyst;
    GRANT UPDATE (l_comment) ON lineitem TO analyst;
    CREATE VIEW shipped AS SELECT id, l_shipdate FROM lineitem WHERE l_shipdate IS NOT NULL)");
}

std::string Dependents(const std::string& target) {
  return absl::StrCat(
      Scalar(target, "SELECT obj_description('public.lineitem'::regclass)"), "|",
      Scalar(target, "SELECT col_description('public.lineitem'::regclass, 6)"), "|",
      Scalar(target, "SELECT string_agg(indexdef, ',' ORDER BY indexdef) FROM pg_indexes WHERE tablename = 'lineitem'"),
      "|",
      Scalar(target,
             "SELECT has_table_privilege('analyst', 'public.lineitem', 'SELECT') AND "
             "has_column_privilege('analyst', 'public.lineitem', 'l_comment', 'UPDATE')"),
      "|",
      Scalar(target, "SELECT count(*) FROM shipped") == Scalar(target, "SELECT count(*) FROM lineitem")
          ? "view sees the table"
          : "view sees another table");
}

TEST(PostgresLine, FullThenChangesThenNothing) {
  PostgresServer& server = PostgresServer::Shared();
  const std::string source = server.NewDatabase();
  const std::string target = server.NewDatabase();
  const int64_t rows = Rows();
  CreateLineitem(source, rows);

  // The first load makes the table; the second meets what users have built on it.
  Project project(LineitemProject(source, target, "full", 2));
  RunOutcome first = project.Run();
  ASSERT_EQ(first.exit_code, 0) << first.err;
  BuildDependents(target);
  const std::string dependents = Dependents(target);
  EXPECT_THAT(dependents, testing::HasSubstr("view sees the table"));

  ConnectionSampler sampler(source, DatabaseOf(source));
  RunOutcome full = project.Run();
  const int most = sampler.Stop();
  ASSERT_EQ(full.exit_code, 0) << full.err;
  EXPECT_EQ(full.job()["rows_read"], rows);
  EXPECT_EQ(full.job()["rows_loaded"], rows);
  EXPECT_GE(full.job()["partitions"], 8);
  EXPECT_TRUE(Balances(full.job()));
  EXPECT_GT(sampler.samples(), 3);
  EXPECT_GE(most, 1);
  EXPECT_LE(most, 2);
  EXPECT_LE(full.job()["peak_source_connections"], 2);
  RecordProperty("rows", std::to_string(rows));
  RecordProperty("partitions", full.job()["partitions"].dump());
  RecordProperty("most_connections_sampled", most);
  RecordProperty("connection_samples", sampler.samples());
  RecordProperty("full_seconds", full.job()["duration_seconds"].dump());
  EXPECT_EQ(full.job()["completeness"], "proved");
  EXPECT_EQ(Fingerprint(source, "lineitem", kLineitemColumns), Fingerprint(target, "lineitem", kLineitemColumns));
  EXPECT_EQ(Dependents(target), dependents);

  Exec(source,
       "UPDATE lineitem SET l_quantity = l_quantity + 1, l_comment = 'changed', updated_at = clock_timestamp() "
       "WHERE id % 10 = 0");
  project.Write(LineitemProject(source, target, "upsert", 2));
  RunOutcome changed = project.Run();
  ASSERT_EQ(changed.exit_code, 0) << changed.err;
  EXPECT_EQ(changed.job()["rows_read"], rows / 10);
  EXPECT_EQ(changed.job()["rows_loaded"], rows / 10);
  RecordProperty("upsert_seconds", changed.job()["duration_seconds"].dump());
  EXPECT_EQ(Fingerprint(source, "lineitem", kLineitemColumns), Fingerprint(target, "lineitem", kLineitemColumns));
  EXPECT_EQ(Dependents(target), dependents);

  RunOutcome nothing = project.Run();
  ASSERT_EQ(nothing.exit_code, 0) << nothing.err;
  EXPECT_EQ(nothing.job()["rows_read"], 0);
  EXPECT_EQ(nothing.job()["status"], "success");
  EXPECT_EQ(LedgerViolations(target, "public.lineitem"), "");
}

TEST(PostgresLine, OneConnectionIsEnoughForEveryStrategy) {
  PostgresServer& server = PostgresServer::Shared();
  const std::string source = server.NewDatabase();
  CreateLineitem(source, 20'000);
  for (const char* strategy : {"full", "incremental", "upsert"}) {
    SCOPED_TRACE(strategy);
    const std::string target = server.NewDatabase();
    Project project(LineitemProject(source, target, strategy, 1));
    ConnectionSampler sampler(source, DatabaseOf(source));
    for (int run = 0; run < 2; ++run) {
      RunOutcome outcome = project.Run();
      ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
      EXPECT_LE(outcome.job()["peak_source_connections"], 1);
      EXPECT_TRUE(Balances(outcome.job()));
      Exec(source, absl::StrCat("UPDATE lineitem SET updated_at = clock_timestamp() WHERE id <= 100"));
      if (std::string_view(strategy) == "incremental") break;  // An append job repeats changed rows by design.
    }
    EXPECT_LE(sampler.Stop(), 1);
    if (std::string_view(strategy) == "incremental") {
      EXPECT_EQ(Scalar(target, "SELECT count(*) FROM lineitem"), "20000");
    } else {
      EXPECT_EQ(Fingerprint(source, "lineitem WHERE id > 100", kLineitemColumns),
                Fingerprint(target, "lineitem WHERE id > 100", kLineitemColumns));
    }
  }
}

}  // namespace
}  // namespace tidemark::test
