// `tidemark run` from SQLite to SQLite, as scripts see it.
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/project.h"
#include "tests/integration/sqlite_file.h"

namespace tidemark::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr char kRows[] =
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) "
    "INSERT INTO items (id, name, price, updated_at) "
    "SELECT i, 'item ' || i, printf('%d.%02d', i % 90, i % 100), strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-' || (1000 - "
    "i) || ' minutes') "
    "FROM n";

// A source of 500 items, and one job that moves them with the given strategy.
class SqliteLine {
 public:
  explicit SqliteLine(const std::string& strategy, const std::string& more_source = "")
      : project_(absl::StrCat(R"(connections:
  shop: { dsn: "sqlite:shop.db" }
  warehouse: { dsn: "sqlite:warehouse.db" }
jobs:
  items:
    source: { connection: shop, table: items)",
                              more_source, R"( }
    target: { connection: warehouse, table: items, )",
                              strategy, " }\n")) {
    SqliteExec(
        shop(),
        "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, price DECIMAL(10,2), updated_at TIMESTAMPTZ NOT NULL);"
        "CREATE INDEX items_updated_at ON items (updated_at)");
    SqliteExec(shop(), kRows);
  }

  Project& project() { return project_; }
  std::string shop() const { return project_.directory() + "/shop.db"; }
  std::string warehouse() const { return project_.directory() + "/warehouse.db"; }
  void Change(const std::string& sql) { SqliteExec(shop(), sql); }

  std::vector<std::vector<std::string>> SourceRows() const { return SqliteQuery(shop(), kAll); }
  std::vector<std::vector<std::string>> TargetRows() const { return SqliteQuery(warehouse(), kAll); }

 private:
  // By value: the target spells instants and decimals in its own way.
  static constexpr char kAll[] =
      "SELECT id, name, CAST(price AS REAL), strftime('%Y-%m-%dT%H:%M:%fZ', updated_at) FROM items ORDER BY 1, 4";
  Project project_;
};

constexpr char kNow[] = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";

TEST(CliRunTest, FullReplacesTheTarget) {
  SqliteLine line("strategy: full", ", partitions: 4");
  const RunOutcome first = line.project().Run();
  ASSERT_EQ(first.exit_code, 0) << first.err;
  std::vector<std::string> fields;
  for (const auto& [name, value] : first.job().items()) fields.push_back(name);
  EXPECT_THAT(fields, ::testing::UnorderedElementsAre("job", "run_id", "status", "phase", "rows_read", "rows_loaded",
                                                      "rows_filtered", "rows_quarantined", "partitions",
                                                      "watermark_low", "watermark_high", "completeness", "bytes_read",
                                                      "duration_seconds", "peak_source_connections", "error"));
  EXPECT_EQ(first.job()["status"], "success");
  EXPECT_EQ(first.job()["rows_loaded"], 500);
  EXPECT_GE(first.job()["partitions"], 4);
  EXPECT_GT(first.job()["bytes_read"], 0);
  EXPECT_GE(first.job()["peak_source_connections"], 1);
  EXPECT_EQ(first.job()["error"], nullptr);
  EXPECT_TRUE(Balances(first.job()));
  EXPECT_EQ(line.TargetRows(), line.SourceRows());

  line.Change("DELETE FROM items WHERE id <= 100; UPDATE items SET name = 'new' WHERE id = 200");
  const RunOutcome second = line.project().Run();
  ASSERT_EQ(second.exit_code, 0) << second.err;
  EXPECT_EQ(second.job()["rows_loaded"], 400);
  EXPECT_EQ(line.TargetRows(), line.SourceRows());
}

TEST(CliRunTest, IncrementalAppendsOnce) {
  SqliteLine line("strategy: incremental", ", watermark: updated_at");
  const RunOutcome first = line.project().Run();
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(first.job()["rows_loaded"], 500);
  EXPECT_EQ(first.job()["watermark_low"], nullptr);
  EXPECT_EQ(first.job()["completeness"], "proved");

  line.Change(absl::StrCat("INSERT INTO items VALUES (501, 'late', '1.10', ", kNow, ")"));
  const RunOutcome second = line.project().Run();
  ASSERT_EQ(second.exit_code, 0) << second.err;
  EXPECT_EQ(second.job()["rows_read"], 1);
  EXPECT_EQ(second.job()["rows_loaded"], 1);
  EXPECT_EQ(second.job()["watermark_low"], first.job()["watermark_high"]);
  EXPECT_EQ(line.TargetRows(), line.SourceRows());

  const RunOutcome third = line.project().Run();
  ASSERT_EQ(third.exit_code, 0) << third.err;
  EXPECT_EQ(third.job()["status"], "success");
  EXPECT_EQ(third.job()["rows_read"], 0);
  EXPECT_EQ(line.TargetRows(), line.SourceRows());
}

