#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/config/project.h"
#include "common/config/suggestion.h"
#include "common/model/duration.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace tidemark {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr char kConnections[] = R"(connections:
  shop: { dsn: "sqlite:shop.db", max_connections: 2 }
  warehouse: { dsn: "postgresql://etl:hunter22@db/wh" }
)";

ProjectOptions TestOptions() {
  ProjectOptions options;
  options.environment = [](const std::string& name) -> std::optional<std::string> {
    if (name == "DSN") return "postgresql://me:canary77@db/shop";
    if (name == "N") return "7";
    if (name == "WORD") return "canary77";
    return std::nullopt;
  };
  options.check_cron = [](std::string_view cron) {
    return cron == "bad" ? absl::InvalidArgumentError("cron: bad") : absl::OkStatus();
  };
  return options;
}

absl::StatusOr<Project> Parse(const std::string& yaml) { return ParseProject(yaml, "/p/tidemark.yaml", TestOptions()); }

std::vector<std::string> Errors(const std::string& yaml) {
  const absl::StatusOr<Project> project = Parse(yaml);
  if (project.ok()) return {};
  EXPECT_EQ(project.status().code(), absl::StatusCode::kInvalidArgument);
  std::vector<std::string> lines = absl::StrSplit(std::string(project.status().message()), '\n');
  for (std::string& line : lines) {
    EXPECT_TRUE(line.starts_with("/p/tidemark.yaml:")) << line;
    line = line.substr(17);
  }
  return lines;
}

// Errors of one job `orders` with these lines below `source:` and `target:`, which stand on lines 6 and following.
std::vector<std::string> JobErrors(const std::string& source, const std::string& target) {
  return Errors(absl::StrCat(kConnections, "jobs:\n  orders:\n    source: { connection: shop, ", source,
                             " }\n    target: { connection: warehouse, ", target, " }\n"));
}

