#include "worker/connectors/sqlite/sqlite_source.h"

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/connectors/sqlite/sqlite_file_testing.h"

namespace tidemark::sqlite {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class SqliteSource : public ::testing::Test, protected FileFixture {
 protected:
  std::string RefusalOf(const std::string& declared, const std::string& value) {
    const std::string table = absl::StrCat("t", ++tables_);
    Sql(absl::StrCat("CREATE TABLE ", table, " (id INTEGER PRIMARY KEY, v ", declared, "); INSERT INTO ", table,
                     " VALUES (41, NULL), (42, ", value, ")"));
    const absl::Status status = ReadFirstColumn(*Source(Job(table))).status();
    return std::string(status.message());
  }

  v1::LogicalType::Kind KindOf(const v1::JobSpec& job, int column) {
    const auto session = Source(job);
    const auto description = session->Describe();
    EXPECT_TRUE(description.ok()) << description.status();
    return description->schema.columns(column).type().kind();
  }

  static v1::KeyBound Bound(const std::string& a, const std::string& b) {
    v1::KeyBound bound;
    bound.add_values(a);
    bound.add_values(b);
    return bound;
  }

  static v1::Watermark At(const std::string& text) {
    v1::Watermark watermark;
    watermark.set_type("timestamp");
    watermark.set_text(text);
    watermark.set_zone("UTC");
    return watermark;
  }

 private:
  int tables_ = 0;
};

TEST_F(SqliteSource, AValueOfAnotherClassIsRefusedByColumnRowAndClass) {
  EXPECT_THAT(RefusalOf("BLOB", "'text'"),
              AllOf(HasSubstr("column v"), HasSubstr("rowid 42"), HasSubstr("a TEXT value")));
  EXPECT_THAT(RefusalOf("INTEGER", "1.5"), AllOf(HasSubstr("rowid 42"), HasSubstr("a REAL value")));
  EXPECT_THAT(RefusalOf("INTEGER", "'seven'"), HasSubstr("a TEXT value"));
  EXPECT_THAT(RefusalOf("TEXT", "x'00'"), HasSubstr("a BLOB value"));
  EXPECT_THAT(RefusalOf("BOOLEAN", "2"), HasSubstr("0 or 1"));
  EXPECT_THAT(RefusalOf("SMALLINT", "40000"), HasSubstr("range"));
  EXPECT_THAT(RefusalOf("DECIMAL(6,2)", "1.005"), HasSubstr("precision and scale"));
  EXPECT_THAT(RefusalOf("DECIMAL(4,2)", "100"), HasSubstr("precision and scale"));
  EXPECT_THAT(RefusalOf("TIMESTAMP", "1704067200"), HasSubstr("an INTEGER value"));
  EXPECT_THAT(RefusalOf("DATE", "'2024-02-30'"), HasSubstr("YYYY-MM-DD"));
  EXPECT_THAT(RefusalOf("UUID", "'not a uuid'"), HasSubstr("UUID"));
  EXPECT_THAT(RefusalOf("TEXT", "CAST(x'c328' AS TEXT)"), HasSubstr("UTF-8"));
}

TEST_F(SqliteSource, TypesOfExpressionsAreReadOffTheirValues) {
  Sql("CREATE TABLE t (id INTEGER PRIMARY KEY, price DECIMAL(10,2), at DATETIME); INSERT INTO t VALUES (1, 2.5, "
      "'2024-01-01T00:00:00Z'), "
      "(2, 7, '2024-01-01T00:00:01Z')");
  const v1::JobSpec job = QueryJob(
      "SELECT id, id * 2 AS doubled, price * 1.5 AS dear, 'x' || id AS label, price, at FROM t WHERE at > "
      ":last_watermark;");
  EXPECT_EQ(KindOf(job, 0), v1::LogicalType::KIND_INT64);
  EXPECT_EQ(KindOf(job, 1), v1::LogicalType::KIND_INT64);
  EXPECT_EQ(KindOf(job, 2), v1::LogicalType::KIND_FLOAT64);
  EXPECT_EQ(KindOf(job, 3), v1::LogicalType::KIND_STRING);
  EXPECT_EQ(KindOf(job, 4), v1::LogicalType::KIND_DECIMAL);
  // The texts name an offset: instants, whatever DATETIME says.
  EXPECT_EQ(KindOf(job, 5), v1::LogicalType::KIND_TIMESTAMPTZ);
}

TEST_F(SqliteSource, AQueryMayOnlyRead) {
  Sql("CREATE TABLE t (id INTEGER PRIMARY KEY)");
  for (const std::string query :
       {"DELETE FROM t RETURNING id", "SELECT 1; DELETE FROM t", "SELECT :other", "not SQL"}) {
    const absl::Status status = Source(QueryJob(query))->Describe().status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << query << ": " << status;
  }
}

TEST_F(SqliteSource, MixedSpellingsAreRefusedWithTheirCounts) {
  Sql("CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME); INSERT INTO t (at) VALUES ('2024-01-01 00:00:00'), "
      "('2024-01-01 00:00:01'), "
      "('2024-01-01T00:00:02'), (1704067203)");
  const absl::Status status = Source(Job("t", "at"))->ProbeHorizon(std::nullopt).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("2 as YYYY-MM-DD HH:MM:SS"), HasSubstr("1 as YYYY-MM-DDTHH:MM:SS"),
                    HasSubstr("1 of class integer")));
  // A number that came later would never be in a window again.
  Sql("DELETE FROM t WHERE id = 3");
  EXPECT_TRUE(absl::IsInvalidArgument(Source(Job("t", "at"))->ProbeHorizon(At("2024-01-01 00:00:01")).status()));
  Sql("DELETE FROM t WHERE id = 4");
  EXPECT_TRUE(Source(Job("t", "at"))->ProbeHorizon(At("2024-01-01 00:00:01")).ok());
}

