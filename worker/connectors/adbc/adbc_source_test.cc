// Through drivers that Tidemark knows nothing of: DuckDB's and SQLite's, by what any driver has.
#include "worker/connectors/adbc/adbc_source.h"

#include <arrow/array/array_base.h>
#include <arrow/record_batch.h>
#include <arrow/scalar.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/secret/dsn.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"
#include "worker/connectors/adbc/adbc_connection.h"
#include "worker/connectors/adbc/adbc_connector.h"

namespace tidemark::adbc {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;
using Type = v1::LogicalType;

class AdbcSource : public ::testing::Test {
 protected:
  // Writes by the driver itself, into the database that `dsn` means.
  void Sql(const std::string& driver, const std::string& entrypoint,
           const std::vector<std::pair<std::string, std::string>>& options,
           const std::vector<std::string>& statements) {
    const auto loaded = LoadDriver(driver, entrypoint, policy_);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    const auto database = Database::Open(*loaded, options);
    ASSERT_TRUE(database.ok()) << database.status();
    const auto connection = (*database)->Connect();
    ASSERT_TRUE(connection.ok()) << connection.status();
    for (const std::string& sql : statements) {
      const auto done = (*connection)->Execute(sql);
      ASSERT_TRUE(done.ok()) << done.status();
    }
  }
  void Duckdb(const std::vector<std::string>& statements) {
    Sql(TIDEMARK_DUCKDB_LIBRARY, "duckdb_adbc_init", {{"path", path_}}, statements);
  }
  void Sqlite(const std::vector<std::string>& statements) {
    Sql("adbc_driver_sqlite", "", {{"uri", path_}}, statements);
  }
  std::string DuckdbDsn() const {
    return absl::StrCat("adbc:", TIDEMARK_DUCKDB_LIBRARY, "?entrypoint=duckdb_adbc_init&path=", PercentEncode(path_));
  }
  std::string SqliteDsn() const { return absl::StrCat("adbc:adbc_driver_sqlite?uri=", PercentEncode(path_)); }

  static v1::JobSpec Job(const std::string& table, const std::string& watermark = "") {
    v1::JobSpec job;
    job.mutable_source()->set_table(table);
    job.mutable_source()->set_watermark(watermark);
    job.mutable_target()->set_strategy(watermark.empty() ? v1::LOAD_STRATEGY_FULL : v1::LOAD_STRATEGY_INCREMENTAL);
    return job;
  }
  std::unique_ptr<SourceSession> Source(const std::string& dsn, const v1::JobSpec& job) const {
    v1::ConnectionSpec connection;
    connection.set_dsn(dsn);
    auto session = AdbcConnector(policy_).OpenSource(connection, job, {});
    EXPECT_TRUE(session.ok()) << session.status();
    return *std::move(session);
  }
  static absl::StatusOr<std::vector<std::string>> FirstColumn(SourceSession& session, const v1::Window& window = {},
                                                              const v1::KeyRange& range = {}) {
    const auto description = session.Describe();
    if (!description.ok()) return description.status();
    ReadRequest request;
    request.schema = description->schema;
    request.window = window;
    request.range = range;
    const auto reader = session.Read(request);
    if (!reader.ok()) return reader.status();
    std::vector<std::string> cells;
    while (true) {
      const auto chunk = (*reader)->Next();
      if (!chunk.ok()) return chunk.status();
      if (!*chunk) break;
      for (int64_t i = 0; i < (*chunk)->rows(); ++i) {
        cells.push_back((*(*chunk)->arrow()->column(0)->GetScalar(i))->ToString());
      }
    }
    return cells;
  }
  static v1::Window Between(const v1::Watermark& low, const v1::Watermark& high) {
    v1::Window window;
    *window.mutable_low() = low;
    *window.mutable_high() = high;
    return window;
  }

