#include "worker/connectors/duckdb/duckdb_source.h"

#include <arrow/array/array_base.h>
#include <arrow/record_batch.h>
#include <arrow/scalar.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"
#include "worker/connector/writer_queue.h"
#include "worker/connectors/duckdb/duckdb_file.h"

namespace tidemark::duckdb {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;
using Cells = std::vector<std::string>;
using Type = v1::LogicalType;

class DuckdbSource : public ::testing::Test {
 protected:
  std::unique_ptr<FileConnection> Open() const {
    auto file = FileConnection::Open(path_, FileConnection::Mode::kCreate);
    EXPECT_TRUE(file.ok()) << file.status();
    return *std::move(file);
  }
  static void Exec(FileConnection& file, const std::string& sql) {
    const auto done = file->Execute(sql);
    ASSERT_TRUE(done.ok()) << sql << ": " << done.status();
  }
  void Sql(const std::vector<std::string>& statements) const {
    const auto file = Open();
    for (const std::string& sql : statements) Exec(*file, sql);
  }
  std::string Scalar(const std::string& sql) const {
    const auto rows = (*Open())->Query(sql);
    EXPECT_TRUE(rows.ok()) << rows.status();
    return rows->at(0).at(0).value_or("NULL");
  }

  static v1::JobSpec Job(const std::string& table, const std::string& watermark = "") {
    v1::JobSpec job;
    job.mutable_source()->set_table(table);
    job.mutable_source()->set_watermark(watermark);
    job.mutable_target()->set_strategy(watermark.empty() ? v1::LOAD_STRATEGY_FULL : v1::LOAD_STRATEGY_INCREMENTAL);
    return job;
  }
  static v1::JobSpec QueryJob(const std::string& query, const std::string& watermark = "") {
    v1::JobSpec job = Job("", watermark);
    job.mutable_source()->set_query(query);
    return job;
  }
  std::unique_ptr<SourceSession> Source(const v1::JobSpec& job) const {
    auto session = OpenSourceSession(path_, job);
    EXPECT_TRUE(session.ok()) << session.status();
    return *std::move(session);
  }

  static absl::StatusOr<std::vector<Cells>> Read(SourceSession& session, const v1::Window& window = {},
                                                 const v1::KeyRange& range = {}) {
    const auto description = session.Describe();
    if (!description.ok()) return description.status();
    ReadRequest request;
    request.schema = description->schema;
    request.window = window;
    request.range = range;
    const auto reader = session.Read(request);
    if (!reader.ok()) return reader.status();
    std::vector<Cells> rows;
    while (true) {
      const auto chunk = (*reader)->Next();
      if (!chunk.ok()) return chunk.status();
      if (!*chunk) return rows;
      for (int64_t i = 0; i < (*chunk)->rows(); ++i) {
        Cells& row = rows.emplace_back();
        for (const auto& column : (*chunk)->arrow()->columns()) row.push_back((*column->GetScalar(i))->ToString());
      }
    }
  }
  static std::vector<std::string> FirstColumn(SourceSession& session, const v1::Window& window = {},
                                              const v1::KeyRange& range = {}) {
    const auto rows = Read(session, window, range);
    EXPECT_TRUE(rows.ok()) << rows.status();
    std::vector<std::string> cells;
    if (rows.ok()) {
      for (const Cells& row : *rows) cells.push_back(row[0]);
    }
    std::sort(cells.begin(), cells.end());
    return cells;
  }
  // What becomes of the rows of `values`, beside an id, in a column of `type`.
  std::string RefusalOf(const std::string& type, const std::string& value) {
    const std::string table = absl::StrCat("r", ++tables_);
    Sql({absl::StrCat("CREATE TABLE ", table, " (id INTEGER, v ", type, ")"),
         absl::StrCat("INSERT INTO ", table, " VALUES (1, NULL), (2, ", value, ")")});
    const absl::Status status = Read(*Source(Job(table))).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << type << ": " << status;
    return std::string(status.message());
  }
  HorizonProbe Probe(const v1::JobSpec& job, const std::optional<LastWindow>& last = std::nullopt) const {
    const auto probe = Source(job)->ProbeHorizon(last);
    EXPECT_TRUE(probe.ok()) << probe.status();
    return probe.ok() ? *probe : HorizonProbe();
  }

