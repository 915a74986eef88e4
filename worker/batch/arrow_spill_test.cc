// What an Arrow batch is after its way over the disk.
#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/record_batch.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>

#include "worker/batch/arrow_chunk_codec.h"
#include "worker/batch/process_memory.h"
#include "worker/batch/spill.h"

namespace tidemark {
namespace {

// Before any test allocates.
[[maybe_unused]] const bool chosen = (ReturnLargeBuffersAtOnce(), true);

std::shared_ptr<arrow::RecordBatch> Batch(int64_t rows) {
  arrow::Int64Builder ids;
  arrow::DoubleBuilder values;
  arrow::StringBuilder names;
  for (int64_t i = 0; i < rows; ++i) {
    EXPECT_TRUE(ids.Append(i * 1'000'003).ok());
    EXPECT_TRUE((i % 3 == 0 ? values.AppendNull() : values.Append(static_cast<double>(i) / 7)).ok());
    EXPECT_TRUE(names.Append(std::string(static_cast<size_t>(i % 50), 'x')).ok());
  }
  auto schema = arrow::schema({arrow::field("id", arrow::int64(), false), arrow::field("value", arrow::float64()),
                               arrow::field("naïve \"name\"", arrow::utf8())});
  return arrow::RecordBatch::Make(schema, rows, {*ids.Finish(), *values.Finish(), *names.Finish()});
}

TEST(ArrowSpill, ComesBackEqualFromMemoryAndDisk) {
  std::string directory = (std::filesystem::temp_directory_path() / "arrow_spill_test_XXXXXX").string();
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  MemoryBudget budget(1 << 20);
  for (const int64_t share : {int64_t{1} << 20, int64_t{0}}) {
    auto spill = OpenSpill({directory, "task", "run", 0, share, 4 << 20}, &budget);
    ASSERT_TRUE(spill.ok());
    ASSERT_TRUE((*spill)->Append(Chunk::FromArrow(Batch(1000))).ok());
    // A slice shares its parent's buffers with an offset.
    ASSERT_TRUE((*spill)->Append(Chunk::FromArrow(Batch(1000)->Slice(100, 33))).ok());
    (*spill)->Finish(absl::OkStatus());
    auto whole = (*spill)->Next();
    ASSERT_TRUE(whole.ok() && whole->has_value()) << whole.status();
    EXPECT_TRUE((*whole)->arrow()->Equals(*Batch(1000), /*check_metadata=*/true));
    auto slice = (*spill)->Next();
    ASSERT_TRUE(slice.ok() && slice->has_value()) << slice.status();
    EXPECT_EQ((*slice)->rows(), 33);
    EXPECT_TRUE((*slice)->arrow()->Equals(*Batch(1000)->Slice(100, 33)));
    EXPECT_TRUE((*slice)->arrow()->ValidateFull().ok());
  }
  EXPECT_EQ(budget.used(), 0);
  std::filesystem::remove_all(directory);
}

// Sanitizers keep freed memory.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(ArrowSpill, ResidentMemoryFollowsTheBudget) {
  constexpr int64_t kMega = 1 << 20;
  std::string directory = (std::filesystem::temp_directory_path() / "arrow_spill_test_XXXXXX").string();
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  MemoryBudget budget(16 * kMega);
  Batch(1000);
  const int64_t before = ResidentBytes();
  auto spill = OpenSpill({directory, "task", "run", 0, 12 * kMega, 4 * kMega}, &budget);
  ASSERT_TRUE(spill.ok());
  for (int i = 0; i < 48; ++i) ASSERT_TRUE((*spill)->Append(Chunk::FromArrow(Batch(25'000))).ok());
  (*spill)->Finish(absl::OkStatus());
  EXPECT_GT((*spill)->spilled_bytes(), 30 * kMega);
  EXPECT_LE(ResidentBytes() - before, 20 * kMega);
  for (int i = 0; i < 48; ++i) ASSERT_TRUE((*spill)->Next().ok());
  EXPECT_LE(ResidentBytes() - before, 24 * kMega);
  spill->reset();
  EXPECT_LE(ResidentBytes() - before, 12 * kMega);
  std::filesystem::remove_all(directory);
}
#endif

TEST(ArrowSpill, WhatIsNoStreamIsDataLoss) {
  EXPECT_EQ(DecodeArrowChunk("").status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(DecodeArrowChunk(std::string(100, 'x')).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace tidemark
