// `tidemark run` into a SQLite file that another program keeps locked, or whose disk is full: it tries again for a
// bounded time, then says what is wrong with the target. The source is not read again for it.
#include <csignal>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/integration/project.h"
#include "tests/integration/sqlite_file.h"
#include "tests/support/process.h"

namespace tidemark::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kRows = 20'000;
constexpr absl::Duration kPatience = absl::Minutes(2);
// Two waits of 5 s for the lock, those of the moves behind one another, and some air for a slow machine.
constexpr absl::Duration kBounded = absl::Seconds(60);

class FailingTargetTest : public ::testing::Test {
 protected:
  FailingTargetTest() : project_(Yaml(0)) {
    SqliteExec(shop(),
               "PRAGMA journal_mode = WAL;"
               "CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, updated_at TIMESTAMPTZ NOT NULL);"
               "CREATE INDEX items_updated_at ON items (updated_at)");
    Add(kRows);
  }

  static std::string Yaml(int rows_per_second, const std::string& warehouse = "warehouse.db") {
    return absl::StrCat(R"(connections:
  shop: { dsn: "sqlite:shop.db", max_rows_per_second: )",
                        rows_per_second, R"( }
  warehouse: { dsn: "sqlite:)",
                        warehouse, R"(" }
jobs:
  items:
    source: { connection: shop, table: items, watermark: updated_at, partitions: 8 }
    target: { connection: warehouse, table: items, strategy: upsert, key: [id] }
    retry: { attempts: 2, backoff: 100ms }
)");
  }

  void Add(int rows) {
    SqliteExec(shop(), absl::StrCat("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ", rows,
                                    ") INSERT INTO items (name, updated_at) SELECT 'an item of some length, number ' "
                                    "|| i, strftime('%Y-%m-%dT%H:%M:%fZ', 'now') FROM n"));
  }

  std::string shop() const { return project_.directory() + "/shop.db"; }
  std::string warehouse() const { return project_.directory() + "/warehouse.db"; }

  // Another program that writes the warehouse and does not end. It asks without a pause: one move follows another at
  // once.
  std::unique_ptr<Process> LockWarehouse() {
    const std::string program =
        absl::StrCat("import sqlite3, time\nwarehouse = sqlite3.connect('", warehouse(),
                     "', timeout=0, isolation_level=None)\nlocked = False\nwhile not locked:\n  try:\n    "
                     "warehouse.execute('BEGIN EXCLUSIVE')\n    locked = True\n  except sqlite3.OperationalError:\n    "
                     "pass\nprint('locked', flush=True)\ntime.sleep(600)\n");
    std::unique_ptr<Process> lock = Process::Start({"python3", "-c", program}).value();
    const absl::Status locked = lock->WaitForOutput("locked", absl::Minutes(1));
    EXPECT_TRUE(locked.ok()) << locked << lock->err();
    return lock;
  }

  void AwaitFirstMove() {
    for (int i = 0; i < 600; ++i) {
      absl::SleepFor(absl::Milliseconds(50));
      if (SqliteScalar(warehouse(), "SELECT count(*) FROM sqlite_master WHERE name = '_tidemark_moves'") == "0") {
        continue;
      }
      if (SqliteScalar(warehouse(), "SELECT count(*) FROM _tidemark_moves") != "0") return;
    }
    FAIL() << "no move in 30 s";
  }

  void ExpectExact() {
    // By value: the target spells instants in its own way.
    constexpr char kAll[] = "SELECT id, name, strftime('%Y-%m-%dT%H:%M:%fZ', updated_at) FROM items ORDER BY id";
    EXPECT_EQ(SqliteQuery(warehouse(), kAll), SqliteQuery(shop(), kAll));
  }

  Project project_;
};