  static v1::Watermark At(const std::string& text) {
    v1::Watermark watermark;
    watermark.set_text(text);
    return watermark;
  }
  static v1::Window Between(const std::string& low, const std::string& high) {
    v1::Window window;
    if (!low.empty()) *window.mutable_low() = At(low);
    if (!high.empty()) *window.mutable_high() = At(high);
    return window;
  }

  test::TempDir directory_;
  const std::string path_ = directory_.File("a.duckdb");

 private:
  int tables_ = 0;
};

TEST_F(DuckdbSource, EveryTypeIsReadAsItIs) {
  const std::vector<std::tuple<std::string, std::string, Type::Kind, std::string>> zoo = {
      {"BOOLEAN", "true", Type::KIND_BOOL, "true"},
      {"TINYINT", "-128", Type::KIND_INT16, "-128"},
      {"UTINYINT", "255", Type::KIND_INT16, "255"},
      {"SMALLINT", "-32768", Type::KIND_INT16, "-32768"},
      {"USMALLINT", "65535", Type::KIND_INT32, "65535"},
      {"INTEGER", "-2147483648", Type::KIND_INT32, "-2147483648"},
      {"UINTEGER", "4294967295", Type::KIND_INT64, "4294967295"},
      {"BIGINT", "-9223372036854775808", Type::KIND_INT64, "-9223372036854775808"},
      {"UBIGINT", "18446744073709551615", Type::KIND_UINT64, "18446744073709551615"},
      {"HUGEINT", "-170141183460469231731687303715884105728", Type::KIND_DECIMAL,
       "-170141183460469231731687303715884105728"},
      {"UHUGEINT", "340282366920938463463374607431768211455", Type::KIND_DECIMAL,
       "340282366920938463463374607431768211455"},
      {"BIGNUM", "1234567890123456789012345678901234567890123", Type::KIND_DECIMAL,
       "1234567890123456789012345678901234567890123"},
      {"FLOAT", "0.1", Type::KIND_FLOAT32, "0.1"},
      {"DOUBLE", "nan", Type::KIND_FLOAT64, "nan"},
      {"DECIMAL(5,2)", "-1.50", Type::KIND_DECIMAL, "-1.50"},
      {"DECIMAL(38,10)", "1234567890123456789012345678.0123456789", Type::KIND_DECIMAL,
       "1234567890123456789012345678.0123456789"},
      {"VARCHAR", "grüße 🌊", Type::KIND_STRING, "grüße 🌊"},
      {"ENUM('low', 'high')", "high", Type::KIND_STRING, "high"},
      {"DATE", "0044-03-15 (BC)", Type::KIND_DATE, "-0043-03-15"},
      {"TIME", "23:59:59.999999", Type::KIND_TIME, "23:59:59.999999"},
      {"TIME_NS", "23:59:59.123456789", Type::KIND_OTHER, "23:59:59.123456789"},
      {"TIMETZ", "10:00:00+02", Type::KIND_OTHER, "10:00:00+02"},
      {"TIMESTAMP", "9999-12-31 23:59:59.999999", Type::KIND_TIMESTAMP, "9999-12-31 23:59:59.999999"},
      {"TIMESTAMP_S", "2024-01-01 00:00:01", Type::KIND_TIMESTAMP, "2024-01-01 00:00:01.000000"},
      {"TIMESTAMP_MS", "2024-01-01 00:00:01.250", Type::KIND_TIMESTAMP, "2024-01-01 00:00:01.250000"},
      {"TIMESTAMP_NS", "2024-01-01 00:00:01.250001", Type::KIND_TIMESTAMP, "2024-01-01 00:00:01.250001"},
      {"TIMESTAMPTZ", "2024-03-31 01:30:00.5+02", Type::KIND_TIMESTAMPTZ, "2024-03-30 23:30:00.500000Z"},
      {"INTERVAL", "1 year 2 months 3 days 4.5 seconds", Type::KIND_INTERVAL, "1 year 2 months 3 days 00:00:04.5"},
      {"UUID", "ffeeddcc-bbaa-9988-7766-554433221100", Type::KIND_UUID,
       std::string("\xFF\xEE\xDD\xCC\xBB\xAA\x99\x88\x77\x66\x55\x44\x33\x22\x11\x00", 16)},
      {"JSON", "{\"a\": [1, 1.0, null]}", Type::KIND_JSON, "{\"a\": [1, 1.0, null]}"},
      {"BIT", "0101", Type::KIND_OTHER, "0101"},
      {"BLOB", "\\x00\\xFF", Type::KIND_BYTES, std::string("\x00\xFF", 2)},
      {"DECIMAL(38,9)[]", "[12345678901234567890.123456789, NULL]", Type::KIND_JSON,
       "[12345678901234567890.123456789,null]"},
      {"DOUBLE[2]", "[0.1, 1e300]", Type::KIND_JSON, "[0.1,1e300]"},
      {"STRUCT(a INTEGER, b VARCHAR[])", "{'a': 1, 'b': ['NaN', 'I']}", Type::KIND_JSON, R"({"a":1,"b":["NaN","I"]})"},
      {"STRUCT(a FLOAT, b VARCHAR)", "{'a': 0.5, 'b': 'NaN \"I'}", Type::KIND_JSON, R"({"a":0.5,"b":"NaN \"I"})"},
      {"MAP(INTEGER, VARCHAR)", "{1=x, 2=y}", Type::KIND_JSON, R"({"1":"x","2":"y"})"},
      {"UNION(n INTEGER, t VARCHAR)", "7", Type::KIND_JSON, ""},
  };
  const auto file = Open();
  for (const auto& [type, value, kind, expected] : zoo) {
    SCOPED_TRACE(type);
    Exec(*file, absl::StrCat("CREATE OR REPLACE TABLE zoo (v ", type, ")"));
    if (type.rfind("UNION", 0) == 0) {
      Exec(*file, "INSERT INTO zoo VALUES (7), (NULL)");
    } else {
      std::string quoted;
      for (const char c : value) quoted.append(c == '\'' ? "''" : std::string(1, c));
      Exec(*file, absl::StrCat("INSERT INTO zoo VALUES (CAST('", quoted, "' AS ", type, ")), (NULL)"));
    }
    const auto session = Source(Job("zoo"));
    const auto description = session->Describe();
    ASSERT_TRUE(description.ok()) << description.status();
    EXPECT_EQ(description->schema.columns(0).type().kind(), kind);
    const auto rows = Read(*session);
    ASSERT_TRUE(rows.ok()) << rows.status();
    EXPECT_THAT(*rows, ElementsAre(ElementsAre(expected.empty() ? R"({"n":7})" : expected), ElementsAre("null")));
  }
}

