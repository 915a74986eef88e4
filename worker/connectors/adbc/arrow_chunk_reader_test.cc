#include "worker/connectors/adbc/arrow_chunk_reader.h"

#include <arrow/array/array_base.h>
#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/array/builder_time.h>
#include <arrow/compute/cast.h>
#include <arrow/record_batch.h>
#include <arrow/scalar.h>
#include <arrow/type.h>

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/batch/arrow_schema.h"

namespace tidemark::adbc {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Type = v1::LogicalType;

class Batches final : public BatchReader {
 public:
  explicit Batches(std::vector<std::shared_ptr<arrow::RecordBatch>> batches)
      : batches_(std::move(batches)), schema_(batches_.at(0)->schema()) {}
  const std::shared_ptr<arrow::Schema>& schema() const override { return schema_; }
  absl::StatusOr<std::shared_ptr<arrow::RecordBatch>> Next() override {
    EXPECT_LE(next_, batches_.size()) << "asked again after the end";
    const size_t i = next_++;
    return i < batches_.size() ? batches_[i] : nullptr;
  }

 private:
  const std::vector<std::shared_ptr<arrow::RecordBatch>> batches_;
  const std::shared_ptr<arrow::Schema> schema_;
  size_t next_ = 0;
};

std::shared_ptr<arrow::RecordBatch> BatchOf(const std::shared_ptr<arrow::Array>& array) {
  return arrow::RecordBatch::Make(arrow::schema({arrow::field("v", array->type())}), array->length(), {array});
}

std::shared_ptr<arrow::Array> Longs(const std::vector<int64_t>& values) {
  arrow::Int64Builder builder;
  EXPECT_TRUE(builder.AppendValues(values).ok());
  return *builder.Finish();
}

std::shared_ptr<arrow::Array> Texts(const std::vector<std::string>& values) {
  arrow::StringBuilder builder;
  EXPECT_TRUE(builder.AppendValues(values).ok());
  EXPECT_TRUE(builder.AppendNull().ok());
  return *builder.Finish();
}

std::shared_ptr<arrow::Array> As(const std::shared_ptr<arrow::Array>& array,
                                 const std::shared_ptr<arrow::DataType>& type) {
  auto cast = arrow::compute::Cast(*array, type, arrow::compute::CastOptions::Unsafe());
  EXPECT_TRUE(cast.ok()) << cast.status();
  return *cast;
}

v1::TableSchema SchemaFor(const Type& type) {
  v1::TableSchema schema;
  v1::Column* column = schema.add_columns();
  column->set_name("v");
  column->set_native_type("native");
  column->set_nullable(true);
  *column->mutable_type() = type;
  return schema;
}

// The cells of `array` read as its own logical type, or as `type`.
absl::StatusOr<std::vector<std::string>> Read(const std::shared_ptr<arrow::Array>& array,
                                              std::optional<Type> type = std::nullopt) {
  if (!type) type = LogicalTypeOf(*array->type());
  const auto reader = ReadChunks(std::make_unique<Batches>(std::vector{BatchOf(array)}), SchemaFor(*type));
  const auto chunk = reader->Next();
  if (!chunk.ok()) return chunk.status();
  EXPECT_TRUE((*chunk)->arrow()->ValidateFull().ok());
  EXPECT_TRUE((*chunk)->arrow()->column(0)->type()->Equals(*ArrowType(*type)));
  std::vector<std::string> cells;
  for (int64_t i = 0; i < (*chunk)->rows(); ++i) {
    cells.push_back((*(*chunk)->arrow()->column(0)->GetScalar(i))->ToString());
  }
  return cells;
}

Type Decimal(int precision, int scale) {
  Type type;
  type.set_kind(Type::KIND_DECIMAL);
  type.set_precision(precision);
  type.set_scale(scale);
  return type;
}

TEST(ArrowChunkReader, SmallIntegersGrow) {
  EXPECT_THAT(*Read(As(Longs({0, 255}), arrow::uint8())), ElementsAre("0", "255"));
  EXPECT_THAT(*Read(As(Longs({65535}), arrow::uint16())), ElementsAre("65535"));
  EXPECT_THAT(*Read(As(Longs({4294967295}), arrow::uint32())), ElementsAre("4294967295"));
  EXPECT_THAT(*Read(As(Longs({-128}), arrow::int8())), ElementsAre("-128"));
}

TEST(ArrowChunkReader, TimesKeepEveryDigitOrAreRefused) {
  const auto nanos = [](int64_t value) { return As(Longs({value}), arrow::timestamp(arrow::TimeUnit::NANO)); };
  EXPECT_THAT(*Read(nanos(1'000'000'001'000)), ElementsAre("1970-01-01 00:16:40.000001"));
  const absl::Status lost = Read(nanos(1'000'000'001'001)).status();
  EXPECT_TRUE(absl::IsInvalidArgument(lost)) << lost;
  EXPECT_THAT(std::string(lost.message()), AllOf(HasSubstr("column v (native)"), HasSubstr("source.query")));
  EXPECT_THAT(*Read(As(Longs({1}), arrow::timestamp(arrow::TimeUnit::SECOND, "Europe/Paris"))),
              ElementsAre("1970-01-01 00:00:01.000000Z"));
  const int64_t forever = std::numeric_limits<int64_t>::max();
  for (const int64_t value : {forever, -forever}) {
    const auto infinite = As(Longs({value}), arrow::timestamp(arrow::TimeUnit::MICRO));
    EXPECT_THAT(std::string(Read(infinite).status().message()), HasSubstr("infinite"));
  }
  EXPECT_FALSE(Read(As(Longs({forever}), arrow::timestamp(arrow::TimeUnit::SECOND))).ok());
  arrow::Date32Builder days;
  ASSERT_TRUE(days.Append(std::numeric_limits<int32_t>::max()).ok());
  EXPECT_THAT(std::string(Read(*days.Finish()).status().message()), HasSubstr("infinite"));
}

TEST(ArrowChunkReader, TextsBecomeTheDecimalsTheyAre) {
  EXPECT_THAT(*Read(Texts({"-1234567890123456789012345678901234567890.00001"}), Decimal(60, 5)),
              ElementsAre("-1234567890123456789012345678901234567890.00001", "null"));
  EXPECT_TRUE(absl::IsInvalidArgument(Read(Texts({"0.000001"}), Decimal(60, 5)).status()));
  EXPECT_THAT(*Read(Texts({"170141183460469231731687303715884105727"}), Decimal(0, 0)),
              ElementsAre("170141183460469231731687303715884105727", "null"));
}

TEST(ArrowChunkReader, AColumnThatIsOfAnotherTypeByNowIsRefused) {
  Type type;
  type.set_kind(Type::KIND_STRING);
  EXPECT_TRUE(absl::IsInvalidArgument(Read(Longs({1}), type).status()));
  type.set_kind(Type::KIND_FLOAT64);
  EXPECT_TRUE(absl::IsInvalidArgument(Read(Longs({1}), type).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Read(Texts({"1"}), type).status()));
  EXPECT_THAT(*Read(Texts({}), type), ElementsAre("null"));
  EXPECT_FALSE(SchemaOf(*arrow::schema({arrow::field("l", arrow::list(arrow::int32()))})).ok());
}

TEST(ArrowChunkReader, SixteenBytesAreAUuid) {
  Type uuid;
  uuid.set_kind(Type::KIND_UUID);
  EXPECT_EQ(Read(As(Texts({"0123456789abcdef"}), arrow::binary()), uuid)->size(), 2u);
  EXPECT_TRUE(absl::IsInvalidArgument(Read(As(Texts({"0123"}), arrow::binary()), uuid).status()));
}

TEST(ArrowChunkReader, WhatNoLogicalTypeStandsForHasNone) {
  EXPECT_FALSE(LogicalTypeOf(*arrow::list(arrow::int32())));
  EXPECT_FALSE(LogicalTypeOf(*arrow::null()));
  EXPECT_FALSE(LogicalTypeOf(*arrow::month_day_nano_interval()));
}

TEST(ArrowChunkReader, ChunksAreOfAboutAMegabyte) {
  const auto text = [](int rows, int width) {
    return BatchOf(Texts(std::vector<std::string>(static_cast<size_t>(rows), std::string(width, 'x'))));
  };
  // Many small ones, an empty one, a huge one.
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches(40, text(1000, 100));
  batches.push_back(text(9, 100)->Slice(0, 0));
  batches.push_back(text(50, 1 << 18));
  int64_t expected = 0;
  for (const auto& batch : batches) expected += batch->num_rows();
  const auto reader = ReadChunks(std::make_unique<Batches>(batches), SchemaFor(*LogicalTypeOf(*arrow::utf8())));
  int64_t rows = 0;
  while (true) {
    const auto chunk = reader->Next();
    ASSERT_TRUE(chunk.ok()) << chunk.status();
    if (!*chunk) break;
    rows += (*chunk)->rows();
    EXPECT_GT((*chunk)->rows(), 0);
    EXPECT_LT((*chunk)->bytes(), 3 << 20);
    if (rows < expected) {
      EXPECT_GT((*chunk)->bytes(), 1 << 19);
    }
  }
  EXPECT_EQ(rows, expected);
}

}  // namespace
}  // namespace tidemark::adbc
