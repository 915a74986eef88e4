// The commands around `run`: init, plan, validate, runs, connections, migrate, schema, version.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/integration/duckdb_file.h"
#include "tests/integration/project.h"
#include "tests/integration/sqlite_file.h"
#include "tests/support/postgres_server.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace tidemark::test {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

ProcessResult Tidemark(std::vector<std::string> words, const ProcessOptions& options = {}) {
  words.insert(words.begin(), TidemarkProgram());
  return *RunProcess(words, absl::Minutes(2), options);
}

std::vector<json> Lines(const std::string& text) {
  std::vector<json> objects;
  for (const auto line : absl::StrSplit(text, '\n', absl::SkipEmpty()))
    objects.push_back(json::parse(line.begin(), line.end()));
  return objects;
}

// The sample project, made once for all tests that only read or run it.
class SampleTest : public ::testing::Test {
 protected:
  SampleTest() {
    const ProcessResult init = Tidemark({"init", directory_.path()});
    EXPECT_EQ(init.exit_code, 0) << init.err;
    EXPECT_THAT(init.out, HasSubstr("next: tidemark run "));
  }
  std::string file() const { return directory_.File("tidemark.yaml"); }
  ProcessResult Command(std::vector<std::string> words) {
    ProcessOptions options;
    options.working_directory = directory_.path();
    return Tidemark(words, options);
  }
  // A command on what is beside the project file.
  ProcessResult State(std::vector<std::string> words) {
    words.insert(words.end(), {"--project", "tidemark.yaml"});
    return Command(words);
  }

  TempDir directory_;
};

TEST_F(SampleTest, RunsMovesTheChangesAndThenNothing) {
  const ProcessResult first = Tidemark({"run", file()});
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_THAT(first.out, HasSubstr("read 1,000 = loaded 1,000 + filtered 0 + quarantined 0\n"));
  EXPECT_THAT(first.out, HasSubstr("read 4,000 = loaded 4,000 + filtered 0 + quarantined 0\n"));
  EXPECT_THAT(first.out, HasSubstr("completeness proved\n"));
  EXPECT_THAT(first.out, Not(HasSubstr("\x1b[")));
  SqliteExec(directory_.File("shop.db"), "UPDATE orders SET status = 'shipped' WHERE id <= 30");
  const ProcessResult second = Tidemark({"run", file(), "orders"});
  ASSERT_EQ(second.exit_code, 0) << second.err;
  EXPECT_THAT(second.out, HasSubstr("read 30 = loaded 30 + filtered 0 + quarantined 0\n"));
  const ProcessResult third = Tidemark({"run", file(), "orders", "-o", "json"});
  ASSERT_EQ(third.exit_code, 0) << third.err;
  EXPECT_EQ(json::parse(third.out)["rows_read"], 0);
  // By value: the two spell instants and decimals in their own ways.
  const auto of_shop = SqliteQuery(directory_.File("shop.db"),
                                   "SELECT id, customer_id, status, printf('%.2f', amount), strftime('%Y-%m-%d "
                                   "%H:%M:%f', placed_at), strftime('%Y-%m-%d %H:%M:%f', updated_at) FROM orders "
                                   "ORDER BY id");
  const auto of_warehouse =
      DuckdbQuery(directory_.File("warehouse.duckdb"),
                  "SELECT id, customer_id, status, amount, strftime(placed_at AT TIME ZONE 'UTC', '%Y-%m-%d "
                  "%H:%M:%S.%g'), strftime(updated_at AT TIME ZONE 'UTC', '%Y-%m-%d %H:%M:%S.%g') FROM orders "
                  "ORDER BY id");
  EXPECT_EQ(of_warehouse, of_shop);
}

TEST_F(SampleTest, InitNeverOverwrites) {
  const ProcessResult again = Tidemark({"init", directory_.path()});
  EXPECT_EQ(again.exit_code, 2);
  EXPECT_THAT(again.err, HasSubstr("is there already"));
}

TEST_F(SampleTest, PlanChangesNothing) {
  const ProcessResult plan = Tidemark({"plan", file(), "-o", "ndjson"});
  ASSERT_EQ(plan.exit_code, 0) << plan.err;
  const std::vector<json> jobs = Lines(plan.out);
  ASSERT_THAT(jobs, SizeIs(2));
  const json& orders = jobs[1];
  EXPECT_EQ(orders["job"], "orders");
  EXPECT_EQ(orders["watermark_low"], nullptr);
  EXPECT_TRUE(orders["watermark_high"].is_string());
  EXPECT_EQ(orders["completeness"], "proved");
  EXPECT_GE(orders["partitions"].size(), 1u);
  EXPECT_EQ(orders["format"], "arrow");
  ASSERT_EQ(orders["next_fire_times"].size(), 5u);
  EXPECT_THAT(orders["next_fire_times"][0].get<std::string>(), ::testing::MatchesRegex("....-..-..T..:30:00Z"));
  EXPECT_EQ(jobs[0]["next_fire_times"].size(), 0u);
  EXPECT_THAT(State({"runs", "list"}).err, HasSubstr("no runs yet"));
  EXPECT_NE(RunProcess({"test", "-e", directory_.File("warehouse.duckdb")}, absl::Minutes(1))->exit_code, 0);

  const ProcessResult text = Tidemark({"plan", file(), "orders"});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("next fire times (Europe/Paris; UTC)"));
  EXPECT_THAT(text.out, HasSubstr("hard deletes"));
  EXPECT_EQ(Tidemark({"plan", file(), "nope"}).exit_code, 4);
}