TEST(ProjectTest, ReadsEveryKeyOfThisVersion) {
  const absl::StatusOr<Project> project = Parse(R"(connections:
  shop:
    dsn: "${env:DSN}"
    max_connections: ${env:N}
    max_rows_per_second: 200000
    replicas: ["postgresql://me@one:${env:N}/shop", "postgresql://me@two/shop"]
    max_lag: 5s
    fallback_to_primary: true
  warehouse: { dsn: "sqlite:data/../wh.db", worker: w1 }
jobs:
  orders:
    schedule: { cron: "30 2 * * *", timezone: Europe/Paris, catch_up: 1h }
    enabled: false
    source:
      connection: shop
      table: public.orders
      watermark: updated_at
      watermark_timezone: UTC
      stamped_by: application
      null_watermark: reread
      horizon_wait: 500ms
      max_hold: 30m
      lookback: 15m
      partition: { by: id, rows: 500000 }
    target:
      connection: warehouse
      table: sales.orders
      strategy: upsert
      key: [id, line]
      swap: truncate_insert
    retry: { attempts: 3, backoff: 250ms }
  customers:
    schedule: "@daily"
    source: { connection: shop, query: "SELECT 1 AS id;\n ", partitions: 8 }
    target: { connection: warehouse, table: customers, strategy: full }
)");
  ASSERT_TRUE(project.ok()) << project.status();
  EXPECT_EQ(project->file, "/p/tidemark.yaml");
  const v1::ConnectionSpec& shop = *project->FindConnection("shop");
  EXPECT_EQ(shop.dsn(), "postgresql://me:canary77@db/shop");
  EXPECT_EQ(shop.max_connections(), 7);
  EXPECT_EQ(shop.max_rows_per_second(), 200000);
  ASSERT_EQ(shop.replicas_size(), 2);
  EXPECT_EQ(shop.replicas(0), "postgresql://me@one:7/shop");
  EXPECT_EQ(shop.replicas(1), "postgresql://me@two/shop");
  EXPECT_EQ(shop.max_lag().seconds(), 5);
  EXPECT_TRUE(shop.fallback_to_primary());
  const v1::ConnectionSpec& warehouse = *project->FindConnection("warehouse");
  EXPECT_EQ(warehouse.dsn(), "sqlite:/p/wh.db");
  EXPECT_EQ(warehouse.max_connections(), 4);
  EXPECT_EQ(warehouse.worker(), "w1");
  ASSERT_EQ(project->jobs.size(), 2u);
  const v1::JobSpec& orders = *project->FindJob("orders");
  EXPECT_EQ(orders.schedule().timezone(), "Europe/Paris");
  EXPECT_EQ(FromProto(orders.schedule().catch_up()), absl::Hours(1));
  EXPECT_FALSE(orders.enabled());
  EXPECT_EQ(orders.source().stamped_by(), v1::STAMPED_BY_APPLICATION);
  EXPECT_EQ(orders.source().null_watermark(), v1::NULL_WATERMARK_REREAD);
  EXPECT_EQ(FromProto(orders.source().horizon_wait()), absl::Milliseconds(500));
  EXPECT_EQ(FromProto(orders.source().max_hold()), absl::Minutes(30));
  EXPECT_EQ(FromProto(orders.source().lookback()), absl::Minutes(15));
  EXPECT_EQ(orders.source().partition().by(), "id");
  EXPECT_EQ(orders.source().partition().rows(), 500000);
  EXPECT_EQ(orders.target().strategy(), v1::LOAD_STRATEGY_UPSERT);
  EXPECT_THAT(orders.target().key(), ElementsAre("id", "line"));
  EXPECT_EQ(orders.target().swap(), v1::SWAP_MODE_TRUNCATE_INSERT);
  EXPECT_EQ(orders.retry().attempts(), 3);
  const v1::JobSpec& customers = *project->FindJob("customers");
  EXPECT_EQ(customers.schedule().cron(), "@daily");
  EXPECT_TRUE(customers.enabled());
  EXPECT_EQ(customers.source().query(), "SELECT 1 AS id");
  EXPECT_EQ(customers.source().partition().count(), 8);
  EXPECT_EQ(customers.source().stamped_by(), v1::STAMPED_BY_DATABASE);
  EXPECT_EQ(FromProto(customers.source().horizon_wait()), absl::Seconds(2));
  EXPECT_EQ(customers.target().swap(), v1::SWAP_MODE_AUTO);
  EXPECT_EQ(customers.retry().attempts(), 5);
  EXPECT_FALSE(customers.source().has_lookback());
}

TEST(ProjectTest, StrategyIsIncrementalUnlessSaid) {
  const absl::StatusOr<Project> project =
      Parse(absl::StrCat(kConnections, "jobs:\n  a:\n    source: {connection: shop, table: t, watermark: w}\n",
                         "    target: {connection: warehouse, table: t}\n"));
  ASSERT_TRUE(project.ok()) << project.status();
  EXPECT_EQ(project->jobs[0].target().strategy(), v1::LOAD_STRATEGY_INCREMENTAL);
  EXPECT_FALSE(project->jobs[0].has_schedule());
}

TEST(ProjectErrorsTest, AllAtOnceInTheFilesOrder) {
  EXPECT_THAT(
      Errors(R"(conections: {}
connections:
  shop: { dsn: "sqlite:shop.db", max_conections: 2 }
  wh: { max_connections: 0 }
jobs:
  Orders: {}
  orders:
    schedule: bad
    enabled: "yes"
    source:
      connection: shopp
      table: t
      table: u
      lookback: 15
      watermark: [a]
    target:
      table: t
      strategy: upsrt
      key: id
)"),
      ElementsAre("1:1: conections: unknown key; did you mean \"connections\"?",
                  "3:34: connections.shop.max_conections: unknown key; did you mean \"max_connections\"?",
                  "4:3: connections.wh.dsn: missing",
                  "4:26: connections.wh.max_connections: expected a number from 1, found \"0\"",
                  "6:3: jobs.Orders: a name is 1 to 63 lower-case letters, digits, - and _, and starts and ends with "
                  "a letter or a digit",
                  "8:15: jobs.orders.schedule: cron: bad",
                  "9:14: jobs.orders.enabled: expected true or false, without quotes",
                  "11:7: jobs.orders.source.connection: unknown connection \"shopp\"; did you mean \"shop\"?",
                  "13:7: jobs.orders.source.table: the key is given twice",
                  "14:17: jobs.orders.source.lookback: expected a duration such as 15m, 2s or 1h30m, of less than 100 "
                  "years, found \"15\"",
                  "15:18: jobs.orders.source.watermark: expected a single value, found a list",
                  "16:5: jobs.orders.target.connection: missing",
                  "18:17: jobs.orders.target.strategy: expected one of full, incremental, upsert, found \"upsrt\"",
                  "19:12: jobs.orders.target.key: expected a list, found a single value"));
}

