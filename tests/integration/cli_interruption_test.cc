// `tidemark run` killed, interrupted, terminated, and started twice. A limit of rows per second makes the runs long
// enough to be caught.
#include <csignal>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/integration/project.h"
#include "tests/integration/sqlite_file.h"
#include "tests/support/process.h"

namespace tidemark::test {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

constexpr int kRows = 20'000;
constexpr absl::Duration kPatience = absl::Minutes(2);

class InterruptionTest : public ::testing::Test {
 protected:
  InterruptionTest() : project_(Yaml(4'000)) {
    SqliteExec(shop(),
               "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, updated_at TIMESTAMPTZ NOT NULL);"
               "CREATE INDEX items_updated_at ON items (updated_at)");
    SqliteExec(
        shop(),
        absl::StrCat(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ", kRows,
            ") INSERT INTO items SELECT i, 'item ' || i, strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 hour') FROM n"));
  }

  static std::string Yaml(int rows_per_second) {
    return absl::StrCat(R"(connections:
  shop: { dsn: "sqlite:shop.db", max_rows_per_second: )",
                        rows_per_second, R"( }
  warehouse: { dsn: "sqlite:warehouse.db" }
jobs:
  items:
    source: { connection: shop, table: items, watermark: updated_at, partitions: 8 }
    target: { connection: warehouse, table: items, strategy: upsert, key: [id] }
)");
  }

  std::string shop() const { return project_.directory() + "/shop.db"; }
  std::string warehouse() const { return project_.directory() + "/warehouse.db"; }

  // Waits until a part of the rows has been moved.
  void AwaitFirstMove() {
    const absl::Status status = [&] {
      for (int i = 0; i < 600; ++i) {
        const ProcessResult ready = *RunProcess({"sleep", "0.05"}, kPatience);
        if (SqliteScalar(warehouse(), "SELECT count(*) FROM sqlite_master WHERE name = '_tidemark_moves'") == "0")
          continue;
        if (SqliteScalar(warehouse(), "SELECT count(*) FROM _tidemark_moves") != "0") return absl::OkStatus();
      }
      return absl::DeadlineExceededError("no move in 30 s");
    }();
    ASSERT_TRUE(status.ok()) << status;
  }

  void AwaitPhase(const std::string& phase) {
    for (int i = 0; i < 600; ++i) {
      const ProcessResult get = GetLatest();
      if (get.exit_code == 0 && nlohmann::json::parse(get.out)["phase"] == phase) return;
      ASSERT_EQ(RunProcess({"sleep", "0.05"}, kPatience)->exit_code, 0);
    }
    FAIL() << "the run is not " << phase << " in 30 s";
  }

  // Another program that writes the state and does not end: nobody else can write it.
  std::unique_ptr<Process> LockState() {
    const std::string program =
        absl::StrCat("import sqlite3, time\nstate = sqlite3.connect('", project_.directory(),
                     "/.tidemark/state.db', timeout=60, isolation_level=None)\n",
                     "state.execute('BEGIN IMMEDIATE')\nprint('locked', flush=True)\n", "time.sleep(600)\n");
    std::unique_ptr<Process> lock = Process::Start({"python3", "-c", program}).value();
    const absl::Status locked = lock->WaitForOutput("locked", absl::Minutes(1));
    EXPECT_TRUE(locked.ok()) << locked << lock->err();
    return lock;
  }

  void ExpectExact() {
    // By value: the target spells instants in its own way.
    constexpr char kAll[] = "SELECT id, name, strftime('%Y-%m-%dT%H:%M:%fZ', updated_at) FROM items ORDER BY id";
    EXPECT_EQ(SqliteQuery(warehouse(), kAll), SqliteQuery(shop(), kAll));
    EXPECT_EQ(SqliteScalar(warehouse(), "SELECT count(*) - count(DISTINCT run_id) FROM _tidemark_ledger"), "0");
  }

  ProcessResult GetLatest() {
    return *RunProcess({TidemarkProgram(), "runs", "get", "items@latest", "--project", project_.file(), "-o", "json"},
                       kPatience);
  }
  nlohmann::json Latest() { return nlohmann::json::parse(GetLatest().out); }

  Project project_;
};

TEST_F(InterruptionTest, KilledAndStartedAgainEndsExact) {
  std::unique_ptr<Process> run = project_.Start();
  AwaitFirstMove();
  run->KillHard();
  project_.Write(Yaml(0));
  // To look is not to go on.
  const std::string moved = SqliteScalar(warehouse(), "SELECT count(*) FROM _tidemark_moves");
  const ProcessResult plan = *RunProcess({TidemarkProgram(), "plan", project_.file()}, kPatience);
  EXPECT_EQ(plan.exit_code, 0) << plan.err;
  EXPECT_THAT(plan.err, HasSubstr("left unfinished"));
  EXPECT_EQ(SqliteScalar(warehouse(), "SELECT count(*) FROM _tidemark_moves"), moved);
  EXPECT_EQ(Latest()["phase"], "moving");
  const RunOutcome again = project_.Run();
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_THAT(again.err, HasSubstr("recovering run"));
  EXPECT_THAT(again.err, HasSubstr(absl::StrCat("recovered items: success")));
  // The run that was asked for now comes after the recovered one, and finds nothing left.
  EXPECT_EQ(again.job()["rows_read"], 0);
  ExpectExact();
}

TEST_F(InterruptionTest, CtrlCCancelsAndTheNextRunIsWhole) {
  std::unique_ptr<Process> run = project_.Start();
  AwaitFirstMove();
  run->Signal(SIGINT);
  const absl::StatusOr<int> exit_code = run->Wait(absl::Seconds(30));
  ASSERT_TRUE(exit_code.ok()) << run->err();
  EXPECT_EQ(*exit_code, 130) << run->err();
  EXPECT_EQ(Latest()["phase"], "cancelled");
  project_.Write(Yaml(0));
  const RunOutcome again = project_.Run();
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(again.job()["rows_loaded"], kRows);
  ExpectExact();
}

TEST_F(InterruptionTest, SigtermDrainsAndTheNextRunGoesOn) {
  std::unique_ptr<Process> run = project_.Start();
  AwaitFirstMove();
  run->Signal(SIGTERM);
  const absl::StatusOr<int> exit_code = run->Wait(absl::Minutes(1));
  ASSERT_TRUE(exit_code.ok()) << run->err();
  EXPECT_THAT(*exit_code, AnyOf(0, 130)) << run->err();
  // The run that is left has its object like any other.
  const RunOutcome drained = Project::Finish(*run);
  EXPECT_EQ(drained.job()["run_id"], Latest()["run_id"]);
  EXPECT_EQ(drained.job()["status"], *exit_code == 0 ? "success" : "running");
  project_.Write(Yaml(0));
  const RunOutcome again = project_.Run();
  ASSERT_EQ(again.exit_code, 0) << again.err;
  ExpectExact();
}

TEST_F(InterruptionTest, CtrlCEndsADrainThatTakesLong) {
  project_.Write(Yaml(100));
  std::unique_ptr<Process> run = project_.Start();
  AwaitPhase("moving");
  run->Signal(SIGTERM);
  ASSERT_TRUE(run->WaitForOutput("terminated: finishing", absl::Seconds(30)).ok()) << run->err();
  run->Signal(SIGINT);
  const absl::StatusOr<int> exit_code = run->Wait(absl::Seconds(15));
  ASSERT_TRUE(exit_code.ok()) << run->err();
  EXPECT_EQ(*exit_code, 130) << run->err();
  EXPECT_THAT(run->err(), HasSubstr("interrupted: cancelling"));
  project_.Write(Yaml(0));
  const RunOutcome again = project_.Run();
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_THAT(again.err, HasSubstr("recovered items: cancelled"));
  ExpectExact();
}

TEST_F(InterruptionTest, TheSecondCtrlCEndsTheProcessAtOnce) {
  std::unique_ptr<Process> run = project_.Start();
  AwaitFirstMove();
  const std::unique_ptr<Process> lock = LockState();
  run->Signal(SIGINT);
  absl::Status said = run->WaitForOutput("Ctrl-C again", absl::Minutes(1));
  ASSERT_TRUE(said.ok()) << said << run->err();
  run->Signal(SIGINT);
  const absl::StatusOr<int> exit_code = run->Wait(absl::Seconds(5));
  ASSERT_TRUE(exit_code.ok()) << run->err();
  EXPECT_EQ(*exit_code, 130);
}

TEST_F(InterruptionTest, AStateThatCannotBeWrittenIsSaidAndGivenUp) {
  std::unique_ptr<Process> run = project_.Start();
  AwaitFirstMove();
  std::unique_ptr<Process> lock = LockState();
  const absl::StatusOr<int> exit_code = run->Wait(kPatience);
  ASSERT_TRUE(exit_code.ok()) << run->err();
  EXPECT_EQ(*exit_code, 1) << run->err();
  EXPECT_THAT(run->err(), HasSubstr("the metadata store fails"));
  EXPECT_THAT(run->err(), HasSubstr("database is locked"));
  EXPECT_THAT(run->err(), HasSubstr("giving up"));
  const RunOutcome given_up = Project::Finish(*run);
  EXPECT_EQ(given_up.job()["status"], "running");
  EXPECT_THAT(given_up.job()["error"].get<std::string>(), HasSubstr("database is locked"));
  lock->KillHard();
  project_.Write(Yaml(0));
  const RunOutcome again = project_.Run();
  ASSERT_EQ(again.exit_code, 0) << again.err;
  ExpectExact();
}

TEST_F(InterruptionTest, TheSecondProcessOnOneStateNamesTheFirst) {
  std::unique_ptr<Process> run = project_.Start();
  AwaitFirstMove();
  const RunOutcome second = project_.Run();
  EXPECT_EQ(second.exit_code, 2);
  EXPECT_THAT(second.err, HasSubstr(absl::StrCat(run->pid())));
  // Looking is allowed meanwhile.
  EXPECT_EQ(Latest()["status"], "running");
  run->Signal(SIGINT);
  EXPECT_EQ(*run->Wait(absl::Seconds(30)), 130);
}

}  // namespace
}  // namespace tidemark::test
