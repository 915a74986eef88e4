#include "worker/connectors/postgres/postgres_copy_encode.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/record_batch.h>
#include <arrow/util/decimal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/support/postgres_server.h"
#include "worker/connectors/postgres/postgres_connection.h"

namespace tidemark::postgres {
namespace {

template <typename Builder, typename Value>
std::shared_ptr<arrow::Array> ArrayOf(Builder& builder, const std::vector<Value>& values) {
  for (const Value& value : values) EXPECT_TRUE(builder.Append(value).ok());
  EXPECT_TRUE(builder.AppendNull().ok());
  std::shared_ptr<arrow::Array> array;
  EXPECT_TRUE(builder.Finish(&array).ok());
  return array;
}

Chunk OneColumn(const std::shared_ptr<arrow::Array>& array) {
  return Chunk::FromArrow(
      arrow::RecordBatch::Make(arrow::schema({arrow::field("v", array->type())}), array->length(), {array}));
}

std::string Encode(const std::shared_ptr<arrow::Array>& array, ColumnEncoding encoding = {"v"}) {
  std::string out;
  const absl::Status status = EncodeCopyText(OneColumn(array), {encoding}, &out);
  EXPECT_TRUE(status.ok()) << status;
  return out;
}

// What the server holds after the encoded text is copied into a column of `type`, as it prints it.
std::vector<std::string> Stored(const std::string& type, const std::string& copy_text) {
  const std::string dsn = test::PostgresServer::Shared().Dsn();
  auto connection = Connection::Open(dsn, SessionOptions(), ConnectionSettings());
  EXPECT_TRUE(connection.ok()) << connection.status();
  EXPECT_TRUE(
      (*connection)->ExecuteCommand("CREATE TEMP TABLE v (n int GENERATED ALWAYS AS IDENTITY, v " + type + ")").ok());
  EXPECT_TRUE((*connection)->BeginCopyIn("COPY v (v) FROM STDIN").ok());
  EXPECT_TRUE((*connection)->WriteCopy(copy_text).ok());
  const auto copied = (*connection)->EndCopyIn();
  EXPECT_TRUE(copied.ok()) << copied.status();
  const auto rows = (*connection)->Execute("SELECT v FROM v ORDER BY n");
  EXPECT_TRUE(rows.ok()) << rows.status();
  std::vector<std::string> cells;
  for (const Row& row : *rows) cells.push_back(row[0].value_or("NULL"));
  return cells;
}

using testing::ElementsAre;

TEST(CopyEncode, Integers) {
  arrow::Int64Builder builder;
  const auto array = ArrayOf(
      builder, std::vector<int64_t>{0, -1, std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()});
  EXPECT_EQ(Encode(array), "0\n-1\n-9223372036854775808\n9223372036854775807\n\\N\n");
  arrow::UInt64Builder unsigned_builder;
  EXPECT_EQ(Encode(ArrayOf(unsigned_builder, std::vector<uint64_t>{18446744073709551615u})),
            "18446744073709551615\n\\N\n");
  arrow::BooleanBuilder booleans;
  EXPECT_EQ(Encode(ArrayOf(booleans, std::vector<bool>{true, false})), "true\nfalse\n\\N\n");
}

TEST(CopyEncode, FloatsRoundTrip) {
  arrow::DoubleBuilder builder;
  const double inf = std::numeric_limits<double>::infinity();
  const std::string text = Encode(
      ArrayOf(builder, std::vector<double>{0.1, -0.0, 5e-324, 1.7976931348623157e308, std::nan(""), inf, -inf, 1e21}));
  EXPECT_EQ(text, "0.1\n-0\n5e-324\n1.7976931348623157e+308\nNaN\nInfinity\n-Infinity\n1e+21\n\\N\n");
  EXPECT_THAT(Stored("double precision", text), ElementsAre("0.1", "-0", "5e-324", "1.7976931348623157e+308", "NaN",
                                                            "Infinity", "-Infinity", "1e+21", "NULL"));
}

TEST(CopyEncode, RealIsShortestButEqualInAWiderColumn) {
  arrow::FloatBuilder builder;
  const auto array = ArrayOf(builder, std::vector<float>{0.1f, 16777216.0f});
  EXPECT_EQ(Encode(array), "0.1\n16777216\n\\N\n");
  ColumnEncoding wide{"v"};
  wide.widen_float = true;
  EXPECT_THAT(Stored("double precision", Encode(array, wide)), ElementsAre("0.10000000149011612", "16777216", "NULL"));
}

TEST(CopyEncode, DecimalsKeepEveryDigit) {
  arrow::Decimal128Builder builder(arrow::decimal128(38, 4));
  const std::vector<arrow::Decimal128> values = {arrow::Decimal128(0), arrow::Decimal128(-1), arrow::Decimal128(123456),
                                                 arrow::Decimal128("99999999999999999999999999999999999999"),
                                                 arrow::Decimal128("-10000000000000000000")};
  const std::string text = Encode(ArrayOf(builder, values));
  EXPECT_EQ(text, "0.0000\n-0.0001\n12.3456\n9999999999999999999999999999999999.9999\n-1000000000000000.0000\n\\N\n");
  EXPECT_THAT(Stored("numeric(38,4)", text),
              ElementsAre("0.0000", "-0.0001", "12.3456", "9999999999999999999999999999999999.9999",
                          "-1000000000000000.0000", "NULL"));
  arrow::Decimal256Builder wide(arrow::decimal256(76, 2));
  EXPECT_EQ(Encode(ArrayOf(
                wide, std::vector<arrow::Decimal256>{arrow::Decimal256("-5"),
                                                     arrow::Decimal256("123456789012345678901234567890123456789012")})),
            "-0.05\n1234567890123456789012345678901234567890.12\n\\N\n");
}

TEST(CopyEncode, TextEscapes) {
  arrow::StringBuilder builder;
  const std::vector<std::string> values = {"", "\\N", "a\tb\nc\rd\\e", "\b\f\v", "naïve 🦀"};
  const std::string text = Encode(ArrayOf(builder, values));
  EXPECT_EQ(text, "\n\\\\N\na\\tb\\nc\\rd\\\\e\n\\b\\f\\v\nnaïve 🦀\n\\N\n");
  EXPECT_THAT(Stored("text", text), ElementsAre("", "\\N", "a\tb\nc\rd\\e", "\b\f\v", "naïve 🦀", "NULL"));
}

TEST(CopyEncode, ZeroCharacterIsRefusedByColumn) {
  arrow::StringBuilder builder;
  const auto array = ArrayOf(builder, std::vector<std::string>{std::string("a\0b", 3)});
  std::string out;
  const absl::Status status = EncodeCopyText(OneColumn(array), {ColumnEncoding{"note"}}, &out);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("column note"));
}

TEST(CopyEncode, TooLongIsRefusedEvenIfOnlyBlanksWouldBeLost) {
  arrow::StringBuilder builder;
  ColumnEncoding three{"code"};
  three.max_characters = 3;
  EXPECT_EQ(Encode(ArrayOf(builder, std::vector<std::string>{"äöü"}), three), "äöü\n\\N\n");
  std::string out;
  const auto blanks = ArrayOf(builder, std::vector<std::string>{"abc "});
  EXPECT_EQ(EncodeCopyText(OneColumn(blanks), {three}, &out).code(), absl::StatusCode::kInvalidArgument);
}

TEST(CopyEncode, BytesAndUuids) {
  arrow::BinaryBuilder bytes;
  const std::string text = Encode(ArrayOf(bytes, std::vector<std::string>{"", std::string("\x00\xff\n", 3)}));
  EXPECT_EQ(text, "\\\\x\n\\\\x00ff0a\n\\N\n");
  EXPECT_THAT(Stored("bytea", text), ElementsAre("\\x", "\\x00ff0a", "NULL"));
  arrow::FixedSizeBinaryBuilder uuids(arrow::fixed_size_binary(16));
  EXPECT_EQ(Encode(ArrayOf(
                uuids, std::vector<std::string>{"\x01\x23\x45\x67\x89\xab\xcd\xef\xfe\xdc\xba\x98\x76\x54\x32\x10"})),
            "01234567-89ab-cdef-fedc-ba9876543210\n\\N\n");
}

// SELECT extract(epoch FROM v) * 1000000 of the values as PostgreSQL prints them.
TEST(CopyEncode, InstantsOfEveryAge) {
  arrow::TimestampBuilder builder(arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), arrow::default_memory_pool());
  const std::string text = Encode(ArrayOf(
      builder, std::vector<int64_t>{0, -1, 1709209845123456, 253402300800000000, -62135596800000000, -62135596800000001,
                                    -210866803200000000, std::numeric_limits<int64_t>::max()}));
  const auto stored = Stored("timestamp with time zone", text);
  EXPECT_THAT(stored,
              ElementsAre("1970-01-01 00:00:00+00", "1969-12-31 23:59:59.999999+00", "2024-02-29 12:30:45.123456+00",
                          "10000-01-01 00:00:00+00", "0001-01-01 00:00:00+00", "0001-12-31 23:59:59.999999+00 BC",
                          "4714-11-24 00:00:00+00 BC", "294247-01-10 04:00:54.775807+00", "NULL"));
}