TEST_F(SqliteSource, ASpellingThatTheSampleMissedIsSeenWhenItIsRead) {
  Sql("CREATE TABLE t (id INTEGER PRIMARY KEY, at TEXT); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM "
      "n WHERE i < 25000) "
      "INSERT INTO t SELECT i, CASE i WHEN 12500 THEN '2024-01-01T00:00:00' ELSE '2024-01-01 00:00:00' END FROM n");
  const auto session = Source(Job("t", "at"));
  const auto probe = session->ProbeHorizon(std::nullopt);
  ASSERT_TRUE(probe.ok()) << probe.status();
  v1::Window window;
  *window.mutable_high() = probe->high;
  const absl::Status status = ReadFirstColumn(*session, window).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("rowid 12500"));
}

TEST_F(SqliteSource, TheBarrierProvesAndTheClockDecides) {
  Sql("PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME DEFAULT CURRENT_TIMESTAMP); "
      "INSERT INTO t (id) VALUES (1)");
  const auto session = Source(Job("t", "at"));
  const std::string before = Scalar("SELECT datetime('now', '-1 second')");
  const auto probe = session->ProbeHorizon(std::nullopt);
  const std::string after = Scalar("SELECT datetime('now', '-1 second')");
  ASSERT_TRUE(probe.ok()) << probe.status();
  EXPECT_EQ(probe->completeness.level(), v1::Completeness::LEVEL_PROVED);
  EXPECT_GE(probe->high.text(), before);
  EXPECT_LE(probe->high.text(), after);
  EXPECT_GT(probe->probed_at->text(), probe->high.text());
  // The lock is free again, and the session cannot write.
  Sql("INSERT INTO t (id) VALUES (2)");
  EXPECT_EQ(Scalar("SELECT count(*) FROM t"), "2");
  const auto again = session->ProbeHorizon(probe->high);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_GE(again->high.text(), probe->high.text());
  // A last watermark from the future: the clock has been set back.
  const auto behind = session->ProbeHorizon(At("2999-01-01 00:00:00"));
  ASSERT_TRUE(behind.ok()) << behind.status();
  EXPECT_THAT(behind->completeness.DebugString(), HasSubstr("behind"));
  EXPECT_EQ(behind->completeness.level(), v1::Completeness::LEVEL_LOOKBACK);
  // What is stamped now stands below it: it is read, and the watermark does not step back.
  EXPECT_FALSE(behind->empty);
  EXPECT_LT(behind->effective_low->text(), before);
  EXPECT_EQ(behind->high.text(), "2999-01-01 00:00:00");
}