TEST_F(DuckdbSource, WhatItsTypeCannotHoldIsRefusedByItsColumn) {
  EXPECT_THAT(RefusalOf("DATE", "'infinity'"), AllOf(HasSubstr("column v (DATE)"), HasSubstr("infinite")));
  EXPECT_THAT(RefusalOf("TIMESTAMP", "'-infinity'"), HasSubstr("infinite"));
  EXPECT_THAT(RefusalOf("TIMESTAMPTZ", "'infinity'"), HasSubstr("infinite"));
  EXPECT_THAT(RefusalOf("TIMESTAMP_S", "'infinity'"), HasSubstr("column v"));
  EXPECT_THAT(RefusalOf("TIMESTAMP_NS", "'2024-01-01 00:00:00.000000001'"), HasSubstr("column v (TIMESTAMP_NS)"));
  EXPECT_THAT(RefusalOf("DOUBLE[]", "[1, 'NaN'::DOUBLE]"), AllOf(HasSubstr("column v (DOUBLE[])"), HasSubstr("NaN")));
  EXPECT_THAT(RefusalOf("STRUCT(f FLOAT)", "{'f': '-inf'}"), HasSubstr("infinity"));
  EXPECT_THAT(std::string(Source(QueryJob("SELECT 1::VARIANT AS v"))->Describe().status().message()),
              AllOf(HasSubstr("column v"), HasSubstr("VARIANT"), HasSubstr("source.query")));
}