TEST(CopyEncode, WallClockDatesAndTimes) {
  arrow::TimestampBuilder builder(arrow::timestamp(arrow::TimeUnit::MICRO), arrow::default_memory_pool());
  EXPECT_EQ(Encode(ArrayOf(builder, std::vector<int64_t>{1709209845000000})), "2024-02-29 12:30:45\n\\N\n");
  arrow::Date32Builder dates;
  const std::string text = Encode(ArrayOf(dates, std::vector<int32_t>{0, -719529, 2145042905, -2440588}));
  EXPECT_THAT(Stored("date", text),
              ElementsAre("1970-01-01", "0002-12-31 BC", "5874897-12-31", "4714-11-24 BC", "NULL"));
  arrow::Time64Builder times(arrow::time64(arrow::TimeUnit::MICRO), arrow::default_memory_pool());
  const std::string time_text = Encode(ArrayOf(times, std::vector<int64_t>{0, 86399999999, 86400000000}));
  EXPECT_EQ(time_text, "00:00:00\n23:59:59.999999\n24:00:00\n\\N\n");
  EXPECT_THAT(Stored("time", time_text), ElementsAre("00:00:00", "23:59:59.999999", "24:00:00", "NULL"));
}

TEST(CopyEncode, OtherUnitsAreAnErrorNotAChangedValue) {
  arrow::TimestampBuilder builder(arrow::timestamp(arrow::TimeUnit::NANO), arrow::default_memory_pool());
  std::string out;
  EXPECT_EQ(EncodeCopyText(OneColumn(ArrayOf(builder, std::vector<int64_t>{1})), {ColumnEncoding{"v"}}, &out).code(),
            absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace tidemark::postgres