TEST(ProjectErrorsTest, WhatIsNoProject) {
  EXPECT_THAT(Errors(""), ElementsAre("1:1: expected a mapping with connections and jobs"));
  EXPECT_THAT(Errors("- a\n"), ElementsAre("1:1: expected a mapping with connections and jobs"));
  EXPECT_THAT(Errors("a: [\n"), ElementsAre(HasSubstr("not YAML")));
  EXPECT_THAT(Errors("a: b\n---\nc: d\n"), ElementsAre("3:1: a project file is one YAML document"));
  EXPECT_THAT(Errors("connections: {}\njobs:\n"),
              ElementsAre("1:14: connections: missing or empty: at least one is needed",
                          HasSubstr("jobs: missing or empty: at least one is needed")));
  EXPECT_THAT(Errors("a: &a [*a]\n"), ElementsAre(HasSubstr("nested too deep")));
  EXPECT_EQ(LoadProject("/nowhere/tidemark.yaml", TestOptions()).status().code(), absl::StatusCode::kNotFound);
}

TEST(ProjectErrorsTest, WhatThisVersionDoesNotCarryOut) {
  EXPECT_THAT(Errors(absl::StrCat(kConnections, R"(jobs:
  orders:
    source: { connection: shop, api: { url: x } }
    transform: { ref: steps, steps: [ { rename: { a: b } }, { renam: { a: b } } ] }
    target: { connection: warehouse, table: t, strategy: full }
    sla: { max_age: 25h, max_agee: 1h }
    dimensions: { c: { connection: shop, tble: x } }
)")),
              ElementsAre("6:33: jobs.orders.source.api: not available in this version",
                          "7:5: jobs.orders.transform: not available in this version",
                          "7:63: jobs.orders.transform.steps[1].renam: unknown key; did you mean \"rename\"?",
                          "9:5: jobs.orders.sla: not available in this version",
                          "9:26: jobs.orders.sla.max_agee: unknown key; did you mean \"max_age\"?",
                          "10:5: jobs.orders.dimensions: not available in this version",
                          "10:42: jobs.orders.dimensions.c.tble: unknown key; did you mean \"table\"?"));
}

TEST(ProjectRulesTest, Replicas) {
  const auto errors = [](const std::string& connection) {
    return Errors(absl::StrCat("connections:\n  shop: { ", connection,
                               " }\n  wh: { dsn: \"sqlite:wh.db\" }\njobs:\n  orders:\n    source: { connection: shop, "
                               "table: t }\n    target: { connection: wh, table: t, strategy: full }\n"));
  };
  EXPECT_THAT(errors("dsn: \"postgresql://db/shop\", replicas: [\"postgresql://other/shop\"]"), IsEmpty());
  EXPECT_THAT(errors("dsn: \"postgresql://db/shop\", replicas: [\"postgresql://me@db:5432/shop\"]"),
              ElementsAre(HasSubstr("is the server and database of its dsn")));
  EXPECT_THAT(errors("dsn: \"sqlite:a.db\", replicas: [\"postgresql://db/shop\"]"),
              ElementsAre(HasSubstr("a local file has none")));
  EXPECT_THAT(errors("dsn: \"postgresql://db/shop\", replicas: \"postgresql://other/shop\""),
              ElementsAre(HasSubstr("connections.shop.replicas: expected a list")));
  EXPECT_THAT(errors("dsn: \"postgresql://db/shop\", replicas: [\"canary77\"]"),
              ElementsAre(AllOf(HasSubstr("connections.shop.replicas[0]: "), Not(HasSubstr("canary77")))));
}

TEST(ProjectRulesTest, Strategies) {
  EXPECT_THAT(JobErrors("table: t", "table: t, strategy: full"), IsEmpty());
  EXPECT_THAT(
      JobErrors("table: t", "table: t"),
      ElementsAre("6:5: jobs.orders.source.watermark: missing: the strategy incremental needs a watermark: name a "
                  "column, or use strategy: full"));
  EXPECT_THAT(JobErrors("table: t", "table: t, strategy: upsert"),
              ElementsAre(HasSubstr("jobs.orders.source.watermark: missing: the strategy upsert needs a watermark"),
                          "7:5: jobs.orders.target.key: missing: the strategy upsert needs a key"));
  EXPECT_THAT(JobErrors("table: t, watermark: w", "table: t, strategy: upsert, key: [id]"), IsEmpty());
}

TEST(ProjectRulesTest, AppendThatReadsRowsAgainNeedsAKey) {
  EXPECT_THAT(JobErrors("table: t, watermark: w, lookback: 15m", "table: t"),
              ElementsAre(HasSubstr("source.lookback: an append with lookback")));
  EXPECT_THAT(JobErrors("table: t, watermark: w, lookback: 15m", "table: t, key: [id]"), IsEmpty());
  EXPECT_THAT(
      JobErrors("table: t, watermark: w, stamped_by: application", "table: t"),
      ElementsAre(HasSubstr("source.stamped_by: the clock of an application bounds nothing: give a lookback"),
                  HasSubstr("source.stamped_by: an append that is stamped by an application needs target.key")));
  EXPECT_THAT(JobErrors("table: t, watermark: w, stamped_by: application, lookback: 1h", "table: t"),
              ElementsAre(HasSubstr("source.lookback")));
  EXPECT_THAT(JobErrors("table: t, watermark: w, stamped_by: application, lookback: 0s", "table: t, key: [id]"),
              ElementsAre("6:82: jobs.orders.source.lookback: the clock of an application bounds nothing: give a "
                          "lookback longer than 0s"));
  EXPECT_THAT(JobErrors("table: t, watermark: w, lookback: 0s", "table: t, key: [id]"), IsEmpty());
  EXPECT_THAT(JobErrors("table: t, watermark: w, null_watermark: reread", "table: t"),
              ElementsAre(HasSubstr("source.null_watermark: reread needs target.key")));
}

TEST(ProjectRulesTest, Relations) {
  EXPECT_THAT(JobErrors("watermark: w", "table: t"), ElementsAre(HasSubstr("needs a table or a query")));
  EXPECT_THAT(JobErrors("table: t, query: SELECT 1, watermark: w", "table: t"),
              ElementsAre(HasSubstr("source.query: give a table or a query, not both")));
  EXPECT_THAT(JobErrors("query: 'SELECT * FROM t WHERE w > :last_watermark'", "table: t, strategy: full"),
              ElementsAre(HasSubstr("source.query: uses :last_watermark")));
  EXPECT_THAT(JobErrors("table: t, partitions: 8, partition: {rows: 5}", "table: t, strategy: full"),
              ElementsAre(HasSubstr("source.partitions: give partition or partitions, not both")));
  EXPECT_THAT(JobErrors("table: t, lookback: 1h", "table: t, strategy: full"),
              ElementsAre(HasSubstr("source.lookback: has no meaning without a watermark")));
  EXPECT_THAT(Errors(absl::StrCat(kConnections, "jobs:\n  a:\n    source: {connection: shop, table: t}\n",
                                  "    target: {connection: shop, table: t, strategy: full}\n")),
              ElementsAre("7:32: jobs.a.target.table: source and target are the same table"));
}

TEST(ProjectTest, OnlyUtf8) {
  EXPECT_THAT(Errors("connections:\n  a: { dsn: 'sqlite:\xe9.db' }\n"),
              ElementsAre(HasSubstr("2:21: a byte here is no UTF-8")));
  EXPECT_THAT(Errors(std::string(600, '[')), ElementsAre(HasSubstr("nested too deep")));
}

TEST(ProjectRulesTest, OneTargetTableForOneJob) {
  EXPECT_THAT(Errors(absl::StrCat(kConnections, "  again: { dsn: 'sqlite:///p/./shop.db' }\njobs:\n",
                                  "  a:\n    source: {connection: warehouse, table: t}\n",
                                  "    target: {connection: shop, table: t, strategy: full}\n",
                                  "  b:\n    source: {connection: warehouse, table: u}\n",
                                  "    target: {connection: again, table: t, strategy: full}\n")),
              ElementsAre("11:33: jobs.b.target.table: the job a already loads this table"));
}

TEST(ProjectRulesTest, TwoNamesForOneDatabaseAreOneTarget) {
  const std::string connections =
      absl::StrCat(kConnections, "  again: { dsn: 'postgres://other@DB:5432/wh' }\njobs:\n");
  EXPECT_THAT(Errors(absl::StrCat(connections, "  a:\n    source: {connection: shop, table: t}\n",
                                  "    target: {connection: warehouse, table: t, strategy: full}\n",
                                  "  b:\n    source: {connection: shop, table: u}\n",
                                  "    target: {connection: again, table: t, strategy: full}\n")),
              ElementsAre("11:33: jobs.b.target.table: the job a already loads this table"));
  EXPECT_THAT(Errors(absl::StrCat(connections, "  a:\n    source: {connection: again, table: t}\n",
                                  "    target: {connection: warehouse, table: t, strategy: full}\n")),
              ElementsAre("8:37: jobs.a.target.table: source and target are the same table"));
}

TEST(ReferenceTest, FilesAndEscapes) {
  const std::filesystem::path folder = std::filesystem::path(::testing::TempDir()) / "reference_test";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "table") << "from_file\n";
  const absl::StatusOr<Project> project = ParseProject(
      absl::StrCat(kConnections,
                   "jobs:\n  a:\n    source: {connection: shop, table: 'x.${file:table}', watermark: '$${w}'}\n",
                   "    target: {connection: warehouse, table: t}\n"),
      (folder / "p.yaml").string(), TestOptions());
  ASSERT_TRUE(project.ok()) << project.status();
  EXPECT_EQ(project->jobs[0].source().table(), "x.from_file");
  EXPECT_EQ(project->jobs[0].source().watermark(), "${w}");
  EXPECT_EQ(project->FindConnection("shop")->dsn(), absl::StrCat("sqlite:", (folder / "shop.db").string()));
  std::filesystem::remove_all(folder);
}