TEST_F(DuckdbSource, TheCatalogIsTold) {
  Sql({"CREATE SCHEMA \"My Shop\"", "CREATE TABLE \"My Shop\".\"Order\" (id BIGINT PRIMARY KEY, note VARCHAR)",
       "INSERT INTO \"My Shop\".\"Order\" SELECT range, 'x' FROM range(100)",
       "CREATE VIEW orders AS SELECT id FROM \"My Shop\".\"Order\""});
  const auto session = Source(Job("\"My Shop\".\"Order\""));
  const auto table = session->Describe();
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_THAT(table->schema.primary_key(), ElementsAre("id"));
  EXPECT_FALSE(table->schema.columns(0).nullable());
  EXPECT_EQ(table->schema.columns(1).native_type(), "VARCHAR");
  EXPECT_TRUE(table->schema.columns(1).nullable());
  EXPECT_EQ(table->estimated_rows, 100);
  EXPECT_TRUE(table->capabilities.snapshot());
  EXPECT_FALSE(table->capabilities.snapshot_export());
  EXPECT_NE(table->identity, "");
  const auto view = Source(Job("ORDERS"))->Describe();
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_EQ(view->schema.primary_key_size(), 0);
  EXPECT_EQ(view->identity, table->identity);
  EXPECT_NE(view->table_identity, table->table_identity);
  EXPECT_TRUE(absl::IsNotFound(Source(Job("nowhere"))->Describe().status()));
  EXPECT_TRUE(absl::IsNotFound(Source(Job("orders", "no_column"))->Describe().status()));
  EXPECT_TRUE(absl::IsNotFound(OpenSourceSession(directory_.File("no.duckdb"), Job("t")).status()));
}

TEST_F(DuckdbSource, AQueryMayOnlyReadTheFile) {
  const std::string secret = directory_.Write("secret.csv", "a\n1\n");
  Sql({"CREATE TABLE t (id INTEGER)", "INSERT INTO t VALUES (1)", "CREATE SEQUENCE s"});
  for (const std::string& query :
       {std::string("DELETE FROM t RETURNING id"), std::string("SELECT 1; DELETE FROM t"),
        std::string("SELECT nextval('s') AS id"), absl::StrCat("SELECT * FROM read_csv('", secret, "')"),
        std::string("SELECT :other AS id"), std::string("not SQL")}) {
    EXPECT_FALSE(Read(*Source(QueryJob(query))).ok()) << query;
  }
  EXPECT_EQ(Scalar("SELECT count(*) FROM t"), "1");
  EXPECT_EQ(Scalar("SELECT nextval('s')"), "1");
}

TEST_F(DuckdbSource, AQueryIsBoundToItsWindow) {
  Sql({"CREATE TABLE t (id INTEGER, ts TIMESTAMPTZ)",
       "INSERT INTO t SELECT range, TIMESTAMPTZ '2024-01-01 00:00:00+00' + INTERVAL 1 SECOND * range FROM range(10)"});
  const auto session =
      Source(QueryJob("SELECT id, ts, {'a':id} AS s FROM t WHERE ts > :last_watermark -- the end", "ts"));
  EXPECT_THAT(FirstColumn(*session, Between("2024-01-01 00:00:02+00", "2024-01-01 00:00:04+00")),
              ElementsAre("3", "4"));
  EXPECT_THAT(FirstColumn(*session, Between("", "2024-01-01 00:00:01+00")), ElementsAre("0", "1"));
  const auto numbers =
      Source(QueryJob("SELECT id FROM t WHERE id > :last_watermark AND id <= :watermark_snapshot", "id"));
  EXPECT_THAT(FirstColumn(*numbers, Between("7", "8")), ElementsAre("8"));
  EXPECT_EQ(FirstColumn(*numbers).size(), 10u);
}

TEST_F(DuckdbSource, AColumnThatChangedIsNotReadAsWhatItWas) {
  Sql({"CREATE TABLE t (id INTEGER, v INTEGER)"});
  ReadRequest request;
  request.schema = Source(Job("t"))->Describe()->schema;
  Sql({"ALTER TABLE t ALTER v TYPE VARCHAR"});
  EXPECT_TRUE(absl::IsNotFound(Source(Job("t"))->Read(request).status()));
}