TEST_F(FailingTargetTest, ALockedFileIsWaitedForAndThenSaid) {
  ASSERT_EQ(project_.Run().exit_code, 0);
  Add(1);
  std::unique_ptr<Process> lock = LockWarehouse();
  std::unique_ptr<Process> run = project_.Start();
  const absl::StatusOr<int> exit_code = run->Wait(kBounded);
  ASSERT_TRUE(exit_code.ok()) << run->err();
  EXPECT_EQ(*exit_code, 1) << run->err();
  const std::string error = Project::Finish(*run).job()["error"];
  EXPECT_THAT(error, HasSubstr(absl::StrCat("SQLite file ", warehouse(), ": database is locked (another connection")));
  EXPECT_THAT(error, HasSubstr("attempt 2 of 2"));
  EXPECT_THAT(error, Not(HasSubstr("left behind"))) << "nothing was staged";
  lock->KillHard();
  const RunOutcome again = project_.Run();
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(again.job()["rows_loaded"], 1);
  ExpectExact();
}

TEST_F(FailingTargetTest, CtrlCDoesNotWaitForALock) {
  ASSERT_EQ(project_.Run().exit_code, 0);
  Add(1);
  for (const bool write_ahead : {true, false}) {
    // Without the log, whoever only opens the file waits too.
    if (!write_ahead) SqliteExec(warehouse(), "PRAGMA journal_mode = DELETE");
    std::unique_ptr<Process> lock = LockWarehouse();
    std::unique_ptr<Process> run = project_.Start();
    // It has met the lock.
    absl::SleepFor(absl::Seconds(1));
    run->Signal(SIGINT);
    const absl::StatusOr<int> exit_code = run->Wait(absl::Seconds(4));
    ASSERT_TRUE(exit_code.ok()) << run->err();
    EXPECT_EQ(*exit_code, 130) << run->err();
    lock->KillHard();
  }
  ASSERT_EQ(project_.Run().exit_code, 0);
  ExpectExact();
}

TEST_F(FailingTargetTest, AFileLockedAmidTheMovesFailsTheRunAndNotItsSnapshot) {
  project_.Write(Yaml(2'000));
  std::unique_ptr<Process> run = project_.Start();
  AwaitFirstMove();
  std::unique_ptr<Process> lock = LockWarehouse();
  const absl::StatusOr<int> exit_code = run->Wait(kBounded);
  ASSERT_TRUE(exit_code.ok()) << run->err();
  EXPECT_EQ(*exit_code, 1) << run->err();
  const std::string error = Project::Finish(*run).job()["error"];
  EXPECT_THAT(error, HasSubstr("move of partition"));
  EXPECT_THAT(error, HasSubstr("database is locked"));
  EXPECT_THAT(error, HasSubstr("attempt 2 of 2"));
  EXPECT_THAT(error, Not(HasSubstr("snapshot")));
  EXPECT_THAT(run->err(), Not(HasSubstr("started over")));
  lock->KillHard();
  project_.Write(Yaml(0));
  const RunOutcome again = project_.Run();
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(again.job()["rows_loaded"], kRows);
  ExpectExact();
}

TEST_F(FailingTargetTest, AFullDiskIsSaidAndTheSourceIsReadOnce) {
  // A small disk that this test alone sees.
  const std::string disk = project_.directory() + "/disk";
  std::filesystem::create_directory(disk);
  const auto on_small_disk = [&](std::vector<std::string> command) {
    command.insert(command.begin(),
                   {"unshare", "-rm", "sh", "-c", "mount -t tmpfs -o size=1m none \"$0\" && exec \"$@\"", disk});
    return Process::Start(command).value();
  };
  if (on_small_disk({"true"})->Wait(kPatience).value() != 0) GTEST_SKIP() << "no mount without privileges here";
  project_.Write(Yaml(0, "disk/warehouse.db"));
  std::unique_ptr<Process> run = on_small_disk({TidemarkProgram(), "run", project_.file(), "-o", "ndjson"});
  const absl::StatusOr<int> exit_code = run->Wait(kBounded);
  ASSERT_TRUE(exit_code.ok()) << run->err();
  EXPECT_EQ(*exit_code, 1) << run->err();
  const std::string error = Project::Finish(*run).job()["error"];
  EXPECT_THAT(error,
              HasSubstr(absl::StrCat("SQLite file ", disk, "/warehouse.db: database or disk is full (make room")));
  EXPECT_THAT(error, HasSubstr("attempt 2 of 2"));
  EXPECT_THAT(error, Not(HasSubstr("snapshot")));
  EXPECT_THAT(run->err(), Not(HasSubstr("started over")));
}

}  // namespace
}  // namespace tidemark::test