TEST_F(SqliteSource, AWindowReachesBackBehindOneThatWasNotProvedOrOfAnotherFile) {
  Sql("PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME DEFAULT CURRENT_TIMESTAMP); "
      "INSERT INTO t (id) VALUES (1)");
  LastWindow last = At("2024-01-01 00:00:00");
  last.lookback = absl::Minutes(30);
  const auto after = Source(Job("t", "at"))->ProbeHorizon(last);
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ(after->completeness.level(), v1::Completeness::LEVEL_PROVED);
  EXPECT_THAT(after->completeness.DebugString(), HasSubstr("reaches back"));
  EXPECT_EQ(after->effective_low->text(), "2023-12-31 23:30:00");
  last.other_source = true;
  last.lookback = absl::ZeroDuration();
  const auto other = Source(Job("t", "at"))->ProbeHorizon(last);
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_EQ(other->completeness.level(), v1::Completeness::LEVEL_LOOKBACK);
  EXPECT_EQ(other->effective_low->text(), "2023-12-31 23:45:00");
}

TEST_F(SqliteSource, AWriterThatStaysMakesItLookBackAndSayWhy) {
  Sql("PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME DEFAULT CURRENT_TIMESTAMP); "
      "INSERT INTO t (id) VALUES (1)");
  const auto writer = Open();
  ASSERT_TRUE(writer->Exec("BEGIN IMMEDIATE; INSERT INTO t (id) VALUES (2)").ok());
  const absl::Time begin = absl::Now();
  const auto probe = Source(Job("t", "at"))->ProbeHorizon(At("2024-01-01 00:00:00"));
  ASSERT_TRUE(probe.ok()) << probe.status();
  EXPECT_LT(absl::Now() - begin, absl::Seconds(20));
  EXPECT_EQ(probe->completeness.level(), v1::Completeness::LEVEL_LOOKBACK);
  EXPECT_EQ(probe->completeness.lookback_seconds(), 15 * 60);
  EXPECT_EQ(probe->effective_low->text(), "2023-12-31 23:45:00");
  EXPECT_THAT(probe->completeness.premises(0), HasSubstr("write lock"));
  EXPECT_FALSE(probe->probed_at.has_value());
}

TEST_F(SqliteSource, UnixTimesAheadOfTheClockProveNothingBesideAnOpenWriter) {
  Sql("PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY, at INTEGER); INSERT INTO t (at) VALUES "
      "(strftime('%s', 'now') + 3600)");
  const auto writer = Open();
  ASSERT_TRUE(writer->Exec("BEGIN IMMEDIATE; INSERT INTO t (at) VALUES (strftime('%s', 'now'))").ok());
  const auto probe = Source(Job("t", "at"))->ProbeHorizon(std::nullopt);
  ASSERT_TRUE(probe.ok()) << probe.status();
  EXPECT_EQ(probe->completeness.level(), v1::Completeness::LEVEL_LOOKBACK);
  EXPECT_LT(std::stoll(probe->high.text()), std::stoll(Scalar("SELECT strftime('%s', 'now')")));
}

TEST_F(SqliteSource, AZoneWithSummerTimeIsNeverProved) {
  Sql("CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME); INSERT INTO t VALUES (1, '2024-01-01 00:00:00')");
  v1::JobSpec job = Job("t", "at");
  job.mutable_source()->set_watermark_timezone("Europe/Paris");
  const auto probe = Source(job)->ProbeHorizon(At("2024-01-01 00:00:00"));
  ASSERT_TRUE(probe.ok()) << probe.status();
  EXPECT_EQ(probe->completeness.level(), v1::Completeness::LEVEL_LOOKBACK);
  EXPECT_EQ(probe->completeness.lookback_seconds(), 2 * 3600);
  job.mutable_source()->set_watermark_timezone("Asia/Tokyo");
  EXPECT_EQ(Source(job)->ProbeHorizon(std::nullopt)->completeness.level(), v1::Completeness::LEVEL_PROVED);
  job.mutable_source()->set_watermark_timezone("Nowhere/Land");
  EXPECT_TRUE(absl::IsInvalidArgument(Source(job)->ProbeHorizon(std::nullopt).status()));
}