TEST_F(DuckdbSource, TheClockProvesWhatIsBelowIt) {
  Sql({"CREATE TABLE t (id INTEGER, ts TIMESTAMPTZ DEFAULT now())", "INSERT INTO t (id) VALUES (1)"});
  const auto session = Source(Job("t", "ts"));
  const std::string before = Scalar("SELECT CAST(now() - INTERVAL '1 microsecond' AS VARCHAR)");
  const auto probe = session->ProbeHorizon(std::nullopt);
  ASSERT_TRUE(probe.ok()) << probe.status();
  Sql({"INSERT INTO t (id) VALUES (2)"});
  EXPECT_EQ(probe->completeness.level(), v1::Completeness::LEVEL_PROVED);
  EXPECT_EQ(probe->high.type(), "timestamptz");
  EXPECT_FALSE(*session->IsAbove(At(before), probe->high));
  EXPECT_TRUE(*session->IsAbove(*probe->probed_at, probe->high));
  v1::Window window;
  *window.mutable_high() = probe->high;
  EXPECT_THAT(FirstColumn(*session, window), ElementsAre("1"));
  EXPECT_TRUE(*session->MayHoldRowsAbove(probe->high));
  EXPECT_TRUE(*session->HorizonReached(*probe->probed_at));
  EXPECT_FALSE(*session->HorizonReached(At("2999-01-01 00:00:00+00")));
  EXPECT_FALSE(*session->MayHoldRowsAbove(At("2999-01-01 00:00:00+00")));

  // The clock has been set back: what is stamped now is read, and the watermark does not step back.
  const HorizonProbe behind = Probe(Job("t", "ts"), At("2999-01-01 00:00:00+00"));
  EXPECT_EQ(behind.completeness.level(), v1::Completeness::LEVEL_LOOKBACK);
  EXPECT_THAT(behind.completeness.premises(0), HasSubstr("behind"));
  EXPECT_FALSE(behind.empty);
  EXPECT_EQ(behind.high.text(), "2999-01-01 00:00:00+00");
  EXPECT_FALSE(*session->IsAbove(*behind.effective_low, At(before)));
}

TEST_F(DuckdbSource, AWindowReachesBackBehindOneThatWasNotProvedOrOfAnotherFile) {
  Sql({"CREATE TABLE t (id INTEGER, ts TIMESTAMPTZ)"});
  LastWindow last = At("2024-01-01 00:00:00+00");
  last.lookback = absl::Minutes(30);
  const HorizonProbe after = Probe(Job("t", "ts"), last);
  EXPECT_EQ(after.completeness.level(), v1::Completeness::LEVEL_PROVED);
  EXPECT_THAT(after.completeness.premises(), Contains(HasSubstr("reaches back")));
  EXPECT_EQ(after.effective_low->text(), "2023-12-31 23:30:00+00");
  last.other_source = true;
  last.lookback = absl::ZeroDuration();
  const HorizonProbe other = Probe(Job("t", "ts"), last);
  EXPECT_EQ(other.completeness.level(), v1::Completeness::LEVEL_LOOKBACK);
  EXPECT_EQ(other.effective_low->text(), "2023-12-31 23:45:00+00");
  v1::JobSpec stamped = Job("t", "ts");
  stamped.mutable_source()->set_stamped_by(v1::STAMPED_BY_APPLICATION);
  EXPECT_EQ(Probe(stamped).completeness.level(), v1::Completeness::LEVEL_LOOKBACK);
}

TEST_F(DuckdbSource, ALoadThatStaysMakesItLookBackAndSayWhy) {
  Sql({"CREATE TABLE t (id BIGINT, ts TIMESTAMPTZ)"});
  const auto turn = WriterQueueOf(path_)->Wait([] { return false; });
  ASSERT_TRUE(turn.ok());
  const HorizonProbe probe = Probe(Job("t", "ts"), At("2024-01-01 00:00:00+00"));
  EXPECT_EQ(probe.completeness.level(), v1::Completeness::LEVEL_LOOKBACK);
  EXPECT_EQ(probe.completeness.lookback_seconds(), 15 * 60);
  EXPECT_EQ(probe.effective_low->text(), "2023-12-31 23:45:00+00");
  EXPECT_THAT(probe.completeness.premises(0), HasSubstr("was writing to the file"));
  EXPECT_FALSE(probe.probed_at.has_value());
}

TEST_F(DuckdbSource, ACancelledProbeWaitsForNobody) {
  Sql({"CREATE TABLE t (id BIGINT, ts TIMESTAMPTZ)"});
  const auto turn = WriterQueueOf(path_)->Wait([] { return false; });
  const auto session = Source(Job("t", "ts"));
  ASSERT_TRUE(session->Describe().ok());
  session->Cancel();
  EXPECT_TRUE(absl::IsCancelled(session->ProbeHorizon(std::nullopt).status()));
}