TEST(ReferenceTest, InSecretsTheyStayWhereTheyAreForOthersToResolve) {
  ProjectOptions options = TestOptions();
  options.keep_secret_references = true;
  options.check_dsn = [](std::string_view dsn) {
    return dsn.starts_with("ftp:") ? absl::InvalidArgumentError("unknown scheme") : absl::OkStatus();
  };
  const auto parse = [&](const char* dsn) {
    return ParseProject(absl::StrCat("connections:\n  a: { dsn: '", dsn, R"(', max_connections: "${env:N}" }
jobs:
  j:
    source: { connection: a, table: "${env:WORD}", watermark: w }
    target: { connection: a, table: t }
)"),
                        "/p/$${x}/tidemark.yaml", options);
  };
  for (const auto& [dsn, kept] :
       std::vector<std::pair<std::string, std::string>>{{"${env:NOWHERE}", "${env:NOWHERE}"},
                                                        {"ftp:${file:none}", "ftp:${file:none}"},
                                                        {"sqlite:${env:NOWHERE}.db", "sqlite:${env:NOWHERE}.db"},
                                                        {"sqlite:a$${b}.db", "sqlite:/p/$$${x}/a$${b}.db"},
                                                        {"postgresql://me:$${@db/x", "postgresql://me:$${@db/x"}}) {
    const absl::StatusOr<Project> project = parse(dsn.c_str());
    ASSERT_TRUE(project.ok()) << project.status();
    EXPECT_EQ(project->connections[0].dsn(), kept);
    EXPECT_EQ(project->connections[0].max_connections(), 7);
    EXPECT_EQ(project->jobs[0].source().table(), "canary77");
  }
  EXPECT_THAT(parse("ftp:x").status().message(), HasSubstr("2:13: connections.a.dsn: unknown scheme"));
  EXPECT_THAT(parse("${env:A}${vault:x}").status().message(), HasSubstr("${vault:x} is not a reference"));
}

