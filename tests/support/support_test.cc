#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "absl/time/clock.h"
#include "tests/support/postgres_server.h"
#include "tests/support/process.h"
#include "tests/support/redis_server.h"
#include "tests/support/temp_dir.h"

namespace tidemark::test {
namespace {

TEST(TempDirTest, IsRemovedWithItsFiles) {
  std::string path;
  {
    TempDir directory;
    path = directory.path();
    EXPECT_TRUE(std::filesystem::exists(directory.Write("a", "text")));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(ProcessTest, CapturesOutputExitCodeAndEnvironment) {
  ProcessOptions options;
  options.environment["GREETING"] = "hello";
  auto result = RunProcess({"sh", "-c", "echo $GREETING; echo oops >&2; exit 3"}, absl::Seconds(20), options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->exit_code, 3);
  EXPECT_EQ(result->out, "hello\n");
  EXPECT_EQ(result->err, "oops\n");
}

TEST(ProcessTest, ReportsAProgramThatDoesNotExist) {
  EXPECT_EQ(Process::Start({"/no/such/program"}).status().code(), absl::StatusCode::kNotFound);
}

TEST(ProcessTest, WaitsForOutputAndKillsHard) {
  auto process = Process::Start({"sh", "-c", "echo ready; exec sleep 60"});
  ASSERT_TRUE(process.ok()) << process.status();
  ASSERT_TRUE((*process)->WaitForOutput("ready", absl::Seconds(20)).ok());
  EXPECT_EQ((*process)->Wait(absl::Milliseconds(1)).status().code(), absl::StatusCode::kDeadlineExceeded);
  (*process)->KillHard();
  EXPECT_EQ((*process)->Wait(absl::ZeroDuration()).value(), 128 + SIGKILL);
}

TEST(ProcessTest, DiesWithItsParent) {
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  EXPECT_EXIT(
      {
        auto grandchild = Process::Start({"sleep", "60"});
        const pid_t pid = grandchild.ok() ? (*grandchild)->pid() : -1;
        // _exit: no destructor runs, so only the kernel is left to end the grandchild.
        _exit(write(pipe_fds[1], &pid, sizeof(pid)) == sizeof(pid) ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
  pid_t pid = -1;
  ASSERT_EQ(read(pipe_fds[0], &pid, sizeof(pid)), static_cast<ssize_t>(sizeof(pid)));
  ASSERT_GT(pid, 0);
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  auto runs = [pid] {
    std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
    std::string number, name, state;
    return stat >> number >> name >> state && name == "(sleep)" && state != "Z";
  };
  while (runs() && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(5));
  EXPECT_FALSE(runs());
}

TEST(PostgresServerTest, StartsAnswersAndStops) {
  int port = 0;
  {
    PostgresServer::Options options;
    options.settings = {"max_prepared_transactions = 7"};
    const absl::Time before = absl::Now();
    auto server = PostgresServer::Start(options);
    ASSERT_TRUE(server.ok()) << server.status();
    RecordProperty("start_milliseconds", std::to_string(absl::ToInt64Milliseconds(absl::Now() - before)));
    port = (*server)->port();
    const std::string dsn = (*server)->NewDatabase();
    Exec(dsn, "CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, NULL), (2, 'x')");
    EXPECT_EQ(Scalar(dsn, "SELECT count(*) FROM t"), "2");
    EXPECT_EQ(Query(dsn, "SELECT a, b FROM t ORDER BY a"),
              (std::vector<std::vector<std::string>>{{"1", "NULL"}, {"2", "x"}}));
    EXPECT_EQ(Scalar(dsn, "SHOW max_prepared_transactions"), "7");
  }
  EXPECT_DEATH(Exec("postgresql://postgres@127.0.0.1:" + std::to_string(port) + "/postgres", "SELECT 1"),
               "cannot connect");
}

TEST(RedisServerTest, AnswersAndStartsAgainEmpty) {
  auto server = RedisServer::Start("pass word");
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ((*server)->Command({"SET", "a", "1"}), "OK");
  EXPECT_EQ((*server)->Command({"GET", "a"}), "1");
  (*server)->Flush();
  EXPECT_EQ((*server)->Command({"GET", "a"}), "");
  (*server)->Command({"SET", "a", "1"});
  (*server)->Pause();
  (*server)->Resume();
  EXPECT_EQ((*server)->Command({"GET", "a"}), "1");
  (*server)->Stop();
  ASSERT_TRUE((*server)->Restart().ok());
  EXPECT_EQ((*server)->Command({"GET", "a"}), "");
}

}  // namespace
}  // namespace tidemark::test
