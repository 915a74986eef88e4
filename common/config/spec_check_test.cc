#include "common/config/spec_check.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/config/project.h"
#include "common/model/duration.h"
#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace tidemark {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

template <typename Spec>
Spec FromText(const std::string& text) {
  Spec spec;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &spec)) << text;
  return spec;
}

ValueChecks Checks() {
  return {.cron =
              [](std::string_view cron) {
                return cron == "bad" ? absl::InvalidArgumentError("cron: bad") : absl::OkStatus();
              },
          .dsn =
              [](std::string_view dsn) {
                return dsn.starts_with("ftp:") ? absl::InvalidArgumentError("unknown scheme") : absl::OkStatus();
              }};
}

JobNeighbours Neighbours() {
  JobNeighbours neighbours;
  neighbours.connections.push_back(FromText<v1::ConnectionSpec>("name: 'shop' dsn: 'sqlite:/p/shop.db'"));
  neighbours.connections.push_back(FromText<v1::ConnectionSpec>("name: 'wh' dsn: 'postgresql://etl@db/wh'"));
  neighbours.connections.push_back(FromText<v1::ConnectionSpec>("name: 'again' dsn: 'postgres://me@DB:5432/wh'"));
  return neighbours;
}

std::vector<std::string> Lines(const std::vector<SpecProblem>& problems) {
  std::vector<std::string> lines;
  for (const SpecProblem& problem : problems) {
    lines.push_back(absl::StrCat(problem.error ? "" : "warning: ", problem.field, ": ", problem.description));
  }
  return lines;
}

std::vector<std::string> JobProblems(const std::string& text, const JobNeighbours& neighbours = Neighbours()) {
  auto job = FromText<v1::JobSpec>(text);
  return Lines(CheckJobSpec(neighbours, Checks(), &job));
}

std::vector<std::string> ConnectionProblems(const std::string& text) {
  auto connection = FromText<v1::ConnectionSpec>(text);
  return Lines(CheckConnectionSpec(Checks(), &connection));
}

TEST(JobSpecTest, IsCompletedAsAProjectFileIs) {
  auto job = FromText<v1::JobSpec>(
      "name: 'orders' enabled: true schedule { cron: '@daily' }"
      "source { connection: 'shop' query: 'SELECT 1; ;\\n' watermark: 'w' }"
      "target { connection: 'wh' table: 't' }");
  EXPECT_THAT(Lines(CheckJobSpec(Neighbours(), Checks(), &job)), IsEmpty());
  ProjectOptions options;
  const absl::StatusOr<Project> project = ParseProject(R"(connections:
  shop: { dsn: "sqlite:shop.db" }
  wh: { dsn: "postgresql://etl@db/wh" }
jobs:
  orders:
    schedule: "@daily"
    source: { connection: shop, query: "SELECT 1; ;", watermark: w }
    target: { connection: wh, table: t }
)",
                                                       "/p/t.yaml", options);
  ASSERT_TRUE(project.ok()) << project.status();
  EXPECT_EQ(job.DebugString(), project->jobs[0].DebugString());
  EXPECT_EQ(job.retry().attempts(), 5);
  EXPECT_EQ(job.source().query(), "SELECT 1");
}

TEST(JobSpecTest, WhatIsGivenStays) {
  const std::string text =
      "name: 'o' enabled: true source { connection: 'shop' table: 't' watermark: 'w' stamped_by: "
      "STAMPED_BY_APPLICATION "
      "null_watermark: NULL_WATERMARK_REREAD horizon_wait { nanos: 500000000 } lookback { seconds: 900 } "
      "partition { count: 8 } } target { connection: 'wh' table: 't' strategy: LOAD_STRATEGY_UPSERT key: 'a' key: 'b' "
      "swap: SWAP_MODE_SHELL } retry { attempts: 3 backoff { seconds: 9 } }";
  auto job = FromText<v1::JobSpec>(text);
  EXPECT_THAT(Lines(CheckJobSpec(Neighbours(), Checks(), &job)), IsEmpty());
  EXPECT_EQ(job.DebugString(), FromText<v1::JobSpec>(text).DebugString());
}

TEST(JobSpecTest, AllAtOnceByTheirFields) {
  EXPECT_THAT(JobProblems("name: 'Orders'"), ElementsAre(HasSubstr("name: a name is 1 to 63 lower-case letters"),
                                                         "source: missing", "target: missing"));
  EXPECT_THAT(
      JobProblems(
          "name: 'o' enabled: true schedule { cron: 'bad' timezone: 'Mars' catch_up { seconds: -1 } }"
          "source { connection: 'shopp' table: 't' stamped_by: 9 watermark: 'w' partition { rows: -5 count: 5000 } }"
          "target { connection: 'wh' key: 'a' key: '' key: 'a' } retry { attempts: 101 }"),
      ElementsAre(
          "schedule.cron: cron: bad",
          "schedule.timezone: expected a time zone such as Europe/Paris or UTC, found \"Mars\"",
          "schedule.catch_up: expected a duration such as 15m, 2s or 1h30m, of less than 100 years, found \"-1s\"",
          "source.stamped_by: expected one of database, application, found \"9\"",
          "source.partition.rows: expected a number from 1, found \"-5\"",
          "source.partition.count: expected a number up to 4096, found \"5000\"", "target.table: missing",
          "target.key[1]: expected some text, found \"\"", "target.key[2]: given twice",
          "retry.attempts: expected a number up to 100, found \"101\"",
          "source.connection: unknown connection \"shopp\"; did you mean \"shop\"?"));
  EXPECT_THAT(
      JobProblems("name: 'o' schedule {} source { table: 't' } target { table: 't' strategy: LOAD_STRATEGY_FULL }"),
      ElementsAre("schedule.cron: missing", "source.connection: missing", "target.connection: missing",
                  "warning: enabled: false: the schedule does not count"));
}

