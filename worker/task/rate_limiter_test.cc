#include "worker/task/rate_limiter.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace tidemark {
namespace {

TEST(RateLimiter, NobodyReadsBeforeARateIsTold) {
  SimulatedClock clock;
  RateLimiter limiter(&clock);
  EXPECT_GT(limiter.Delay(), absl::ZeroDuration());
  limiter.SetRate(0);
  EXPECT_EQ(limiter.Delay(), absl::ZeroDuration());
  limiter.Spend(1'000'000'000);
  EXPECT_EQ(limiter.Delay(), absl::ZeroDuration());
}

TEST(RateLimiter, TasksTogetherStayWithinTheRate) {
  SimulatedClock clock;
  RateLimiter limiter(&clock);
  limiter.SetRate(50'000);
  // Two tasks with chunks of different sizes, each asleep for as long as it was told, and a bit.
  const int64_t chunk[] = {7'000, 333};
  absl::Duration wake[] = {absl::ZeroDuration(), absl::ZeroDuration()};
  int64_t rows = 0;
  const absl::Duration start = clock.Monotonic();
  while (clock.Monotonic() - start < absl::Seconds(20)) {
    for (int task = 0; task < 2; ++task) {
      if (clock.Monotonic() < wake[task]) continue;
      if (const absl::Duration delay = limiter.Delay(); delay > absl::ZeroDuration()) {
        wake[task] = clock.Monotonic() + std::min(delay, absl::Milliseconds(100)) + absl::Microseconds(700);
        continue;
      }
      limiter.Spend(chunk[task]);
      rows += chunk[task];
    }
    clock.Advance(absl::Microseconds(500));
  }
  EXPECT_NEAR(static_cast<double>(rows), 1'000'000, 20'000);
}

TEST(RateLimiter, WhatWasNotReadIsNotSavedUp) {
  SimulatedClock clock;
  RateLimiter limiter(&clock);
  limiter.SetRate(1000);
  clock.Advance(absl::Hours(1));
  int64_t at_once = 0;
  while (limiter.Delay() == absl::ZeroDuration()) {
    limiter.Spend(10);
    at_once += 10;
  }
  EXPECT_LE(at_once, 110);
}

TEST(RateLimiter, ALowerRateHoldsForDebtsMadeBefore) {
  SimulatedClock clock;
  RateLimiter limiter(&clock);
  limiter.SetRate(1000);
  limiter.Spend(1000);
  EXPECT_EQ(limiter.Delay(), absl::Seconds(1));
  limiter.SetRate(100);
  EXPECT_EQ(limiter.Delay(), absl::Seconds(10));
  clock.Advance(absl::Seconds(10));
  EXPECT_EQ(limiter.Delay(), absl::ZeroDuration());
}

}  // namespace
}  // namespace tidemark