TEST_F(SqliteSource, IntegersGoUpToTheGreatest) {
  Sql("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, note TEXT); INSERT INTO t (note) VALUES ('a'), ('b'), "
      "('c')");
  const auto session = Source(Job("t", "id"));
  const auto probe = session->ProbeHorizon(std::nullopt);
  ASSERT_TRUE(probe.ok()) << probe.status();
  EXPECT_EQ(probe->high.text(), "3");
  EXPECT_EQ(probe->completeness.level(), v1::Completeness::LEVEL_PROVED);
  EXPECT_FALSE(*session->MayHoldRowsAbove(probe->high));
  EXPECT_TRUE(session->ProbeHorizon(probe->high)->empty);
  Sql("INSERT INTO t (note) VALUES ('d')");
  v1::Window window;
  *window.mutable_low() = probe->high;
  EXPECT_THAT(*ReadFirstColumn(*session, window), ElementsAre("4"));
}

TEST_F(SqliteSource, NumbersThatMayBeGivenAgainAreNotProved) {
  Sql("CREATE TABLE t (id INTEGER PRIMARY KEY, version INTEGER); INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)");
  for (const char* column : {"id", "version"}) {
    const auto probe = Source(Job("t", column))->ProbeHorizon(std::nullopt);
    ASSERT_TRUE(probe.ok()) << probe.status();
    EXPECT_EQ(probe->high.text(), "3");
    EXPECT_EQ(probe->completeness.level(), v1::Completeness::LEVEL_LOOKBACK);
  }
  const v1::Watermark low = Source(Job("t", "id"))->ProbeHorizon(std::nullopt)->high;
  Sql("DELETE FROM t WHERE id = 3");
  const auto after = Source(Job("t", "id"))->ProbeHorizon(low);
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_TRUE(after->empty);
  EXPECT_EQ(after->completeness.level(), v1::Completeness::LEVEL_LOOKBACK);
  EXPECT_THAT(after->completeness.premises(),
              ::testing::Contains(HasSubstr("the numbers up to 3 will be given again")));
}

TEST_F(SqliteSource, ASequenceThatWasSetBackIsRefused) {
  Sql("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO t VALUES (1), (2), (3)");
  const v1::Watermark low = Source(Job("t", "id"))->ProbeHorizon(std::nullopt)->high;
  Sql("DELETE FROM t");
  const auto purged = Source(Job("t", "id"))->ProbeHorizon(low);
  ASSERT_TRUE(purged.ok()) << purged.status();
  EXPECT_TRUE(purged->empty);
  EXPECT_EQ(purged->completeness.level(), v1::Completeness::LEVEL_PROVED);
  Sql("DELETE FROM sqlite_sequence; INSERT INTO t DEFAULT VALUES");
  EXPECT_THAT(std::string(Source(Job("t", "id"))->ProbeHorizon(low).status().message()),
              HasSubstr("its next row gets the number 2"));
}

TEST_F(SqliteSource, UnixTimesBehindTheLastWatermarkAreReadAgain) {
  Sql("CREATE TABLE t (id INTEGER PRIMARY KEY, at INTEGER); INSERT INTO t (at) VALUES (strftime('%s', 'now') - 5)");
  v1::Watermark low = Source(Job("t", "at"))->ProbeHorizon(std::nullopt)->high;
  low.set_text(Scalar("SELECT strftime('%s', 'now') + 600"));
  const auto probe = Source(Job("t", "at"))->ProbeHorizon(low);
  ASSERT_TRUE(probe.ok()) << probe.status();
  EXPECT_FALSE(probe->empty);
  EXPECT_EQ(probe->high.text(), low.text());
  EXPECT_EQ(probe->completeness.level(), v1::Completeness::LEVEL_LOOKBACK);
  ASSERT_TRUE(probe->effective_low.has_value());
  EXPECT_LT(std::stoll(probe->effective_low->text()), std::stoll(Scalar("SELECT at FROM t")));
}

TEST_F(SqliteSource, TheSecondThatIsNotOverIsLeftForLater) {
  Sql("CREATE TABLE t (id INTEGER PRIMARY KEY, at INTEGER)");
  const auto session = Source(Job("t", "at"));
  for (int attempt = 0; attempt < 20; ++attempt) {
    Sql("DELETE FROM t; INSERT INTO t (at) VALUES (strftime('%s', 'now'))");
    const std::string stamp = Scalar("SELECT at FROM t");
    const auto probe = session->ProbeHorizon(std::nullopt);
    ASSERT_TRUE(probe.ok()) << probe.status();
    if (Scalar("SELECT strftime('%s', 'now')") != stamp) continue;
    EXPECT_EQ(std::stoll(probe->high.text()), std::stoll(stamp) - 1);
    ASSERT_TRUE(probe->probed_at.has_value());
    EXPECT_EQ(probe->probed_at->text(), stamp);
    return;
  }
  FAIL() << "no second was long enough";
}