TEST(CliPlanTest, ASourceThatCannotBeReachedExits5) {
  // Nothing listens on port 1.
  TempDir directory;
  const std::string file = directory.Write("tidemark.yaml", R"(connections:
  shop: { dsn: "postgresql://me@127.0.0.1:1/shop" }
  warehouse: { dsn: "sqlite:warehouse.db" }
jobs:
  a:
    source: { connection: shop, table: a }
    target: { connection: warehouse, table: a, strategy: full }
    retry: { attempts: 1 }
)");
  const ProcessResult plan = Tidemark({"plan", file});
  EXPECT_EQ(plan.exit_code, 5) << plan.err;
  EXPECT_THAT(plan.err, HasSubstr("a: "));
}

TEST_F(SampleTest, RunsAreListedAndShown) {
  EXPECT_EQ(State({"runs", "list", "-o", "json"}).out, "[]\n");
  EXPECT_EQ(State({"runs", "get", "orders@latest"}).exit_code, 4);
  ASSERT_EQ(Tidemark({"run", file(), "orders"}).exit_code, 0);
  const ProcessResult second = Tidemark({"run", file(), "orders", "-o", "json"});
  const std::string id = json::parse(second.out)["run_id"];
  const json list = json::parse(State({"runs", "list", "-o", "json"}).out);
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0]["run_id"], id);
  EXPECT_EQ(json::parse(State({"runs", "list", "--limit", "1", "-o", "json"}).out).size(), 1u);
  const ProcessResult customers = State({"runs", "list", "customers", "-o", "json"});
  EXPECT_EQ(json::parse(customers.out).size(), 0u);
  EXPECT_THAT(customers.err, HasSubstr("no runs of the job \"customers\" yet"));
  EXPECT_EQ(json::parse(State({"runs", "get", "orders@latest", "-o", "json"}).out)["run_id"], id);
  EXPECT_THAT(State({"runs", "get", id}).out, HasSubstr("orders: success"));
  EXPECT_THAT(State({"runs", "get", id, "-o", "yaml"}).out, HasSubstr(absl::StrCat("run_id: \"", id, "\"\n")));
  EXPECT_EQ(State({"runs", "get", "nope"}).exit_code, 4);
  EXPECT_THAT(State({"runs", "list"}).out, HasSubstr("RUN "));
  EXPECT_EQ(Tidemark({"runs", "list", "--project", directory_.File("none.yaml")}).exit_code, 2);
}

TEST_F(SampleTest, WithoutAProjectFileRunsAreThoseOfAServer) {
  ASSERT_EQ(Tidemark({"run", file(), "orders"}).exit_code, 0);
  // Nothing listens on port 1.
  const ProcessResult list = Command({"runs", "list", "--server", "127.0.0.1:1"});
  EXPECT_EQ(list.exit_code, 5);
  EXPECT_THAT(list.err, HasSubstr("127.0.0.1:1: "));
  EXPECT_THAT(list.err, HasSubstr("Try --project tidemark.yaml"));
}

TEST_F(SampleTest, RunsAreListedByStatus) {
  ASSERT_EQ(Tidemark({"run", file(), "orders"}).exit_code, 0);
  EXPECT_EQ(json::parse(State({"runs", "list", "--status", "success", "-o", "json"}).out).size(), 1u);
  EXPECT_EQ(json::parse(State({"runs", "list", "--job", "orders", "--status", "failed", "-o", "json"}).out).size(), 0u);
}

TEST_F(SampleTest, ConnectionsAreTested) {
  const ProcessResult test = State({"connections", "test", "shop", "-o", "json"});
  EXPECT_EQ(test.exit_code, 0) << test.err;
  const json list = json::parse(test.out);
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0]["ok"], true);
  EXPECT_THAT(list[0]["server"].get<std::string>(), HasSubstr("SQLite"));
  EXPECT_EQ(State({"connections", "test", "nope"}).exit_code, 4);
}

TEST_F(SampleTest, Validate) {
  const ProcessResult valid = Tidemark({"validate", file()});
  EXPECT_EQ(valid.exit_code, 0);
  EXPECT_THAT(valid.out, HasSubstr("valid, 2 connections, 2 jobs"));
  const std::string bad = directory_.Write("bad.yaml", "connections: { a: { dsn: 'x' } }\njobs: { b: {} }\n");
  const ProcessResult invalid = Tidemark({"validate", bad, "-o", "json"});
  EXPECT_EQ(invalid.exit_code, 2);
  const json result = json::parse(invalid.out);
  EXPECT_EQ(result["valid"], false);
  EXPECT_EQ(result["errors"].size(), 3u);
  EXPECT_THAT(invalid.err, HasSubstr("bad.yaml:1:26: connections.a.dsn: a DSN starts with its scheme"));
  EXPECT_THAT(
      Tidemark({"validate", directory_.Write("scheme.yaml", "connections: { a: { dsn: 'ftp:x' } }\njobs: {}\n")}).err,
      HasSubstr("scheme.yaml:1:26: connections.a.dsn: the DSN's scheme is not one of"));
}

