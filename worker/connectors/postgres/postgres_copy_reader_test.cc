#include "worker/connectors/postgres/postgres_copy_reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>

#include "absl/strings/str_cat.h"
#include "tests/support/postgres_server.h"
#include "worker/connectors/postgres/postgres_source_testing.h"

namespace {

// The largest block that was asked for.
std::atomic<size_t> largest_block = 0;

}  // namespace

// Not inlined, or GCC takes the pair for a mismatch of the library's new with free.
[[gnu::noinline]] void* operator new(size_t bytes) {
  if (bytes > largest_block) largest_block = bytes;
  if (void* block = std::malloc(bytes); block != nullptr) return block;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* block) noexcept { std::free(block); }
[[gnu::noinline]] void operator delete(void* block, size_t) noexcept { std::free(block); }

namespace tidemark::postgres {
namespace {

// The sizes of the chunks of undecoded rows that a query yields.
std::vector<size_t> ReadSizes(Connection& connection, const std::string& query) {
  EXPECT_TRUE(connection.BeginCopyOut(absl::StrCat("COPY (", query, ") TO STDOUT (FORMAT binary)")).ok());
  CopyReader reader(&connection, nullptr, {}, [](absl::Status status) { return status; });
  std::vector<size_t> sizes;
  while (true) {
    auto chunk = reader.Next();
    EXPECT_TRUE(chunk.ok()) << chunk.status();
    if (!chunk.ok() || !chunk->has_value()) return sizes;
    sizes.push_back((*chunk)->pg_tuples().size());
  }
}

TEST(PostgresCopyReader, ARowTakesItsOwnSizeHoweverLarge) {
  const auto connection = MustConnect(test::PostgresServer::Shared().NewDatabase());
  constexpr size_t kLarge = 40'000'000;
  constexpr size_t kFrame = 2 + 4;
  const std::string large = absl::StrCat("SELECT repeat('x', ", kLarge, ")");
  largest_block = 0;
  EXPECT_EQ(ReadSizes(*connection, large), std::vector<size_t>{kLarge + kFrame});
  EXPECT_LT(largest_block, kLarge + 100'000);
  // Behind a small one.
  largest_block = 0;
  EXPECT_EQ(ReadSizes(*connection, absl::StrCat("SELECT 'y' UNION ALL ", large)),
            std::vector<size_t>{kLarge + 1 + 2 * kFrame});
  EXPECT_LT(largest_block, kLarge + 100'000);
}

TEST(PostgresCopyReader, SmallRowsAreGatheredInOneBlock) {
  const auto connection = MustConnect(test::PostgresServer::Shared().NewDatabase());
  largest_block = 0;
  const std::vector<size_t> sizes = ReadSizes(*connection, "SELECT repeat('x', 1000) FROM generate_series(1, 5000)");
  ASSERT_EQ(sizes.size(), 5U);
  for (size_t i = 0; i + 1 < sizes.size(); ++i) EXPECT_GE(sizes[i], size_t{1} << 20);
  EXPECT_LT(largest_block, size_t{1100} << 10);
}

}  // namespace
}  // namespace tidemark::postgres