TEST(ReferenceTest, MissingOnesAreNamedAtTheirPlace) {
  EXPECT_THAT(JobErrors("table: '${env:NOPE}'", "table: '${file:nope}', strategy: full"),
              ElementsAre("6:40: jobs.orders.source.table: the environment variable NOPE is not set",
                          HasSubstr("7:45: jobs.orders.target.table: ${file:nope}: cannot read it: No such file")));
  EXPECT_THAT(JobErrors("table: '${vault:x}'", "table: '${env:N', strategy: full"),
              ElementsAre(HasSubstr("${vault:x} is not a reference"), HasSubstr("has no closing }")));
}

TEST(ReferenceTest, ValuesAreNeverShown) {
  ProjectOptions options = TestOptions();
  options.check_dsn = [](std::string_view dsn) {
    return dsn.starts_with("sqlite:") ? absl::OkStatus() : absl::InvalidArgumentError("unknown scheme");
  };
  const absl::StatusOr<Project> project = ParseProject(R"(connections:
  shop: { dsn: "${env:DSN}", max_connections: "${env:WORD}" }
  other: { dsn: "etl:canary77@db" }
  more: { dsn: "canary77@db" }
jobs:
  a:
    source: { connection: shop, table: t, lookback: "${env:WORD}", stamped_by: "${env:WORD}", watermark_timezone: "${env:WORD}" }
    target: { connection: other, table: t, key: [a] }
)",
                                                       "p.yaml", options);
  ASSERT_FALSE(project.ok());
  const std::string message(project.status().message());
  EXPECT_THAT(message, Not(HasSubstr("canary77")));
  EXPECT_THAT(message,
              HasSubstr("p.yaml:2:47: connections.shop.max_connections: expected a whole number, found what the "
                        "reference holds"));
  EXPECT_THAT(message, HasSubstr("p.yaml:2:16: connections.shop.dsn: unknown scheme"));
  EXPECT_THAT(message, HasSubstr("p.yaml:4:16: connections.more.dsn: a DSN starts with its scheme"));
}