TEST_F(SqliteSource, AnEmptyTableLeavesEverythingToTheNextWindow) {
  Sql("CREATE TABLE t (id INTEGER PRIMARY KEY, at DATETIME, number INTEGER)");
  for (const std::string watermark : {"at", "number"}) {
    const auto first = Source(Job("t", watermark))->ProbeHorizon(std::nullopt);
    ASSERT_TRUE(first.ok()) << first.status();
    EXPECT_FALSE(first->empty);
    EXPECT_TRUE(Source(Job("t", watermark))->ProbeHorizon(first->high)->empty);
    // Spelled in a way the empty table could not tell.
    Sql("INSERT INTO t VALUES (1, '2024-01-01T00:00:00.5Z', -7)");
    const auto session = Source(Job("t", watermark));
    const auto second = session->ProbeHorizon(first->high);
    ASSERT_TRUE(second.ok()) << second.status();
    EXPECT_FALSE(second->empty);
    v1::Window window;
    *window.mutable_low() = first->high;
    *window.mutable_high() = second->high;
    EXPECT_THAT(*ReadFirstColumn(*session, window), ElementsAre("1"));
    Sql("DELETE FROM t");
  }
}

TEST_F(SqliteSource, ADatesRowsArriveWhenTheDayIsOver) {
  Sql("CREATE TABLE t (id INTEGER PRIMARY KEY, day DATE DEFAULT CURRENT_DATE); INSERT INTO t (id) VALUES (1)");
  const std::string yesterday = Scalar("SELECT date('now', '-1 day')");
  const auto probe = Source(Job("t", "day"))->ProbeHorizon(std::nullopt);
  ASSERT_TRUE(probe.ok()) << probe.status();
  if (yesterday == Scalar("SELECT date('now', '-1 day')")) {
    EXPECT_EQ(probe->high.text(), yesterday);
  }
}

TEST_F(SqliteSource, ASnapshotInRollbackModeLetsWritersCommit) {
  Sql("PRAGMA journal_mode = DELETE; CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (2)");
  const auto session = Source(Job("t"));
  const auto snapshot = session->OpenSnapshot();
  ASSERT_TRUE(snapshot.ok()) << snapshot.status();
  EXPECT_EQ(*snapshot, "");
  const auto writer = Open();
  writer->SetBusyWait(absl::ZeroDuration());
  const absl::Status written = writer->Exec("DELETE FROM t; INSERT INTO t VALUES (3)");
  EXPECT_TRUE(written.ok()) << written;
  EXPECT_THAT(*ReadFirstColumn(*session), ElementsAre("1", "2"));
  EXPECT_THAT(*ReadFirstColumn(*Source(Job("t"))), ElementsAre("3"));
  const auto description = session->Describe();
  ASSERT_TRUE(description.ok());
  EXPECT_THAT(description->notes, ::testing::Contains(HasSubstr("rollback-journal")));
}

TEST_F(SqliteSource, AKeyThatIsNoTextIsRefusedBeforeItIsTold) {
  Sql("CREATE TABLE t (id TEXT PRIMARY KEY, n INTEGER); INSERT INTO t VALUES ('a', 1), ('b', 2), "
      "(CAST(x'63ff' AS TEXT), 3), ('d', 4)");
  const auto session = Source(Job("t"));
  const absl::Status refused = session->DescribePartitions({}, "", 4).status();
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()),
              AllOf(HasSubstr("column id"), HasSubstr("valid UTF-8"), HasSubstr("63ff")));
  Sql("UPDATE t SET id = 'c' WHERE n = 3");
  EXPECT_TRUE(Source(Job("t"))->DescribePartitions({}, "", 4).ok());
}

