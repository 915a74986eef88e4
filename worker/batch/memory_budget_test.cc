#include "worker/batch/memory_budget.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>
#include <vector>

namespace tidemark {
namespace {

const std::atomic<bool> kNever = false;

TEST(MemoryBudget, TakesWhatIsFreeAndNoMore) {
  MemoryBudget budget(100);
  EXPECT_TRUE(budget.TryTake(60));
  EXPECT_FALSE(budget.TryTake(41));
  EXPECT_TRUE(budget.TryTake(40));
  EXPECT_EQ(budget.used(), 100);
  budget.Give(100);
  EXPECT_EQ(budget.used(), 0);
}

TEST(MemoryBudget, MoreThanThereIsTakesTheWhole) {
  MemoryBudget budget(100);
  EXPECT_EQ(budget.Take(1000, kNever), 100);
  EXPECT_FALSE(budget.TryTake(1));
  budget.Give(100);
  EXPECT_TRUE(budget.TryTake(1));
  budget.Give(1);
}

TEST(MemoryBudget, NobodyOvertakesOneWhoWaits) {
  MemoryBudget budget(100);
  ASSERT_TRUE(budget.TryTake(50));
  std::atomic<bool> got = false;
  std::thread waiter([&] {
    EXPECT_EQ(budget.Take(100, kNever), 100);
    got = true;
  });
  // As soon as the waiter stands in the queue, even one byte of the free half is refused.
  while (budget.TryTake(1)) {
    budget.Give(1);
    std::this_thread::yield();
  }
  EXPECT_FALSE(got);
  budget.Give(50);
  waiter.join();
  EXPECT_TRUE(got);
  EXPECT_EQ(budget.used(), 100);
  budget.Give(100);
}

TEST(MemoryBudget, CancelEndsTheWaitAndLeavesNothingTaken) {
  MemoryBudget budget(10);
  ASSERT_TRUE(budget.TryTake(10));
  std::atomic<bool> cancelled = false;
  std::thread waiter([&] { EXPECT_LT(budget.Take(5, cancelled), 0); });
  std::this_thread::yield();
  cancelled = true;
  budget.Wake();
  waiter.join();
  EXPECT_EQ(budget.used(), 10);
  budget.Give(10);
  EXPECT_TRUE(budget.TryTake(10));
  budget.Give(10);
}

TEST(MemoryBudget, ManyTakersNeverExceedIt) {
  MemoryBudget budget(64);
  std::atomic<int64_t> held = 0;
  std::atomic<int64_t> most = 0;
  std::vector<std::thread> takers;
  for (int t = 0; t < 4; ++t) {
    takers.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        const int64_t wanted = 1 + (i * 7 + t * 13) % 90;
        const int64_t taken = budget.Take(wanted, kNever);
        ASSERT_EQ(taken, std::min<int64_t>(wanted, 64));
        const int64_t now = held += taken;
        for (int64_t seen = most; now > seen && !most.compare_exchange_weak(seen, now);) continue;
        held -= taken;
        budget.Give(taken);
      }
    });
  }
  for (std::thread& taker : takers) taker.join();
  EXPECT_LE(most, 64);
  EXPECT_EQ(budget.used(), 0);
}

}  // namespace
}  // namespace tidemark