TEST(SuggestionTest, OnlyWhatIsNear) {
  const std::vector<std::string> known = {"orders", "customers"};
  EXPECT_EQ(Suggestion("ordrs", known), "; did you mean \"orders\"?");
  EXPECT_EQ(Suggestion("customer", known), "; did you mean \"customers\"?");
  EXPECT_EQ(Suggestion("x", known), "");
  EXPECT_EQ(Suggestion("invoices", known), "");
}

TEST(JsonSchemaTest, HoldsTheTableOfKeys) {
  const nlohmann::json schema = nlohmann::json::parse(ProjectJsonSchema());
  const nlohmann::json& job = schema["properties"]["jobs"]["patternProperties"].begin().value();
  EXPECT_EQ(job["additionalProperties"], false);
  EXPECT_EQ(job["required"], nlohmann::json({"source", "target"}));
  EXPECT_FALSE(job["properties"].contains("transform"));
  const nlohmann::json& target = job["properties"]["target"];
  EXPECT_EQ(target["properties"]["strategy"]["anyOf"][0]["enum"], nlohmann::json({"full", "incremental", "upsert"}));
  EXPECT_EQ(target["properties"]["strategy"]["default"], "incremental");
  const nlohmann::json& connection = schema["properties"]["connections"]["patternProperties"].begin().value();
  EXPECT_EQ(connection["properties"]["max_connections"]["default"], 4);
  EXPECT_EQ(connection["properties"]["max_connections"]["anyOf"][0]["minimum"], 1);
}

}  // namespace
}  // namespace tidemark
