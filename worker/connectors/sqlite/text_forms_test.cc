#include <limits>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/connectors/sqlite/column_type.h"
#include "worker/connectors/sqlite/decimal_text.h"
#include "worker/connectors/sqlite/iso_text.h"
#include "worker/connectors/sqlite/watermark_format.h"

namespace tidemark::sqlite {
namespace {

using Type = v1::LogicalType;

std::string TimestampTextOf(int64_t micros) {
  std::string text;
  EXPECT_TRUE(AppendTimestamp(micros, ' ', &text));
  return text;
}

TEST(IsoText, TimestampsGoThereAndBack) {
  for (const std::string text : {"1970-01-01 00:00:00", "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999",
                                 "1969-12-31 23:59:59.999", "2000-02-29 12:00:00.000001"}) {
    const auto parsed = ParseTimestamp(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(TimestampTextOf(parsed->micros), text);
  }
  EXPECT_EQ(ParseTimestamp("2024-01-01T01:30:00+01:30")->micros, ParseTimestamp("2024-01-01 00:00:00Z")->micros);
  EXPECT_EQ(ParseTimestamp("2024-01-01 10:20")->micros, ParseTimestamp("2024-01-01 10:20:00.000000000")->micros);
}

TEST(IsoText, WhatIsNoTimeIsNone) {
  for (const std::string text :
       {"", "2024-02-30 00:00:00", "2024-1-1 00:00:00", "2024-01-01", "2024-01-01 24:00:00", "2024-01-01 00:60:00",
        "2024-01-01 00:00:00.0000001", "2024-01-01 00:00:00.", "2024-01-01 00:00:00 Z", "2024-01-01 00:00:00+1:00",
        "0000-01-01 00:00:00", "infinity", "2024-01-01 00:00:00x"}) {
    EXPECT_FALSE(ParseTimestamp(text)) << text;
  }
  EXPECT_EQ(ParseTime("24:00:00"), 86'400'000'000);
  EXPECT_FALSE(ParseTime("24:00:01"));
  std::string text;
  EXPECT_FALSE(AppendDate(3'000'000, &text));
  EXPECT_FALSE(AppendTimestamp(std::numeric_limits<int64_t>::min(), ' ', &text));
  EXPECT_EQ(text, "");
}

TEST(IsoText, InstantsWrittenByUsSortAsText) {
  const std::vector<int64_t> micros = {-1'000'001, -1'000'000, -500'000, 0,         1,        999,
                                       1000,       500'000,    500'001,  1'000'000, 1'000'500};
  for (size_t i = 1; i < micros.size(); ++i) {
    EXPECT_LT(TimestampTextOf(micros[i - 1]) + "+00:00", TimestampTextOf(micros[i]) + "+00:00");
    EXPECT_LT(TimestampTextOf(micros[i - 1]), TimestampTextOf(micros[i]));
  }
}

TEST(IsoText, ValuesCompareWhateverTheirSpelling) {
  EXPECT_EQ(CompareByValue("2024-01-01 00:00:00", "2024-01-01T00:00:00.000Z"), 0);
  EXPECT_LT(CompareByValue("2024-01-01 00:00:00Z", "2024-01-01 00:00:00.5Z"), 0);
  EXPECT_GT(CompareByValue("2024-01-01 01:00:00+00:00", "2024-01-01 02:00:00+02:00"), 0);
  EXPECT_LT(CompareByValue("9.99", "10"), 0);
  EXPECT_LT(CompareByValue("-10", "-9.99"), 0);
  EXPECT_EQ(CompareByValue("-0.00", "0"), 0);
  EXPECT_GT(CompareByValue("123456789012345678901234567890.2", "123456789012345678901234567890.10"), 0);
  EXPECT_LT(CompareByValue("abc", "abd"), 0);
}

TEST(DecimalText, IsExactOrNothing) {
  EXPECT_EQ(UnscaledDigits("-12.5", 10, 2), "-1250");
  EXPECT_EQ(UnscaledDigits("+.5", 10, 2), "50");
  EXPECT_EQ(UnscaledDigits("0012.500", 4, 2), "1250");
  EXPECT_EQ(UnscaledDigits("-0.00", 4, 2), "0");
  EXPECT_EQ(UnscaledDigits("12.505", 10, 2), std::nullopt);
  EXPECT_EQ(UnscaledDigits("100", 4, 2), std::nullopt);
  EXPECT_EQ(UnscaledDigits("1e5", 10, 2), std::nullopt);
  EXPECT_EQ(UnscaledDigits(".", 10, 2), std::nullopt);
  EXPECT_EQ(ScaledText("-1250", 2), "-12.50");
  EXPECT_EQ(ScaledText("5", 3), "0.005");
  EXPECT_EQ(ScaledText("-5", 0), "-5");
  EXPECT_EQ(SignificantDigits("-00120.0340"), 6);
}

TEST(DecimalText, ARealIsWhatItsWriterMeant) {
  EXPECT_EQ(RealAsUnscaledDigits(12.3, 10, 2), "1230");
  EXPECT_EQ(RealAsUnscaledDigits(0.1 + 0.2, 10, 2), "30");
  EXPECT_EQ(RealAsUnscaledDigits(19.99 * 3, 10, 2), "5997");
  EXPECT_EQ(RealAsUnscaledDigits(12345678901234568.0, 20, 2), "1234567890123456800");
  EXPECT_EQ(RealAsUnscaledDigits(1.0 / 3, 10, 2), std::nullopt);
  EXPECT_EQ(RealAsUnscaledDigits(0.125, 10, 2), std::nullopt);
  EXPECT_EQ(RealAsUnscaledDigits(1e30, 10, 2), std::nullopt);
  EXPECT_EQ(RealAsUnscaledDigits(std::numeric_limits<double>::infinity(), 10, 2), std::nullopt);
  EXPECT_EQ(ShortestDecimal(1e22), "10000000000000000000000");
}

TEST(DecimalText, TheQuickWayAgreesWithTheExactOne) {
  for (const double value :
       {0.0, 0.1, 12.3, -12.34, 0.1 + 0.2, 1.0 / 3, 0.005, 9999.99, 1e14, 123456789012.34, -0.01, 1e300, 19.99 * 3}) {
    if (const auto quick = QuickUnscaled(value, 14, 2)) {
      EXPECT_EQ(std::to_string(*quick), RealAsUnscaledDigits(value, 14, 2).value_or("none")) << value;
    }
  }
  EXPECT_EQ(QuickUnscaled(12.3, 10, 2), 1230);
  EXPECT_EQ(QuickUnscaled(1.0 / 3, 10, 2), std::nullopt);
  EXPECT_EQ(QuickUnscaled(1000.0, 5, 2), std::nullopt);
  EXPECT_EQ(QuickUnscaled(std::numeric_limits<double>::quiet_NaN(), 10, 2), std::nullopt);
  EXPECT_EQ(QuickUnscaled(int64_t{7}, 3, 2), 700);
  EXPECT_EQ(QuickUnscaled(int64_t{10}, 3, 2), std::nullopt);
  EXPECT_EQ(QuickUnscaled(std::numeric_limits<int64_t>::max(), 38, 2), std::nullopt);
}

TEST(ColumnType, DeclarationsMeanWhatTheySay) {
  const auto kind = [](const char* declared) { return LogicalTypeOf(declared).value_or(Type()).kind(); };
  EXPECT_EQ(kind("INTEGER"), Type::KIND_INT64);
  EXPECT_EQ(kind("unsigned big int"), Type::KIND_INT64);
  EXPECT_EQ(kind("double precision"), Type::KIND_FLOAT64);
  EXPECT_EQ(kind("VARCHAR(40)"), Type::KIND_STRING);
  EXPECT_EQ(kind("datetime"), Type::KIND_TIMESTAMP);
  EXPECT_EQ(kind("TIMESTAMP(3) WITH TIME ZONE"), Type::KIND_TIMESTAMPTZ);
  EXPECT_EQ(kind("Boolean"), Type::KIND_BOOL);
  EXPECT_EQ(kind(""), Type::KIND_UNSPECIFIED);
  EXPECT_EQ(kind("MONEY"), Type::KIND_UNSPECIFIED);
  const auto decimal = LogicalTypeOf("decimal( 18 , 2 )");
  EXPECT_EQ(decimal->precision(), 18);
  EXPECT_EQ(decimal->scale(), 2);
  EXPECT_EQ(LogicalTypeOf("NUMERIC")->precision(), 0);
  EXPECT_EQ(LogicalTypeOf("NUMERIC(5,7)")->precision(), 0);
}

TEST(ColumnType, WhatWeDeclareKeepsValuesAndReadsBackAsItself) {
  for (int kind = Type::KIND_BOOL; kind <= Type::KIND_OTHER; ++kind) {
    Type type;
    type.set_kind(static_cast<Type::Kind>(kind));
    if (kind == Type::KIND_DECIMAL) {
      type.set_precision(38);
      type.set_scale(10);
    }
    const std::string declared = DeclaredType(type);
    EXPECT_EQ(WhyNotHeld(type, declared, /*strict=*/false), "") << declared;
    // No unsigned, interval or other type is known here.
    if (kind == Type::KIND_UINT64 || kind == Type::KIND_INTERVAL || kind == Type::KIND_OTHER) continue;
    EXPECT_EQ(LogicalTypeOf(declared)->kind(), kind) << declared;
    EXPECT_EQ(LogicalTypeOf(declared)->precision(), type.precision()) << declared;
  }
  Type text;
  text.set_kind(Type::KIND_STRING);
  // '007' would become 7.
  EXPECT_NE(WhyNotHeld(text, "NUMERIC", false), "");
  EXPECT_NE(WhyNotHeld(text, "INTEGER", false), "");
  Type json;
  json.set_kind(Type::KIND_JSON);
  EXPECT_NE(WhyNotHeld(json, "JSON", false), "");
}

TEST(WatermarkFormat, HighIsBelowEveryStampToCome) {
  const absl::TimeZone utc = absl::UTCTimeZone();
  const absl::Time now = absl::FromCivil(absl::CivilSecond(2024, 3, 10, 12, 0, 5), utc) + absl::Milliseconds(250);
  const auto format = [](const char* text) { return *WatermarkFormat::Of(text); };
  EXPECT_EQ(format("2020-01-01 00:00:00").StrictlyBelow(now, utc), "2024-03-10 12:00:04");
  EXPECT_EQ(format("2020-01-01T00:00:00.000Z").StrictlyBelow(now, utc), "2024-03-10T12:00:05.249Z");
  EXPECT_EQ(format("2020-01-01").StrictlyBelow(now, utc), "2024-03-09");
  EXPECT_EQ(format("2020-01-01 00:00:00").AtOrBelow(now, utc), "2024-03-10 12:00:05");
  EXPECT_EQ(format("2020-01-01 00:00:00.0000").StrictlyBelow(now, utc), "2024-03-10 12:00:05.2499");
  EXPECT_EQ(*format("2020-01-01 00:00:00").Minus("2024-03-10 00:00:00", absl::Minutes(15)), "2024-03-09 23:45:00");
  // Stamps without a fraction occur too: one given now may show the whole second.
  WatermarkFormat mixed = format("2020-01-01 00:00:00.000");
  ASSERT_TRUE(mixed.Merge(format("2020-01-01 00:00:00")));
  EXPECT_EQ(mixed.StrictlyBelow(now, utc), "2024-03-10 12:00:04.999");
}

TEST(WatermarkFormat, OnlyWhatSortsByTimeMixes) {
  const auto merges = [](const char* a, const char* b) {
    return WatermarkFormat::Of(a)->Merge(*WatermarkFormat::Of(b));
  };
  EXPECT_TRUE(merges("2020-01-01 00:00:00", "2020-01-01 00:00:00.5"));
  EXPECT_TRUE(merges("2020-01-01 00:00:00+00:00", "2020-01-01 00:00:00.5+00:00"));
  EXPECT_FALSE(merges("2020-01-01 00:00:00Z", "2020-01-01 00:00:00.5Z"));
  EXPECT_FALSE(merges("2020-01-01 00:00:00", "2020-01-01T00:00:00"));
  EXPECT_FALSE(merges("2020-01-01", "2020-01-01 00:00:00"));
  EXPECT_FALSE(WatermarkFormat::Of("2020-01-01 00:00:00+02:00"));
  EXPECT_FALSE(WatermarkFormat::Of("1704067200"));
  const WatermarkFormat format = *WatermarkFormat::Of("2020-01-01 00:00:00.000");
  EXPECT_TRUE(format.Matches("2024-05-06 07:08:09.123"));
  EXPECT_TRUE(format.Matches("2024-05-06 07:08:09"));
  for (const char* other :
       {"2024-05-06T07:08:09.123", "2024-05-06 07:08:09.123Z", "2024-05-06 07:08:09.1234", "2024-05-06", "7", ""}) {
    EXPECT_FALSE(format.Matches(other)) << other;
  }
}

}  // namespace
}  // namespace tidemark::sqlite