TEST_F(SqliteSource, IntegerKeysAreCutWhereRowsAre) {
  Sql("CREATE TABLE t (id INTEGER PRIMARY KEY, at TEXT); CREATE INDEX t_at ON t (at); WITH RECURSIVE n(i) AS (SELECT 1 "
      "UNION ALL SELECT i + 1 FROM n "
      "WHERE i < 8000) INSERT INTO t SELECT i, CASE WHEN i > 7000 THEN '2024-01-02 00:00:00' ELSE '2024-01-01 "
      "00:00:00' END FROM n");
  const auto session = Source(Job("t", "at"));
  const auto whole = session->DescribePartitions({}, "", 4);
  ASSERT_TRUE(whole.ok()) << whole.status();
  ASSERT_EQ(whole->size(), 1u);
  EXPECT_TRUE(whole->front().immutable());
  EXPECT_FALSE(whole->front().nullable());
  ASSERT_EQ(whole->front().quantiles_size(), 15);
  EXPECT_EQ(whole->front().quantiles(7).values(0), "4000");
  // An incremental window is cut where its own rows are.
  v1::Window window;
  *window.mutable_low() = At("2024-01-01 12:00:00");
  const auto recent = session->DescribePartitions(window, "", 4);
  ASSERT_TRUE(recent.ok()) << recent.status();
  EXPECT_GT(std::stoll(recent->front().quantiles(0).values(0)), 7000);
}

TEST_F(SqliteSource, OtherTablesAreCutByRowidInsideASnapshotOnly) {
  Sql("CREATE TABLE t (name TEXT PRIMARY KEY, rowid TEXT); INSERT INTO t VALUES ('a', 'x'), (NULL, 'y'); "
      "CREATE TABLE w (k TEXT PRIMARY KEY) WITHOUT ROWID; INSERT INTO w VALUES ('a'), ('b')");
  auto session = Source(Job("t"));
  EXPECT_EQ(session->DescribePartitions({}, "", 4)->front().partitioning(), v1::PARTITIONING_KEY);
  // SQLite lets NULL into such a primary key.
  EXPECT_TRUE(session->DescribePartitions({}, "", 4)->front().nullable());
  ASSERT_TRUE(session->OpenSnapshot().ok());
  EXPECT_EQ(session->DescribePartitions({}, "", 4)->front().partitioning(), v1::PARTITIONING_PHYSICAL);
  session = Source(Job("w"));
  ASSERT_TRUE(session->OpenSnapshot().ok());
  EXPECT_EQ(session->DescribePartitions({}, "", 4)->front().partitioning(), v1::PARTITIONING_KEY);
}

TEST_F(SqliteSource, ACompositeKeyWithNullsIsCoveredOnce) {
  Sql("CREATE TABLE t (a INTEGER, b TEXT, PRIMARY KEY (a, b)); INSERT INTO t VALUES (1, 'x'), (1, NULL), (2, 'y'), (2, "
      "NULL), (NULL, 'z'), "
      "(NULL, NULL), (3, 'x')");
  const auto session = Source(Job("t"));
  std::vector<std::string> seen;
  for (int i = 0; i < 4; ++i) {
    v1::KeyRange range;
    range.set_partitioning(v1::PARTITIONING_KEY);
    range.add_columns("a");
    range.add_columns("b");
    if (i == 3) {
      range.set_nulls(true);
    } else {
      // (…, (2, 'x')), [(2, 'x'), (3, 'a')), [(3, 'a'), …)
      if (i > 0) *range.mutable_lower() = Bound(i == 1 ? "2" : "3", i == 1 ? "x" : "a");
      if (i < 2) *range.mutable_upper() = Bound(i == 0 ? "2" : "3", i == 0 ? "x" : "a");
    }
    const auto part = ReadFirstColumn(*session, {}, range);
    ASSERT_TRUE(part.ok()) << part.status();
    seen.insert(seen.end(), part->begin(), part->end());
  }
  EXPECT_THAT(seen, ::testing::UnorderedElementsAre("1", "1", "2", "2", "3", "null", "null"));
}

TEST_F(SqliteSource, WhatIsNoDatabaseIsSaid) {
  EXPECT_TRUE(absl::IsNotFound(OpenSourceSession("nowhere.db", Job("t")).status()));
  test::TempDir directory;
  const auto text = OpenSourceSession(directory.Write("text.db", std::string(4096, 'x')), Job("t"));
  EXPECT_FALSE(text.ok());
}

}  // namespace
}  // namespace tidemark::sqlite
