#include "gtest/gtest.h"

#include "common/model/byte_size.h"
#include "common/model/dsn.h"
#include "common/model/duration.h"
#include "common/model/enum_names.h"
#include "common/model/host_port.h"
#include "common/model/key_range.h"
#include "common/model/row_counts.h"
#include "common/model/sql_text.h"
#include "common/model/time_zone.h"
#include "common/model/timestamp.h"
#include "common/model/watermark.h"
#include "tidemark/v1/spec.pb.h"

namespace tidemark {
namespace {

TEST(DurationTest, ParsesWhatUsersWrite) {
  EXPECT_EQ(ParseDuration("15m"), absl::Minutes(15));
  EXPECT_EQ(ParseDuration("2s"), absl::Seconds(2));
  EXPECT_EQ(ParseDuration("1h30m"), absl::Minutes(90));
  EXPECT_EQ(ParseDuration("30d"), absl::Hours(720));
  EXPECT_EQ(ParseDuration("1.5s"), absl::Milliseconds(1500));
  EXPECT_EQ(ParseDuration("250ms"), absl::Milliseconds(250));
  EXPECT_EQ(ParseDuration("0s"), absl::ZeroDuration());
}

TEST(DurationTest, RefusesEverythingElse) {
  for (const char* text : {"", "15", "m", "-2s", "2 s", "1m1h", "1h1h", "3x", "1..2s", "15M", "s15"}) {
    EXPECT_EQ(ParseDuration(text), std::nullopt) << text;
  }
}

TEST(DurationTest, FormatsWhatItReadsBack) {
  for (const char* text : {"15m", "2s", "1h30m", "30d", "250ms", "0s", "1d2h3m4s5ms6us"}) {
    EXPECT_EQ(DurationText(*ParseDuration(text)), text);
  }
  EXPECT_EQ(DurationText(-absl::Seconds(3)), "-3s");
}

TEST(DurationTest, ElapsedIsShort) {
  EXPECT_EQ(ElapsedText(absl::Milliseconds(440)), "0.4s");
  EXPECT_EQ(ElapsedText(absl::Milliseconds(59'990)), "1m00s");
  EXPECT_EQ(ElapsedText(absl::Seconds(245)), "4m05s");
  EXPECT_EQ(ElapsedText(absl::Minutes(123)), "2h03m");
}

TEST(DurationTest, SurvivesProto) {
  for (absl::Duration d : {absl::Milliseconds(1500), -absl::Milliseconds(1500), absl::Hours(700)}) {
    EXPECT_EQ(FromProto(ToProto(d)), d);
  }
}

TEST(ByteSizeTest, ParsesAndFormats) {
  EXPECT_EQ(ParseByteSize("1GiB"), 1073741824);
  EXPECT_EQ(ParseByteSize("1.5 MiB"), 1572864);
  EXPECT_EQ(ParseByteSize("100mb"), 100'000'000);
  EXPECT_EQ(ParseByteSize("4096"), 4096);
  for (const char* text : {"", "GiB", "1 GiBi", "-1", "1e30", "99999999TiB"}) {
    EXPECT_EQ(ParseByteSize(text), std::nullopt) << text;
  }
  EXPECT_EQ(FormatByteSize(512), "512 B");
  EXPECT_EQ(FormatByteSize(1073741824), "1.0 GiB");
  EXPECT_EQ(FormatByteSize(1048575), "1.0 MiB");
}

TEST(HostPortTest, ReadsWhatItWrites) {
  for (const char* text : {"db.example:8471", "10.0.0.7:0", "[::1]:65535"}) {
    const auto address = ParseHostPort(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(HostPortText(*address), text);
  }
  EXPECT_EQ(ParseHostPort("[::1]:7")->host, "::1");
  for (const char* text :
       {"", "db", ":1", "db:", "db:-1", "db:+1", "db:65536", "::1:7", "a b:7", "http://db:7", "db:7/x"}) {
    EXPECT_FALSE(ParseHostPort(text)) << text;
  }
}

v1::RowCounts Counts(int64_t read, int64_t loaded, int64_t filtered, int64_t quarantined) {
  v1::RowCounts counts;
  counts.set_read(read);
  counts.set_loaded(loaded);
  counts.set_filtered(filtered);
  counts.set_quarantined(quarantined);
  if (filtered != 0) (*counts.mutable_filtered_by_reason())["superseded"] = filtered;
  return counts;
}

TEST(RowCountsTest, Balance) {
  EXPECT_TRUE(Balances(Counts(0, 0, 0, 0)));
  EXPECT_TRUE(Balances(Counts(10, 5, 3, 2)));
  EXPECT_FALSE(Balances(Counts(10, 5, 3, 1)));
  EXPECT_FALSE(Balances(Counts(1, 2, -1, 0)));
  v1::RowCounts unexplained = Counts(10, 5, 3, 2);
  unexplained.clear_filtered_by_reason();
  EXPECT_FALSE(Balances(unexplained));
}

TEST(RowCountsTest, AddsReasons) {
  v1::RowCounts sum = Counts(10, 5, 3, 2);
  Add(Counts(4, 3, 1, 0), &sum);
  EXPECT_TRUE(Balances(sum));
  EXPECT_EQ(sum.filtered_by_reason().at("superseded"), 4);
}

TEST(RowCountsTest, FilteredRowsAreAddedWithTheirReason) {
  v1::RowCounts counts = Counts(10, 0, 3, 2);
  EXPECT_EQ(Remaining(counts), 5);
  AddFiltered("superseded", 1, &counts);
  AddFiltered("unchanged", 1, &counts);
  AddFiltered("already_loaded", 0, &counts);
  EXPECT_EQ(Remaining(counts), 3);
  EXPECT_EQ(counts.filtered_by_reason().at("superseded"), 4);
  EXPECT_EQ(counts.filtered_by_reason().at("unchanged"), 1);
  EXPECT_EQ(counts.filtered_by_reason().count("already_loaded"), 0);
  counts.set_loaded(3);
  EXPECT_TRUE(Balances(counts));
}

TEST(RowCountsTest, SummaryIsTheEquation) {
  EXPECT_EQ(Summary(Counts(10'000, 9'990, 7, 3)), "read 10,000 = loaded 9,990 + filtered 7 + quarantined 3");
  EXPECT_EQ(Summary(Counts(2, 1, 0, 0)), "read 2 <> loaded 1 + filtered 0 + quarantined 0");
  EXPECT_EQ(FormatCount(-1'234'567), "-1,234,567");
  EXPECT_EQ(FormatCount(100), "100");
}

v1::Watermark Mark(const char* text) {
  v1::Watermark watermark;
  watermark.set_type("timestamptz");
  watermark.set_text(text);
  watermark.set_precision(6);
  return watermark;
}

TEST(TimeZoneTest, IsANameAndNoFile) {
  for (const char* name : {"UTC", "Europe/Paris", "America/Argentina/Buenos_Aires", "Etc/GMT+5"}) {
    EXPECT_TRUE(FindTimeZone(name).has_value()) << name;
  }
  for (const char* name : {"", "Mars/Olympus", "/usr/share/zoneinfo/Europe/Paris", "../zoneinfo/Europe/Paris",
                           "libc:localtime", "Europe/../Europe/Paris", "/proc/self/fd/2"}) {
    EXPECT_FALSE(FindTimeZone(name).has_value()) << name;
  }
}

TEST(WatermarkTest, SameIsTypePlusTextPlusPrecisionPlusZone) {
  EXPECT_TRUE(Same(Mark("a"), Mark("a")));
  EXPECT_FALSE(Same(Mark("a"), Mark("b")));
  v1::Watermark other = Mark("a");
  other.set_type("timestamp");
  EXPECT_FALSE(Same(Mark("a"), other));
  other = Mark("a");
  other.set_zone("Europe/Paris");
  EXPECT_FALSE(Same(Mark("a"), other));
  EXPECT_EQ(Text(other), "a Europe/Paris");
}

TEST(WatermarkTest, WindowsRead) {
  v1::Window window;
  EXPECT_EQ(Text(window), "everything");
  *window.mutable_high() = Mark("B");
  EXPECT_EQ(Text(window), "up to B");
  *window.mutable_low() = Mark("A");
  EXPECT_EQ(Text(window), "(A, B]");
  window.set_nulls(true);
  EXPECT_EQ(Text(window), "(A, B] and rows without a watermark");
}

TEST(WatermarkTest, CompletenessReads) {
  v1::Completeness completeness;
  EXPECT_EQ(Text(completeness), "");
  completeness.set_level(v1::Completeness::LEVEL_PROVED);
  EXPECT_EQ(Text(completeness), "proved");
  completeness.set_level(v1::Completeness::LEVEL_LOOKBACK);
  completeness.set_lookback_seconds(900);
  EXPECT_EQ(Text(completeness), "lookback(15m)");
}

TEST(KeyRangeTest, Reads) {
  v1::KeyRange range;
  EXPECT_EQ(Text(range), "all rows");
  range.set_partitioning(v1::PARTITIONING_KEY);
  range.add_columns("id");
  range.mutable_lower()->add_values("100");
  EXPECT_EQ(Text(range), "id >= 100");
  range.mutable_upper()->add_values("200");
  EXPECT_EQ(Text(range), "id in [100, 200)");
  range.clear_lower();
  EXPECT_EQ(Text(range), "id < 200");
  range.add_columns("line");
  range.mutable_upper()->add_values("2");
  EXPECT_EQ(Text(range), "(id, line) < (200, 2)");
  v1::KeyRange nulls;
  nulls.set_partitioning(v1::PARTITIONING_KEY);
  nulls.add_columns("id");
  nulls.set_nulls(true);
  EXPECT_EQ(Text(nulls), "id is null");
  v1::KeyRange blocks;
  blocks.set_partitioning(v1::PARTITIONING_PHYSICAL);
  blocks.mutable_upper()->add_values("512");
  EXPECT_EQ(Text(blocks), "blocks < 512");
}

TEST(EnumNamesTest, AreTheProtosWithoutPrefix) {
  EXPECT_EQ(EnumName(v1::LOAD_STRATEGY_UPSERT), "upsert");
  EXPECT_EQ(EnumName(v1::SWAP_MODE_TRUNCATE_INSERT), "truncate_insert");
  EXPECT_EQ(EnumName(v1::LOAD_STRATEGY_UNSPECIFIED), "");
  EXPECT_EQ(EnumNumber(*v1::LoadStrategy_descriptor(), "full"), v1::LOAD_STRATEGY_FULL);
  EXPECT_EQ(EnumNumber(*v1::LoadStrategy_descriptor(), "unspecified"), std::nullopt);
  EXPECT_EQ(EnumNames(*v1::StampedBy_descriptor()), (std::vector<std::string>{"database", "application"}));
  EXPECT_EQ(FormatName(v1::CHUNK_FORMAT_PG_COPY_BINARY), "wire");
}

TEST(TimestampTest, ThereAndBack) {
  for (const absl::Time time :
       {absl::FromUnixMicros(1'767'225'600'500'001), absl::FromUnixMicros(-1), absl::UnixEpoch()}) {
    EXPECT_EQ(FromProto(ToProto(time)), time);
    EXPECT_GE(ToProto(time).nanos(), 0);
  }
  EXPECT_EQ(TimeText(absl::FromUnixMicros(1'767'225'600'500'001)), "2026-01-01T00:00:00.500Z");
}

TEST(WatermarkTest, StandsForAnInstant) {
  const auto seconds = [](const std::string& text, const std::string& zone = "") {
    v1::Watermark mark;
    mark.set_text(text);
    mark.set_zone(zone);
    const std::optional<absl::Time> instant = InstantOf(mark);
    return instant.has_value() ? absl::ToDoubleSeconds(*instant - absl::UnixEpoch()) : -1;
  };
  EXPECT_EQ(seconds("1970-01-01 00:01:00.5+00"), 60.5);
  EXPECT_EQ(seconds("1970-01-01 00:01:00"), 60);
  EXPECT_EQ(seconds("1970-01-01 01:01:00", "Africa/Lagos"), 60);
  EXPECT_EQ(seconds("1970-01-02"), 86400);
  EXPECT_EQ(seconds("infinity"), -1);
  EXPECT_EQ(seconds("42"), -1);
}

TEST(DsnTest, PostgresUrls) {
  for (const char* dsn :
       {"postgresql://h/db", "postgres://u@h/db", "postgresql://u:p@h:5432/db?sslmode=require", "postgresql://",
        "postgresql:///db", "postgresql://u:p%40%2F@[::1]:5432,b:,c/db", "postgresql://h:5432/db?user=me@corp",
        "postgresql://u:p?q@h/db", "postgresql://[::1]/db", "postgresql://u@h/d@b"}) {
    EXPECT_TRUE(CheckPostgresUrl(dsn).ok()) << dsn;
  }
  for (const char* dsn : {"postgresql:/u:canary@h/db", "postgresql:u:canary@h/db", "host=h password=canary",
                          "mysql://u:canary@h/db", "postgresql://u:can@ary@h/db", "postgresql://u:can@ary/1@h/db",
                          "postgresql://u:can/ary@h/db", "postgresql://u:1/canary@h/db", "postgresql://u:canary?/@h/db",
                          "postgresql://u:p@h:canary/db", "postgresql://[canary/db", ""}) {
    EXPECT_EQ(CheckPostgresUrl(dsn), UnreadablePostgresUrl()) << dsn;
  }
}

TEST(SqlTextTest, ALimitIsSeenWhereItLeavesRowsOut) {
  for (const char* limited : {"SELECT * FROM t LIMIT 10", "select a from t\noffset 5",
                              "(SELECT 1) UNION SELECT 2 FETCH FIRST ROW ONLY", "SELECT 1 -- no\nlimit 1"}) {
    EXPECT_TRUE(LimitsRows(limited)) << limited;
  }
  for (const char* whole : {"SELECT * FROM t", "SELECT (SELECT v FROM u LIMIT 1) FROM t",
                            "SELECT 'limit 1', \"limit\", `offset` FROM t", "SELECT t.limit, limits FROM t -- limit 5",
                            "SELECT $q$ limit 1 $q$ /* offset */", "SELECT id, offset, updated_at FROM events",
                            "SELECT v AS offset, fetch, t.offset::int FROM t", "SELECT * FROM t LIMIT ALL OFFSET 0"}) {
    EXPECT_FALSE(LimitsRows(whole)) << whole;
  }
}

TEST(SqlTextTest, WhatASelectMayHold) {
  for (const char* query :
       {"SELECT 1 AS a", "with x AS (SELECT 1) select * from x;", "VALUES (1)", "TABLE orders",
        "(SELECT 1) UNION (SELECT 2)", "/* DELETE */ -- ;\n SELECT ';', $$;$$, \"a;(\", `b)` FROM t -- FOR UPDATE",
        "SELECT substring(a for 3), t.into FROM t", "SELECT * FROM (SELECT 1 AS \"update\") AS x; -- the end\n ;",
        "SELECT E'it\\'s' AS a, 'it''s' AS b", "WITH updates AS (SELECT delete FROM t) SELECT * FROM updates"}) {
    EXPECT_EQ(CheckSelect(query), absl::OkStatus()) << query;
  }
}

}  // namespace
}  // namespace tidemark