TEST(JobSpecTest, OnceCompletedItStandsAsItIs) {
  auto job = FromText<v1::JobSpec>(
      "name: 'o' source { connection: 'shop' table: 't' } "
      "target { connection: 'wh' table: 't' strategy: LOAD_STRATEGY_FULL }");
  EXPECT_THAT(Lines(CheckJobSpec(Neighbours(), Checks(), &job)), IsEmpty());
  EXPECT_TRUE(job.source().has_horizon_wait());
  EXPECT_THAT(Lines(CheckJobSpec(Neighbours(), Checks(), &job)), IsEmpty());
}

TEST(JobSpecTest, RulesAreThoseOfTheFile) {
  constexpr char kTarget[] = " target { connection: 'wh' table: 't' }";
  EXPECT_THAT(
      JobProblems(absl::StrCat("name: 'o' source { connection: 'shop' table: 't' }", kTarget)),
      ElementsAre("source.watermark: missing: the strategy incremental needs a watermark: name a column, or use "
                  "strategy: full"));
  EXPECT_THAT(JobProblems(absl::StrCat("name: 'o' source { connection: 'shop' watermark: 'w' lookback { seconds: 1 } }",
                                       kTarget)),
              ElementsAre("source.table: missing: the source needs a table or a query",
                          HasSubstr("source.lookback: an append with lookback reads rows again")));
  // 0s is given; what only the default fills is not.
  EXPECT_THAT(JobProblems("name: 'o' source { connection: 'shop' table: 't' lookback {} } "
                          "target { connection: 'wh' table: 't' strategy: LOAD_STRATEGY_FULL }"),
              ElementsAre("source.lookback: has no meaning without a watermark"));
  EXPECT_THAT(JobProblems(absl::StrCat("name: 'o' source { connection: 'shop' table: 't' watermark: 'w' "
                                       "partition { by: 'id' count: 8 } }",
                                       kTarget)),
              ElementsAre("source.partition.count: give partition or partitions, not both"));
  EXPECT_THAT(JobProblems("name: 'o' source { connection: 'again' table: 't' } "
                          "target { connection: 'wh' table: 't' strategy: LOAD_STRATEGY_FULL }"),
              ElementsAre("target.table: source and target are the same table"));
}

TEST(JobSpecTest, OneTargetTableForOneJob) {
  JobNeighbours neighbours = Neighbours();
  neighbours.jobs.push_back(FromText<v1::JobSpec>("name: 'first' target { connection: 'wh' table: 't' }"));
  const std::string job =
      "source { connection: 'shop' table: 't' } target { connection: 'again' table: 't' strategy: LOAD_STRATEGY_FULL }";
  EXPECT_THAT(JobProblems(absl::StrCat("name: 'second' ", job), neighbours),
              ElementsAre("target.table: the job first already loads this table"));
  EXPECT_THAT(JobProblems(absl::StrCat("name: 'first' ", job), neighbours), IsEmpty());
}

TEST(ConnectionSpecTest, IsCompletedAndJudged) {
  auto connection = FromText<v1::ConnectionSpec>("name: 'shop' dsn: 'postgresql://me@db/shop'");
  EXPECT_THAT(Lines(CheckConnectionSpec(Checks(), &connection)), IsEmpty());
  EXPECT_EQ(connection.max_connections(), 4);
  EXPECT_THAT(ConnectionProblems("name: '-' max_connections: 1001 max_rows_per_second: -1 replicas: 'x'"),
              ElementsAre(HasSubstr("name: a name is"), "dsn: missing",
                          "max_connections: expected a number up to 1000, found \"1001\"",
                          "max_rows_per_second: expected a number from 0, found \"-1\"", HasSubstr("replicas[0]: ")));
  connection = FromText<v1::ConnectionSpec>(
      "name: 'shop' dsn: 'postgresql://me@db/shop' replicas: 'postgresql://me@one/shop' replicas: '${env:TWO}' "
      "max_lag { seconds: 5 } fallback_to_primary: true");
  EXPECT_THAT(Lines(CheckConnectionSpec(Checks(), &connection)), IsEmpty());
  EXPECT_EQ(connection.replicas(0), "postgresql://me@one/shop");
}

TEST(ConnectionSpecTest, DsnsAreNeverShown) {
  for (const char* dsn : {"canary77@db", "ftp:canary77", "sqlite:canary77.db", "sqlite:", "x${vault:canary}77",
                          "postgresql://me:${env:P}canary77${env:Q"}) {
    const std::vector<std::string> problems = ConnectionProblems(absl::StrCat("name: 's' dsn: '", dsn, "'"));
    EXPECT_THAT(problems, ElementsAre(HasSubstr("dsn: "))) << dsn;
    EXPECT_THAT(problems[0], Not(HasSubstr("canary77")));
  }
}

TEST(ConnectionSpecTest, WhatAReferenceHoldsIsJudgedByTheWorker) {
  for (const char* dsn :
       {"${env:DSN}", "ftp:${file:dsn}", "sqlite:${env:FOLDER}/a.db", "postgresql://me:$${x}@db/shop"}) {
    auto connection = FromText<v1::ConnectionSpec>(absl::StrCat("name: 's' dsn: '", dsn, "'"));
    EXPECT_THAT(Lines(CheckConnectionSpec(Checks(), &connection)), IsEmpty()) << dsn;
    EXPECT_EQ(connection.dsn(), dsn);
  }
}

}  // namespace
}  // namespace tidemark