TEST_F(DuckdbSource, ANaiveColumnNeedsAZoneAndOneWithoutSummerTimeToBeProved) {
  Sql({"CREATE TABLE t (id INTEGER, ts TIMESTAMP)"});
  v1::JobSpec job = Job("t", "ts");
  const absl::Status missing = Source(job)->ProbeHorizon(std::nullopt).status();
  EXPECT_TRUE(absl::IsInvalidArgument(missing));
  EXPECT_THAT(std::string(missing.message()), HasSubstr("watermark_timezone"));
  job.mutable_source()->set_watermark_timezone("Asia/Tokyo");
  const HorizonProbe tokyo = Probe(job);
  EXPECT_EQ(tokyo.completeness.level(), v1::Completeness::LEVEL_PROVED);
  EXPECT_EQ(tokyo.high.zone(), "Asia/Tokyo");
  EXPECT_EQ(
      Scalar(absl::StrCat("SELECT abs(epoch(TIMESTAMP '", tokyo.high.text(), "') - epoch(now()) - 9 * 3600) < 60")),
      "true");
  job.mutable_source()->set_watermark_timezone("Europe/Paris");
  const HorizonProbe paris = Probe(job, At("2024-01-01 00:00:00"));
  EXPECT_EQ(paris.completeness.level(), v1::Completeness::LEVEL_LOOKBACK);
  EXPECT_EQ(paris.completeness.lookback_seconds(), 2 * 3600);
  EXPECT_EQ(paris.effective_low->text(), "2023-12-31 22:00:00");
  job.mutable_source()->set_watermark_timezone("Nowhere/Land");
  EXPECT_TRUE(absl::IsInvalidArgument(Source(job)->ProbeHorizon(std::nullopt).status()));
}

TEST_F(DuckdbSource, ACoarseColumnEndsBelowTheSecondThatIsNotOver) {
  Sql({"CREATE TABLE t (ts TIMESTAMP_S)"});
  v1::JobSpec job = Job("t", "ts");
  job.mutable_source()->set_watermark_timezone("UTC");
  const HorizonProbe probe = Probe(job);
  EXPECT_EQ(probe.high.precision(), 0);
  // DuckDB rounds a stamp to the column's precision.
  EXPECT_EQ(Scalar(absl::StrCat("SELECT CAST(now() AS TIMESTAMP_S) > TIMESTAMP '", probe.high.text(),
                                "' AND TIMESTAMP '", probe.probed_at->text(), "' - TIMESTAMP '", probe.high.text(),
                                "' BETWEEN INTERVAL 1 SECOND AND INTERVAL 2 SECONDS")),
            "true");
}

TEST_F(DuckdbSource, ADatesRowsArriveWhenTheDayIsOverEverywhere) {
  Sql({"CREATE TABLE t (day DATE)"});
  const std::string yesterday = Scalar("SELECT CAST(CAST(now() - INTERVAL 12 HOUR AS DATE) - 1 AS VARCHAR)");
  const HorizonProbe probe = Probe(Job("t", "day"));
  EXPECT_EQ(probe.completeness.level(), v1::Completeness::LEVEL_PROVED);
  if (yesterday == Scalar("SELECT CAST(CAST(now() - INTERVAL 12 HOUR AS DATE) - 1 AS VARCHAR)")) {
    EXPECT_EQ(probe.high.text(), yesterday);
  }
  EXPECT_FALSE(probe.probed_at.has_value());
}

TEST_F(DuckdbSource, NumbersOfASequenceGoUpToTheGreatest) {
  Sql({"CREATE SEQUENCE ids", "CREATE TABLE t (id BIGINT DEFAULT nextval('ids'), note VARCHAR)",
       "INSERT INTO t (note) VALUES ('a'), ('b'), ('c')"});
  const auto session = Source(Job("t", "id"));
  const auto probe = session->ProbeHorizon(std::nullopt);
  ASSERT_TRUE(probe.ok()) << probe.status();
  EXPECT_EQ(probe->high.text(), "3");
  EXPECT_EQ(probe->completeness.level(), v1::Completeness::LEVEL_PROVED);
  EXPECT_TRUE(session->ProbeHorizon(probe->high)->empty);
  Sql({"INSERT INTO t (note) VALUES ('d')"});
  EXPECT_THAT(FirstColumn(*session, Between("3", "")), ElementsAre("4"));
  // A number from elsewhere stands above what the sequence gives next.
  Sql({"INSERT INTO t VALUES (100, 'e')"});
  EXPECT_EQ(Probe(Job("t", "id")).completeness.level(), v1::Completeness::LEVEL_LOOKBACK);
  Sql({"DELETE FROM t"});
  const absl::Status back = Source(Job("t", "id"))->ProbeHorizon(At("100")).status();
  EXPECT_TRUE(absl::IsInvalidArgument(back)) << back;
  EXPECT_THAT(std::string(back.message()), HasSubstr("set back"));
}