TEST(CliTest, VersionSchemaAndUsage) {
  EXPECT_THAT(Tidemark({"version"}).out, ::testing::MatchesRegex("tidemark [0-9]+\\.[0-9]+\\.[0-9]+\n"));
  EXPECT_EQ(json::parse(Tidemark({"schema"}).out)["title"], "Tidemark project file");
  const ProcessResult help = Tidemark({"--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.out, HasSubstr("Examples:"));
  EXPECT_THAT(help.err, IsEmpty());
  const ProcessResult usage = Tidemark({"fly"});
  EXPECT_EQ(usage.exit_code, 2);
  EXPECT_THAT(usage.out, IsEmpty());
}

TEST(CliTest, MigrateSaysWhatItDid) {
  TempDir directory;
  ProcessOptions environment;
  environment.environment["TIDEMARK_STORE"] = "sqlite:" + directory.File("state.db");
  for (const std::string& store : {PostgresServer::Shared().NewDatabase(), std::string()}) {
    std::vector<std::string> words = {"migrate", "-o", "ndjson"};
    if (!store.empty()) words.insert(words.end(), {"--store", store});
    const ProcessResult first = Tidemark(words, environment);
    ASSERT_EQ(first.exit_code, 0) << first.err;
    const std::vector<json> steps = Lines(first.out);
    ASSERT_THAT(steps, Not(IsEmpty()));
    EXPECT_EQ(steps.front()["migration"], 1);
    EXPECT_EQ(steps.front()["name"], "jobs, runs, tasks, permits");
    const ProcessResult second = Tidemark(words, environment);
    ASSERT_EQ(second.exit_code, 0) << second.err;
    EXPECT_THAT(Lines(second.out), IsEmpty());
    EXPECT_THAT(second.err, HasSubstr("up to date"));
  }
  const ProcessResult unreachable = Tidemark({"migrate", "--store", "postgresql://u:canary9@127.0.0.1:1/d"});
  EXPECT_EQ(unreachable.exit_code, 5);
  EXPECT_THAT(unreachable.err, Not(HasSubstr("canary9")));
  EXPECT_EQ(Tidemark({"migrate"}).exit_code, 2);
}

TEST_F(SampleTest, OutputThatCannotBeWrittenIsNotSuccess) {
  const std::string tidemark = absl::StrCat("'", TidemarkProgram(), "'");
  const auto shell = [&](const std::string& script) { return *RunProcess({"bash", "-c", script}, absl::Minutes(2)); };
  for (const char* out : {">/dev/full", ">&-"}) {
    const ProcessResult lost = shell(absl::StrCat(tidemark, " runs list --project '", file(), "' -o json ", out));
    EXPECT_EQ(lost.exit_code, 1) << out;
    EXPECT_THAT(lost.err, HasSubstr("the output could not be written"));
  }
  // A reader that goes away ends no run.
  const ProcessResult left =
      shell(absl::StrCat("set -o pipefail; ", tidemark, " run '", file(), "' -o json | true; echo ${PIPESTATUS[0]}"));
  EXPECT_EQ(left.out, "0\n") << left.err;
  EXPECT_EQ(State({"runs", "get", "orders@latest"}).exit_code, 0);
  EXPECT_EQ(State({"runs", "list", "nosuchjob"}).exit_code, 4);
  EXPECT_EQ(State({"runs", "get", "@latest"}).exit_code, 2);
}

TEST_F(SampleTest, ACommandThatIsNotThereIsNamed) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"fly", "x.yaml"}, {"fly", "--help"}, {"runs", "fly", "x"}}) {
    const ProcessResult refused = Command(words);
    EXPECT_EQ(refused.exit_code, 2);
    EXPECT_THAT(refused.err, HasSubstr("this version has no command `tidemark "));
  }
}

TEST_F(SampleTest, NamesInTheFileCannotCommandTheTerminal) {
  TempDir directory;
  directory.Write(
      "p.yaml",
      "connections: { a: { dsn: 'sqlite:a.db' }, b: { dsn: 'postgresql://u:canary9/x@h:1/d' } }\n"
      "jobs:\n  \"j\\e[31m\\nX\": { source: { connection: a, table: t }, target: { connection: a, table: u, "
      "strategy: full } }\n");
  const ProcessResult refused = Command({"validate", directory.File("p.yaml")});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, HasSubstr("jobs.j\\x1b[31m\\nX: "));
  EXPECT_THAT(refused.err, HasSubstr("connections.b.dsn: the connection string cannot be read"));
  EXPECT_THAT(refused.err, Not(HasSubstr("canary9")));
  EXPECT_THAT(refused.err, Not(HasSubstr("\x1b")));
}

}  // namespace
}  // namespace tidemark::test