  test::TempDir directory_;
  const std::string path_ = directory_.File("a.db");
  const DriverPolicy policy_ = {.folder = TIDEMARK_ADBC_DRIVERS, .any_path = true};
};

TEST_F(AdbcSource, ATableIsReadWithTheTypesTheDriverTells) {
  Duckdb({"CREATE TABLE t (id INTEGER, price DECIMAL(10,2), ts TIMESTAMPTZ, note VARCHAR)",
          "INSERT INTO t SELECT range, range / 4, TIMESTAMPTZ '2024-01-01 00:00:00+00', 'x' FROM range(5000)"});
  const auto session = Source(DuckdbDsn(), Job("main.t"));
  const auto description = session->Describe();
  ASSERT_TRUE(description.ok()) << description.status();
  EXPECT_FALSE(description->capabilities.snapshot());
  EXPECT_FALSE(description->capabilities.horizon());
  EXPECT_THAT(description->notes, Contains(HasSubstr("not tested with the ADBC driver")));
  EXPECT_EQ(description->schema.columns(1).type().kind(), Type::KIND_DECIMAL);
  EXPECT_EQ(description->schema.columns(2).type().kind(), Type::KIND_TIMESTAMPTZ);
  EXPECT_EQ(FirstColumn(*session)->size(), 5000u);
  EXPECT_TRUE(session->DescribePartitions({}, "", 4)->empty());
  EXPECT_TRUE(absl::IsUnimplemented(session->OpenSnapshot().status()));
  EXPECT_FALSE(Source(DuckdbDsn(), Job("nowhere"))->Describe().ok());
}

TEST_F(AdbcSource, AWindowOfTimesEndsAtTheGreatestSeenAndLooksBack) {
  Duckdb({"CREATE TABLE t (id INTEGER, ts TIMESTAMPTZ)"});
  const auto probe = [&](const std::optional<LastWindow>& last) {
    const auto probed = Source(DuckdbDsn(), Job("t", "ts"))->ProbeHorizon(last);
    EXPECT_TRUE(probed.ok()) << probed.status();
    return *probed;
  };
  const HorizonProbe nothing = probe(std::nullopt);
  Duckdb(
      {"INSERT INTO t SELECT range, TIMESTAMPTZ '2024-01-01 00:00:00.5+00' + INTERVAL 1 HOUR * range FROM range(5)"});
  const HorizonProbe first = probe(LastWindow(nothing.high));
  EXPECT_EQ(first.completeness.level(), v1::Completeness::LEVEL_LOOKBACK);
  EXPECT_EQ(first.completeness.lookback_seconds(), 15 * 60);
  EXPECT_THAT(first.completeness.premises(0), HasSubstr("not tested"));
  EXPECT_FALSE(first.empty);
  // One at a time: DuckDB's file has one handle in a process.
  EXPECT_EQ(FirstColumn(*Source(DuckdbDsn(), Job("t", "ts")), Between(nothing.high, first.high))->size(), 5u);
  // A row that commits late, below the greatest.
  Duckdb({"INSERT INTO t VALUES (9, TIMESTAMPTZ '2024-01-01 03:50:00+00')"});
  const HorizonProbe second = probe(LastWindow(first.high));
  EXPECT_FALSE(second.empty);
  EXPECT_EQ(second.high.text(), first.high.text());
  ASSERT_TRUE(second.effective_low.has_value());
  const auto session = Source(DuckdbDsn(), Job("t", "ts"));
  EXPECT_THAT(*FirstColumn(*session, Between(*second.effective_low, second.high)), UnorderedElementsAre("9", "4"));
  EXPECT_TRUE(*session->IsAbove(first.high, nothing.high));
}

TEST_F(AdbcSource, WhatHasNoOrderIsNoWatermark) {
  Duckdb({"CREATE TABLE t (id INTEGER, note VARCHAR, l INTEGER[])"});
  EXPECT_TRUE(absl::IsInvalidArgument(Source(DuckdbDsn(), Job("t"))->Describe().status()));
  v1::JobSpec job = Job("", "note");
  job.mutable_source()->set_query("SELECT id, note FROM t");
  EXPECT_TRUE(absl::IsInvalidArgument(Source(DuckdbDsn(), job)->ProbeHorizon(std::nullopt).status()));
}

TEST_F(AdbcSource, SqlitesDriverIsReadByItsName) {
  Sqlite({"CREATE TABLE t (id INTEGER, n INTEGER, note TEXT)",
          "INSERT INTO t VALUES (1, 10, 'a'), (2, 20, 'b'), (3, NULL, 'c'), (4, 40, NULL)"});
  const auto session = Source(SqliteDsn(), Job("t", "id"));
  EXPECT_THAT(*FirstColumn(*session), ElementsAre("1", "2", "3", "4"));
  EXPECT_EQ(session->Describe()->schema.columns(2).type().kind(), Type::KIND_STRING);
  const auto probe = session->ProbeHorizon(std::nullopt);
  ASSERT_TRUE(probe.ok()) << probe.status();
  EXPECT_EQ(probe->high.text(), "4");
  EXPECT_EQ(probe->completeness.level(), v1::Completeness::LEVEL_LOOKBACK);
  EXPECT_TRUE(session->ProbeHorizon(LastWindow(probe->high))->empty);
  v1::Watermark low;
  low.set_text("3");
  EXPECT_THAT(*FirstColumn(*session, Between(low, probe->high)), ElementsAre("4"));

  v1::JobSpec job = Job("", "n");
  job.mutable_source()->set_query("SELECT id, n FROM t WHERE n > :last_watermark -- the end");
  const auto query = Source(SqliteDsn(), job);
  EXPECT_THAT(*FirstColumn(*query), ElementsAre("1", "2", "4"));
  low.set_text("10");
  EXPECT_THAT(*FirstColumn(*query, Between(low, low)), ElementsAre());
  EXPECT_EQ(*Source(SqliteDsn(), Job("t", "n"))->CountNullWatermarks(), 1);
}

TEST_F(AdbcSource, AColumnThatIsSomethingElseInALaterRowIsRefused) {
  Sqlite(
      {"CREATE TABLE t (id INTEGER, v)",
       "INSERT INTO t SELECT value, value FROM (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM "
       "n WHERE value < 3000) SELECT value FROM n)",
       "UPDATE t SET v = 'text' WHERE id = 2500"});
  EXPECT_FALSE(FirstColumn(*Source(SqliteDsn(), Job("t"))).ok());
}

TEST_F(AdbcSource, AGivenKeyIsCutInEvenSteps) {
  Sqlite({"CREATE TABLE t (id INTEGER, part INTEGER)",
          "INSERT INTO t VALUES (1, -5), (2, 0), (3, NULL), (4, 7), (5, 94)"});
  const auto session = Source(SqliteDsn(), Job("t"));
  const auto facts = session->DescribePartitions({}, "part", 4);
  ASSERT_TRUE(facts.ok()) << facts.status();
  ASSERT_EQ(facts->front().quantiles_size(), 3);
  EXPECT_EQ(facts->front().quantiles(0).values(0), "20");
  EXPECT_TRUE(facts->front().nullable());
  v1::KeyRange range;
  range.set_partitioning(v1::PARTITIONING_KEY);
  range.add_columns("part");
  *range.mutable_upper() = facts->front().quantiles(0);
  EXPECT_THAT(*FirstColumn(*session, {}, range), ElementsAre("1", "2", "4"));
  range.mutable_lower()->Swap(range.mutable_upper());
  range.clear_upper();
  EXPECT_THAT(*FirstColumn(*session, {}, range), ElementsAre("5"));
  range.set_nulls(true);
  EXPECT_THAT(*FirstColumn(*session, {}, range), ElementsAre("3"));
  EXPECT_FALSE(session->DescribePartitions({}, "no_column", 4).ok());
}

TEST_F(AdbcSource, OnlyWhatThePolicyNamesIsLoaded) {
  const auto load = [](const std::string& driver, const DriverPolicy& policy) {
    return LoadDriver(driver, "", policy).status();
  };
  const DriverPolicy folder = {.folder = TIDEMARK_ADBC_DRIVERS};
  EXPECT_TRUE(load("adbc_driver_sqlite", folder).ok());
  EXPECT_TRUE(absl::IsPermissionDenied(load("adbc_driver_sqlite", {})));
  EXPECT_TRUE(absl::IsPermissionDenied(load(TIDEMARK_DUCKDB_LIBRARY, folder)));
  EXPECT_TRUE(absl::IsPermissionDenied(load("../lib/libadbc_driver_sqlite.so", folder)));
  EXPECT_TRUE(absl::IsNotFound(load("snowflake", folder)));
  EXPECT_TRUE(absl::IsInvalidArgument(load("..", folder)));
  EXPECT_TRUE(absl::IsInvalidArgument(load("", folder)));
  EXPECT_TRUE(absl::IsNotFound(load("/no/such/library.so", {.folder = "", .any_path = true})));
  const absl::Status entry = LoadDriver("adbc_driver_sqlite", "no_such_symbol", folder).status();
  EXPECT_THAT(std::string(entry.message()), HasSubstr("no_such_symbol"));
}

TEST_F(AdbcSource, NoOptionLoadsAnotherLibrary) {
  // The driver manager would take these for a driver of its own finding.
  for (const std::string option : {"driver=", "profile=", "uri=profile:///"}) {
    v1::ConnectionSpec connection;
    connection.set_dsn(absl::StrCat("adbc:adbc_driver_sqlite?", option, PercentEncode(TIDEMARK_DUCKDB_LIBRARY)));
    const auto session =
        AdbcConnector({.folder = TIDEMARK_ADBC_DRIVERS}).OpenSource(connection, Job("sqlite_schema"), {});
    const absl::Status status = session.ok() ? (*session)->Describe().status() : session.status();
    EXPECT_THAT(std::string(status.message()), ::testing::Not(HasSubstr("DuckDB"))) << option;
    EXPECT_THAT(std::string(status.message()), ::testing::Not(HasSubstr("entry"))) << option;
  }
}

TEST_F(AdbcSource, ADsnIsCheckedWithoutItsSecrets) {
  const AdbcConnector connector({});
  EXPECT_TRUE(connector.CheckDsn("adbc:snowflake?adbc.snowflake.sql.auth=x&password=s3cret").ok());
  const absl::Status status = connector.CheckDsn("adbc:?password=s3cret");
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("adbc:DRIVER"), ::testing::Not(HasSubstr("s3cret"))));
}

}  // namespace
}  // namespace tidemark::adbc