TEST_F(DuckdbSource, OtherNumbersAreNotProved) {
  Sql({"CREATE SEQUENCE down INCREMENT -1", "CREATE TABLE t (id INTEGER, n BIGINT DEFAULT nextval('down'))",
       "INSERT INTO t (id) VALUES (1), (2)"});
  EXPECT_EQ(Probe(Job("t", "id")).completeness.level(), v1::Completeness::LEVEL_LOOKBACK);
  EXPECT_EQ(Probe(Job("t", "n")).completeness.level(), v1::Completeness::LEVEL_LOOKBACK);
  Sql({"DELETE FROM t"});
  const HorizonProbe nothing = Probe(Job("t", "id"));
  EXPECT_FALSE(nothing.empty);
  EXPECT_TRUE(Probe(Job("t", "id"), nothing.high).empty);
}

TEST_F(DuckdbSource, ASnapshotIsPinnedAtOnce) {
  Sql({"CREATE TABLE t (id INTEGER, name VARCHAR)", "INSERT INTO t VALUES (1, 'a'), (2, 'b')"});
  const auto session = Source(Job("t"));
  ASSERT_TRUE(session->Describe().ok());
  EXPECT_EQ(session->OpenSnapshot().value_or("?"), "");
  Sql({"DELETE FROM t WHERE id = 1", "INSERT INTO t VALUES (3, 'c')", "CHECKPOINT"});
  EXPECT_THAT(FirstColumn(*session), ElementsAre("1", "2"));
  EXPECT_THAT(FirstColumn(*session), ElementsAre("1", "2")) << "a reader ended the snapshot";
  EXPECT_THAT(FirstColumn(*Source(Job("t"))), ElementsAre("2", "3"));
  EXPECT_FALSE(session->ImportSnapshot("any").ok());
}

TEST_F(DuckdbSource, RowsOfASnapshotKeepTheirRowids) {
  Sql({"CREATE TABLE t (id INTEGER)", "INSERT INTO t SELECT * FROM range(300000)"});
  const auto session = Source(Job("t"));
  EXPECT_TRUE(session->DescribePartitions({}, "", 4)->empty());
  ASSERT_TRUE(session->OpenSnapshot().ok());
  const auto facts = session->DescribePartitions({}, "", 4);
  ASSERT_TRUE(facts.ok()) << facts.status();
  ASSERT_EQ(facts->front().partitioning(), v1::PARTITIONING_PHYSICAL);
  EXPECT_EQ(facts->front().blocks(), 300000);
  v1::KeyRange half;
  half.set_partitioning(v1::PARTITIONING_PHYSICAL);
  half.mutable_upper()->add_values("150000");
  EXPECT_EQ(FirstColumn(*session, {}, half).size(), 150000u);
  Sql({"DELETE FROM t WHERE id < 140000", "CHECKPOINT", "INSERT INTO t SELECT * FROM range(50)", "CHECKPOINT"});
  EXPECT_EQ(FirstColumn(*session, {}, half).size(), 150000u);
  half.clear_upper();
  half.mutable_lower()->add_values("150000");
  EXPECT_EQ(FirstColumn(*session, {}, half).size(), 150000u);
}

TEST_F(DuckdbSource, KeysAreCutWhereRowsAre) {
  Sql({"CREATE TABLE t (id INTEGER PRIMARY KEY, ts TIMESTAMPTZ)",
       "INSERT INTO t SELECT range, TIMESTAMPTZ '2024-01-01 00:00:00+00' + INTERVAL 1 SECOND * range FROM "
       "range(8000)"});
  const auto session = Source(Job("t", "ts"));
  const auto whole = session->DescribePartitions({}, "", 4);
  ASSERT_TRUE(whole.ok()) << whole.status();
  ASSERT_EQ(whole->size(), 1u);
  EXPECT_TRUE(whole->front().immutable());
  EXPECT_FALSE(whole->front().nullable());
  ASSERT_EQ(whole->front().quantiles_size(), 15);
  EXPECT_EQ(whole->front().quantiles(7).values(0), "4000");
  const auto recent = session->DescribePartitions(Between("2024-01-01 02:00:00+00", ""), "", 4);
  ASSERT_TRUE(recent.ok()) << recent.status();
  EXPECT_GT(std::stoll(recent->front().quantiles(0).values(0)), 7000);
  EXPECT_TRUE(absl::IsNotFound(session->DescribePartitions({}, "nothing", 4).status()));
}

