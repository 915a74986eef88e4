#include "worker/connectors/postgres/postgres_partitions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tests/support/postgres_server.h"
#include "worker/connectors/postgres/postgres_source_testing.h"

namespace tidemark::postgres {
namespace {

using test::Exec;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class PostgresPartitionsTest : public ::testing::Test {
 protected:
  std::vector<v1::PartitionFacts> Facts(SourceSession& session, const v1::Window& window, const std::string& by,
                                        int wanted) {
    auto facts = session.DescribePartitions(window, by, wanted);
    EXPECT_TRUE(facts.ok()) << facts.status();
    return facts.ok() ? *std::move(facts) : std::vector<v1::PartitionFacts>(1);
  }

  // Reads every range by itself: together they are what one read of the window is, each row once.
  void ExpectExactCover(SourceSession& session, const std::vector<v1::KeyRange>& ranges,
                        const v1::Window& window = {}) {
    const std::vector<std::string> whole = ReadKeys(session, window);
    std::vector<std::string> parts;
    size_t largest = 0;
    for (const v1::KeyRange& range : ranges) {
      const std::vector<std::string> part = ReadKeys(session, window, range);
      largest = std::max(largest, part.size());
      parts.insert(parts.end(), part.begin(), part.end());
    }
    std::sort(parts.begin(), parts.end());
    EXPECT_EQ(parts, whole);
    EXPECT_FALSE(whole.empty());
    largest_ = largest;
  }

  const std::string dsn_ = test::PostgresServer::Shared().NewDatabase();
  size_t largest_ = 0;
};

TEST_F(PostgresPartitionsTest, BlocksCoverASnapshotThatIsWrittenTo) {
  Exec(dsn_,
       "CREATE TABLE t (id int PRIMARY KEY, s text); INSERT INTO t SELECT n, repeat('x', 200) FROM generate_series(1, "
       "5000) n");
  const auto session = MustOpen(dsn_, TableJob("t"));
  EXPECT_EQ(Facts(*session, {}, "", 8)[0].partitioning(), v1::PARTITIONING_KEY)
      << "no physical ranges without a snapshot";
  ASSERT_TRUE(session->OpenSnapshot().ok());
  const auto facts = Facts(*session, {}, "", 8);
  ASSERT_EQ(facts[0].partitioning(), v1::PARTITIONING_PHYSICAL);
  EXPECT_GT(facts[0].blocks(), 100);
  Exec(dsn_,
       "UPDATE t SET s = 'moved' WHERE id % 3 = 0; DELETE FROM t WHERE id % 7 = 0; INSERT INTO t SELECT n, '' FROM "
       "generate_series(5001, 9000) n");
  ExpectExactCover(*session, BlockRanges(facts[0], 10));
  EXPECT_EQ(ReadKeys(*session).size(), 5000);
  const auto outside = MustOpen(dsn_, TableJob("t"));
  ReadRequest physical{outside->Describe()->schema, {}, BlockRanges(facts[0], 10)[1], v1::CHUNK_FORMAT_ARROW};
  EXPECT_EQ(outside->Read(physical).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(PostgresPartitionsTest, KeysOfEveryKindAreCutEvenly) {
  Exec(
      dsn_,
      R"(CREATE TABLE k (i bigint, d date, u uuid, n numeric, f float8, t text COLLATE "und-x-icu", c text COLLATE "C", b bytea, tz timestamptz, fixed char(12), nul int);
    INSERT INTO k SELECT n, date '2020-01-01' + n, md5(n::text)::uuid, n / 7.0, CASE n % 1000 WHEN 0 THEN 'NaN' ELSE n * 0.1 END, (ARRAY['é', 'E', '🦆', 'a b', 'A-b', ''''])[n % 6 + 1] || n,
      (ARRAY['é', 'E', '🦆', 'a b', 'A-b', '\'])[n % 6 + 1] || n, decode(md5(n::text), 'hex'), timestamptz '2020-01-01' + n * interval '1 hour 0.000001 second', 'k' || n, nullif(n % 100, 0)
    FROM generate_series(1, 3000) n; ANALYZE k; CREATE TABLE fresh AS TABLE k)");
  for (const char* table : {"k", "fresh"}) {
    const v1::JobSpec job = TableJob(table);
    for (const std::string by : {"i", "d", "u", "n", "f", "t", "c", "b", "tz", "fixed", "nul"}) {
      SCOPED_TRACE(absl::StrCat(table, " by ", by));
      const auto session = MustOpen(dsn_, job);
      const auto facts = Facts(*session, {}, by, 8);
      ASSERT_EQ(facts.size(), 1);
      EXPECT_EQ(facts[0].partitioning(), v1::PARTITIONING_KEY);
      EXPECT_THAT(facts[0].columns(), ElementsAre(by));
      EXPECT_TRUE(facts[0].nullable());
      EXPECT_FALSE(facts[0].immutable());
      EXPECT_EQ(facts[0].quantiles_size(), 7);
      ExpectExactCover(*session, RangesOf(facts[0]));
      EXPECT_LT(largest_, 3000 / 8 * 2);
    }
  }
}

TEST_F(PostgresPartitionsTest, TextIsCutInItsOwnCollation) {
  // In this collation 'a' < 'B' < 'c'; in the database's own it may not be.
  Exec(dsn_, R"(CREATE COLLATION numeric_order (provider = icu, locale = 'en-u-kn-true');
    CREATE COLLATION no_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    CREATE TABLE c (k text COLLATE numeric_order PRIMARY KEY, nd text COLLATE no_case);
    INSERT INTO c SELECT 'item ' || n, (ARRAY['abc', 'ABC', 'aBd', 'Abd'])[n % 4 + 1] FROM generate_series(1, 2000) n)");
  v1::JobSpec job = TableJob("c");
  job.mutable_source()->mutable_partition()->set_count(6);
  const auto session = MustOpen(dsn_, job);
  const auto facts = Facts(*session, {}, "", 6);
  ASSERT_EQ(facts[0].quantiles_size(), 5);
  EXPECT_TRUE(facts[0].immutable());
  EXPECT_FALSE(facts[0].nullable());
  ExpectExactCover(*session, RangesOf(facts[0]));
  EXPECT_LT(largest_, 400);
  const auto ties = Facts(*session, {}, "nd", 6);
  EXPECT_LE(ties[0].quantiles_size(), 2) << "two values, as the column sees them";
  ExpectExactCover(*session, RangesOf(ties[0]));
}

TEST_F(PostgresPartitionsTest, CompositeKeysAreCutAsRows) {
  Exec(dsn_, R"(CREATE TABLE o (row int, "of all" text, total int, PRIMARY KEY ("of all", row));
    INSERT INTO o SELECT n, (ARRAY['EU', 'US', 'x"''y'])[n % 3 + 1], n FROM generate_series(1, 3000) n; ANALYZE o)");
  v1::JobSpec job = TableJob("o");
  job.mutable_source()->mutable_partition()->set_rows(250);
  const auto session = MustOpen(dsn_, job);
  const auto facts = Facts(*session, {}, "", 4);
  EXPECT_THAT(facts[0].columns(), ElementsAre("of all", "row"));
  EXPECT_GE(facts[0].quantiles_size(), 9) << "ranges of 250 rows were asked for";
  ExpectExactCover(*session, RangesOf(facts[0]));
  EXPECT_LT(largest_, 500);
}

TEST_F(PostgresPartitionsTest, AWindowIsCutByItsOwnRows) {
  Exec(dsn_,
       "CREATE TABLE w (id int PRIMARY KEY, at timestamptz); INSERT INTO w SELECT n, timestamptz '2026-01-01' + n * "
       "interval '1 second' FROM generate_series(1, 300000) n; "
       "CREATE INDEX ON w (at); ANALYZE w");
  v1::JobSpec job = TableJob("w", "at");
  const auto session = MustOpen(dsn_, job);
  const v1::Window few = MakeWindow(MakeWatermark("timestamptz", "2026-01-04 11:00:00+00"),
                                    MakeWatermark("timestamptz", "2027-01-01 00:00:00+00"));
  EXPECT_EQ(Facts(*session, few, "", 8)[0].quantiles_size(), 0) << "too few rows to search for eight times";
  const v1::Window half = MakeWindow(MakeWatermark("timestamptz", "2026-01-02 16:00:00+00"),
                                     MakeWatermark("timestamptz", "2027-01-01 00:00:00+00"));
  const auto facts = Facts(*session, half, "", 8);
  ASSERT_EQ(facts[0].quantiles_size(), 7);
  ExpectExactCover(*session, RangesOf(facts[0]), half);
  EXPECT_LT(largest_, 156'000 / 8 * 9 / 5) << "though all of them have high ids";
}

TEST_F(PostgresPartitionsTest, PartitionedTablesAreCutByTheirKeyAndViewsOnlyByRequest) {
  Exec(dsn_, R"(CREATE TABLE p (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
    CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2026-01-01') TO ('2026-02-01'); CREATE TABLE p2 PARTITION OF p DEFAULT;
    INSERT INTO p SELECT n, date '2026-01-01' + n % 60 FROM generate_series(1, 120000) n; ANALYZE p; CREATE VIEW v AS SELECT * FROM p WHERE id <= 1000)");
  const auto parent = MustOpen(dsn_, TableJob("p"));
  ASSERT_TRUE(parent->OpenSnapshot().ok());
  const auto facts = Facts(*parent, {}, "", 4);
  ASSERT_EQ(facts[0].partitioning(), v1::PARTITIONING_KEY);
  EXPECT_EQ(facts[0].quantiles_size(), 3);
  ExpectExactCover(*parent, RangesOf(facts[0]));
  const auto view = MustOpen(dsn_, TableJob("v"));
  EXPECT_EQ(Facts(*view, {}, "", 4)[0].partitioning(), v1::PARTITIONING_NONE);
  ExpectExactCover(*view, RangesOf(Facts(*view, {}, "id", 4)[0]));
  const auto query = MustOpen(dsn_, QueryJob("SELECT id, day FROM p WHERE id > 119000"));
  ExpectExactCover(*query, RangesOf(Facts(*query, {}, "day", 4)[0]));
  EXPECT_EQ(query->DescribePartitions({}, "nowhere", 4).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(PostgresPartitionsTest, AnEmptyTableHasOneRange) {
  Exec(dsn_, "CREATE TABLE e (id int PRIMARY KEY)");
  const auto session = MustOpen(dsn_, TableJob("e"));
  EXPECT_THAT(Facts(*session, {}, "id", 8)[0].quantiles(), IsEmpty());
  EXPECT_THAT(ReadKeys(*session, {}, RangesOf(Facts(*session, {}, "", 8)[0])[0]), IsEmpty());
}

}  // namespace
}  // namespace tidemark::postgres
