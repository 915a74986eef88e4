// `tidemark dev`: the cluster in one process that stays up.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "absl/strings/str_cat.h"
#include "tests/integration/project.h"
#include "tests/integration/sqlite_file.h"
#include "tests/support/http_get.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace tidemark::test {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

constexpr absl::Duration kPatience = absl::Minutes(2);

std::string ProjectText(const std::string& target, const std::string& jobs) {
  return absl::StrCat("connections:\n  made: { dsn: \"generator:rows=500\" }\n  out: { dsn: \"sqlite:", target,
                      "\" }\njobs:\n", jobs);
}

std::string Job(const std::string& name, const std::string& more = "") {
  return absl::StrCat("  ", name, ":\n    source: { connection: made, table: events }\n    target: { connection: out, ",
                      "table: ", name, ", strategy: full }\n", more);
}

class CliDev : public testing::Test {
 protected:
  void Start() {
    dev_ = Process::Start({TidemarkProgram(), "dev", project_.file(), "--admin-listen", "127.0.0.1:0",
                           "--metrics-listen", "127.0.0.1:0", "--workers", "2"})
               .value();
    ASSERT_EQ(dev_->WaitForOutput("ready\n", kPatience), absl::OkStatus()) << dev_->err();
    ASSERT_THAT(dev_->out(), MatchesRegex("listening admin 127.0.0.1:[1-9][0-9]*\n"
                                          "listening metrics 127.0.0.1:[1-9][0-9]*\nready\n(.|\n)*"));
  }
  std::string Address(const std::string& what) const {
    const std::string out = dev_->out();
    const size_t at = out.find(what) + what.size() + 1;
    return out.substr(at, out.find('\n', at) - at);
  }
  ProcessResult Tidemark(std::vector<std::string> words) {
    words.insert(words.begin(), TidemarkProgram());
    words.insert(words.end(), {"--server", Address("admin")});
    return RunProcess(words, kPatience).value();
  }
  void Terminate() {
    dev_->Signal(SIGTERM);
    EXPECT_EQ(dev_->Wait(kPatience).value(), 0) << dev_->err();
  }
  void Write(const std::string& jobs) { project_.Write(ProjectText(target(), jobs)); }
  std::string target() const { return project_.directory() + "/target.db"; }

  Project project_{""};
  std::unique_ptr<Process> dev_;
};

TEST_F(CliDev, ServesTheCommandsOfAClusterAndItsMetrics) {
  Write(Job("orders") + Job("customers"));
  Start();
  const ProcessResult run = Tidemark({"jobs", "run", "orders", "--wait"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(SqliteScalar(target(), "SELECT count(*) FROM orders"), "500");
  EXPECT_EQ(dev_->WaitForOutput("read 500 = loaded 500", kPatience), absl::OkStatus()) << dev_->out() << dev_->err();
  EXPECT_THAT(Tidemark({"jobs", "list"}).out, HasSubstr("customers"));
  EXPECT_THAT(Tidemark({"workers", "list"}).out, HasSubstr("embedded-2"));

  const std::string scrape = HttpGet(Address("metrics"), "/metrics")->body;
  EXPECT_THAT(scrape, HasSubstr("tidemark_runs_total{etl_job=\"orders\",status=\"success\"} 1\n"));
  EXPECT_THAT(scrape, HasSubstr("tidemark_rows_total{etl_job=\"orders\",stage=\"loaded\"} 500\n"));
  EXPECT_THAT(scrape, HasSubstr("tidemark_worker_memory_bytes 0\n"));
  TempDir directory;
  const std::string file = directory.Write("metrics", scrape);
  const ProcessResult checked =
      RunProcess({"sh", "-c", "promtool check metrics < \"$0\"", file}, absl::Minutes(1)).value();
  EXPECT_EQ(checked.exit_code, 0) << checked.err;

  const ProcessResult second = RunProcess({TidemarkProgram(), "run", project_.file()}, kPatience).value();
  EXPECT_EQ(second.exit_code, 2) << second.err;
  Terminate();
}

TEST_F(CliDev, AJobThatTheFileNamesNoMoreIsDisabledUntilItDoesAgain) {
  const std::string both = Job("orders") + Job("customers", "    schedule: \"0 0 1 1 *\"\n");
  Write(both);
  Start();
  EXPECT_THAT(Tidemark({"jobs", "get", "customers", "-o", "json"}).out, HasSubstr("next_fire_time\":\"2"));
  Terminate();
  Write(Job("orders"));
  Start();
  EXPECT_THAT(dev_->err(), HasSubstr("customers: disabled, "));
  EXPECT_THAT(Tidemark({"jobs", "get", "customers", "-o", "json"}).out,
              testing::Not(HasSubstr("next_fire_time\":\"2")));
  Terminate();
  Write(both);
  Start();
  EXPECT_THAT(Tidemark({"jobs", "get", "customers", "-o", "json"}).out, HasSubstr("next_fire_time\":\"2"));
  Terminate();
}

TEST_F(CliDev, FiresWhatTheScheduleAsksFor) {
  Write(Job("orders", "    schedule: \"* * * * *\"\n"));
  Start();
  EXPECT_EQ(dev_->WaitForOutput("read 500 = loaded 500", kPatience), absl::OkStatus()) << dev_->out() << dev_->err();
  Terminate();
}

}  // namespace
}  // namespace tidemark::test