TEST_F(DuckdbSource, ACompositeKeyIsComparedAsItIsSorted) {
  Sql({"CREATE TABLE t (a VARCHAR COLLATE NOCASE, b INTEGER)",
       "INSERT INTO t VALUES ('x', 1), ('X', 2), ('x', NULL), ('y', 1), ('Y', 2), (NULL, 1), (NULL, NULL), ('a', 9)"});
  const auto session = Source(Job("t"));
  std::vector<std::string> seen;
  for (int i = 0; i < 4; ++i) {
    v1::KeyRange range;
    range.set_partitioning(v1::PARTITIONING_KEY);
    range.add_columns("a");
    range.add_columns("b");
    const auto bound = [](const std::string& a, const std::string& b) {
      v1::KeyBound key;
      key.add_values(a);
      key.add_values(b);
      return key;
    };
    if (i == 3) {
      range.set_nulls(true);
    } else {
      // (…, (x, 2)), [(x, 2), (Y, 2)), [(Y, 2), …)
      if (i > 0) *range.mutable_lower() = i == 1 ? bound("x", "2") : bound("Y", "2");
      if (i < 2) *range.mutable_upper() = i == 0 ? bound("x", "2") : bound("Y", "2");
    }
    const auto rows = Read(*session, {}, range);
    ASSERT_TRUE(rows.ok()) << rows.status();
    for (const Cells& row : *rows) seen.push_back(absl::StrCat(i, ":", row[0], row[1]));
  }
  EXPECT_THAT(seen, UnorderedElementsAre("0:x1", "0:a9", "1:X2", "1:y1", "2:Y2", "3:xnull", "3:null1", "3:nullnull"));
}

TEST_F(DuckdbSource, NullWatermarksAreCountedAndReadWhenAskedFor) {
  Sql({"CREATE TABLE t (id INTEGER, n INTEGER)", "INSERT INTO t VALUES (1, 1), (2, 2), (3, NULL)"});
  const auto session = Source(Job("t", "n"));
  EXPECT_EQ(session->CountNullWatermarks().value_or(-1), 1);
  v1::Window window = Between("1", "2");
  EXPECT_THAT(FirstColumn(*session, window), ElementsAre("2"));
  window.set_nulls(true);
  EXPECT_THAT(FirstColumn(*session, window), ElementsAre("2", "3"));
}

TEST_F(DuckdbSource, CancelEndsAReadFromAnotherThread) {
  Sql({"CREATE TABLE t AS SELECT range AS id FROM range(1000000)"});
  const auto session = Source(QueryJob("SELECT a.id FROM t a, t b"));
  ReadRequest request;
  request.schema = session->Describe()->schema;
  const auto reader = session->Read(request);
  ASSERT_TRUE(reader.ok()) << reader.status();
  ASSERT_TRUE((*reader)->Next().ok());
  std::thread([&] { session->Cancel(); }).join();
  absl::Status status;
  while (status.ok()) status = (*reader)->Next().status();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
}

// DuckDB's lock is a record lock on the file: another process that has it is all it takes.
TEST_F(DuckdbSource, AFileThatAnotherProcessHasOpenIsSaidToBe) {
  Sql({"CREATE TABLE t (id INTEGER)"});
  int held[2], done[2];
  ASSERT_EQ(pipe(held), 0);
  ASSERT_EQ(pipe(done), 0);
  const pid_t other = fork();
  if (other == 0) {
    struct flock lock = {};
    lock.l_type = F_WRLCK;
    const int file = open(path_.c_str(), O_RDWR);
    char byte = fcntl(file, F_SETLK, &lock) == 0 ? 'y' : 'n';
    close(done[1]);
    _exit(write(held[1], &byte, 1) == 1 && read(done[0], &byte, 1) == 0 ? 0 : 1);
  }
  char byte = 'n';
  EXPECT_EQ(read(held[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'y');
  const absl::Status locked = OpenSourceSession(path_, Job("t")).status();
  EXPECT_TRUE(absl::IsUnavailable(locked)) << locked;
  EXPECT_THAT(std::string(locked.message()), AllOf(HasSubstr("another process"), HasSubstr(absl::StrCat(other))));
  for (const int end : {held[0], held[1], done[0], done[1]}) close(end);
  EXPECT_EQ(waitpid(other, nullptr, 0), other);
  EXPECT_TRUE(OpenSourceSession(path_, Job("t")).ok());
}

}  // namespace
}  // namespace tidemark::duckdb