TEST(CliRunTest, UpsertMovesWhatChanged) {
  SqliteLine line("strategy: upsert, key: [id]", ", watermark: updated_at");
  const RunOutcome first = line.project().Run();
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(line.TargetRows(), line.SourceRows());

  line.Change(absl::StrCat("UPDATE items SET name = 'changed', updated_at = ", kNow, " WHERE id <= 50"));
  const RunOutcome second = line.project().Run({"--workers", "2"});
  ASSERT_EQ(second.exit_code, 0) << second.err;
  EXPECT_EQ(second.job()["rows_read"], 50);
  EXPECT_EQ(second.job()["rows_loaded"], 50);
  EXPECT_TRUE(Balances(second.job()));
  EXPECT_EQ(line.TargetRows(), line.SourceRows());

  EXPECT_EQ(line.project().Run().job()["rows_read"], 0);
  EXPECT_EQ(SqliteScalar(line.warehouse(), "SELECT count(*) - count(DISTINCT run_id) FROM _tidemark_ledger"), "0");
}

TEST(CliRunTest, FullRefreshReplacesWhatUpsertKept) {
  SqliteLine line("strategy: upsert, key: [id]", ", watermark: updated_at");
  ASSERT_EQ(line.project().Run().exit_code, 0);
  line.Change("DELETE FROM items WHERE id <= 100");
  const RunOutcome upsert = line.project().Run();
  ASSERT_EQ(upsert.exit_code, 0) << upsert.err;
  EXPECT_THAT(line.TargetRows(), SizeIs(500));
  const RunOutcome refresh = line.project().Run({"--full-refresh"});
  ASSERT_EQ(refresh.exit_code, 0) << refresh.err;
  EXPECT_EQ(line.TargetRows(), line.SourceRows());
  // The chain goes on from the refresh.
  line.Change(absl::StrCat("UPDATE items SET name = 'again', updated_at = ", kNow, " WHERE id = 300"));
  const RunOutcome next = line.project().Run();
  ASSERT_EQ(next.exit_code, 0) << next.err;
  EXPECT_EQ(next.job()["rows_loaded"], 1);
  EXPECT_EQ(line.TargetRows(), line.SourceRows());
}

TEST(CliRunTest, BackfillReadsItsRangeAndLeavesTheWatermark) {
  SqliteLine line("strategy: upsert, key: [id]", ", watermark: updated_at");
  const RunOutcome first = line.project().Run();
  ASSERT_EQ(first.exit_code, 0) << first.err;
  SqliteExec(line.warehouse(), "DELETE FROM items WHERE id > 100 AND id <= 120");
  const std::string from = SqliteScalar(line.shop(), "SELECT updated_at FROM items WHERE id = 100");
  const std::string to = SqliteScalar(line.shop(), "SELECT updated_at FROM items WHERE id = 120");
  const RunOutcome backfill = line.project().Run({"--from", from, "--to", to});
  ASSERT_EQ(backfill.exit_code, 0) << backfill.err;
  EXPECT_EQ(backfill.job()["rows_read"], 20);
  EXPECT_EQ(line.TargetRows(), line.SourceRows());
  const RunOutcome next = line.project().Run();
  ASSERT_EQ(next.exit_code, 0) << next.err;
  EXPECT_EQ(next.job()["watermark_low"], first.job()["watermark_high"]);
}

TEST(CliRunTest, ARunThatFailsSaysWhy) {
  SqliteLine line("strategy: full");
  line.Change("DROP TABLE items");
  const RunOutcome outcome = line.project().Run();
  EXPECT_EQ(outcome.exit_code, 1) << outcome.err;
  EXPECT_EQ(outcome.job()["status"], "failed");
  EXPECT_THAT(outcome.job()["error"].get<std::string>(), HasSubstr("items"));
}

TEST(CliRunTest, AJobThatCannotGoOnHasItsObjectToo) {
  SqliteLine line("strategy: upsert, key: [id]", ", watermark: updated_at");
  ASSERT_EQ(line.project().Run().exit_code, 0);
  SqliteLine changed("strategy: upsert, key: [id]", ", watermark: id");
  const ProcessResult yaml = *RunProcess({"cat", changed.project().file()}, absl::Minutes(1));
  line.project().Write(yaml.out);
  const RunOutcome refused = line.project().Run();
  EXPECT_EQ(refused.exit_code, 1) << refused.err;
  EXPECT_EQ(refused.job()["job"], "items");
  EXPECT_EQ(refused.job()["run_id"], nullptr);
  EXPECT_EQ(refused.job()["status"], "failed");
  EXPECT_THAT(refused.job()["error"].get<std::string>(), HasSubstr("source.watermark was updated_at and is id"));
  EXPECT_TRUE(Balances(refused.job()));
}

TEST(CliRunTest, AConnectionsWorkerIsOfNoMatterInOneProcess) {
  Project project(R"(connections:
  shop: { dsn: "sqlite:shop.db", worker: vault-1 }
  warehouse: { dsn: "sqlite:warehouse.db", worker: vault-1 }
jobs:
  a: { source: { connection: shop, table: a }, target: { connection: warehouse, table: a, strategy: full } }
)");
  SqliteExec(project.directory() + "/shop.db", "CREATE TABLE a (x); INSERT INTO a VALUES (1)");
  std::unique_ptr<Process> run = project.Start();
  const absl::StatusOr<int> exit_code = run->Wait(absl::Minutes(1));
  ASSERT_TRUE(exit_code.ok()) << run->err();
  EXPECT_EQ(*exit_code, 0) << run->err();
}

TEST(CliRunTest, AllJobsOrTheNamedOnes) {
  Project project(R"(connections:
  shop: { dsn: "sqlite:shop.db" }
  warehouse: { dsn: "sqlite:warehouse.db" }
jobs:
  a: { source: { connection: shop, table: a }, target: { connection: warehouse, table: a, strategy: full } }
  b: { source: { connection: shop, table: b }, target: { connection: warehouse, table: b, strategy: full }, enabled: false }
  c: { source: { connection: shop, table: c }, target: { connection: warehouse, table: c, strategy: full } }
)");
  SqliteExec(project.directory() + "/shop.db",
             "CREATE TABLE a (x); INSERT INTO a VALUES (1); CREATE TABLE b (x); CREATE TABLE c (x)");
  const auto jobs = [](const RunOutcome& outcome) {
    std::vector<std::string> names;
    for (const auto& job : outcome.jobs) names.push_back(job["job"]);
    std::sort(names.begin(), names.end());
    return names;
  };
  const RunOutcome all = project.Run();
  EXPECT_EQ(all.exit_code, 0) << all.err;
  EXPECT_THAT(jobs(all), ElementsAre("a", "c"));
  EXPECT_THAT(all.err, HasSubstr("b: not enabled"));
  const RunOutcome named = project.Run({"b"});
  EXPECT_EQ(named.exit_code, 0) << named.err;
  EXPECT_THAT(jobs(named), ElementsAre("b"));
  const RunOutcome unknown = project.Run({"bb"});
  EXPECT_EQ(unknown.exit_code, 4);
  EXPECT_THAT(unknown.err, HasSubstr("did you mean \"b\"?"));
  EXPECT_THAT(unknown.jobs, IsEmpty());
}

TEST(CliRunTest, ABadFileExits2AndNothingRuns) {
  Project project("connections:\n  shop: { dsn: 'sqlite:shop.db' }\njobs:\n  a: { sorce: {} }\n");
  const RunOutcome outcome = project.Run();
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("tidemark.yaml:4:8: jobs.a.sorce: unknown key; did you mean \"source\"?"));
  EXPECT_THAT(outcome.err, HasSubstr("jobs.a.target: missing"));
  EXPECT_THAT(outcome.jobs, IsEmpty());
  EXPECT_EQ(RunProcess({TidemarkProgram(), "run", project.directory() + "/none.yaml"}, absl::Minutes(1))->exit_code, 2);
}

TEST(CliRunTest, NoPasswordLeaves) {
  // Nothing listens on port 1.
  Project project(R"(connections:
  shop: { dsn: "postgresql://me:canary77@127.0.0.1:1/shop" }
  warehouse: { dsn: "sqlite:warehouse.db" }
jobs:
  a:
    source: { connection: shop, table: a }
    target: { connection: warehouse, table: a, strategy: full }
    retry: { attempts: 1 }
)");
  const RunOutcome outcome = project.Run();
  EXPECT_EQ(outcome.exit_code, 1) << outcome.err;
  EXPECT_THAT(outcome.err, Not(HasSubstr("canary77")));
  EXPECT_THAT(outcome.job().dump(), Not(HasSubstr("canary77")));
  const ProcessResult grep =
      *RunProcess({"grep", "-r", "canary77", project.directory() + "/.tidemark"}, absl::Minutes(1));
  EXPECT_EQ(grep.exit_code, 1) << grep.out;

  const ProcessResult test =
      *RunProcess({TidemarkProgram(), "connections", "test", "--project", project.file()}, absl::Minutes(1));
  EXPECT_EQ(test.exit_code, 5);
  EXPECT_THAT(test.out, HasSubstr("postgresql://***@127.0.0.1:1/shop"));
  EXPECT_THAT(test.out + test.err, Not(HasSubstr("canary77")));
}

}  // namespace
}  // namespace tidemark::test
