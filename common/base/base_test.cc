#include <gtest/gtest.h>

#include <set>
#include <string>

#include "common/base/clock.h"
#include "common/base/printable.h"
#include "common/base/retry_policy.h"
#include "common/base/rng.h"
#include "common/base/utf8.h"

namespace tidemark {
namespace {

TEST(SimulatedClock, MovesOnlyWhenToldAndItsReadingsCanPart) {
  SimulatedClock clock(absl::FromUnixSeconds(100));
  EXPECT_EQ(clock.Now(), absl::FromUnixSeconds(100));
  clock.Advance(absl::Seconds(5));
  EXPECT_EQ(clock.Now(), absl::FromUnixSeconds(105));
  EXPECT_EQ(clock.Monotonic(), absl::Seconds(5));
  clock.StepWall(-absl::Hours(1));
  EXPECT_EQ(clock.Now(), absl::FromUnixSeconds(105 - 3600));
  EXPECT_EQ(clock.Monotonic(), absl::Seconds(5));
}

TEST(SystemClock, MonotonicNeverDecreases) {
  SystemClock clock;
  absl::Duration last = clock.Monotonic();
  for (int i = 0; i < 1000; ++i) {
    const absl::Duration now = clock.Monotonic();
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(Printable, NothingReachesTheTerminalAsACommand) {
  EXPECT_EQ(Printable("plain \t ünï 日本 🦄"), "plain \t ünï 日本 🦄");
  EXPECT_EQ(Printable("a\x1b[31m\nb\r\x07\x7f"), "a\\x1b[31m\\nb\\r\\x07\\x7f");
  EXPECT_EQ(PrintableLines("a\nb\x1b"), "a\nb\\x1b");
  EXPECT_EQ(Printable("\xc2\x9b"
                      "31m"),
            "\\xc2\\x9b31m")
      << "the C1 form of ESC [";
  EXPECT_EQ(Printable("x\xe2\x80\xaey"), "x\\xe2\\x80\\xaey") << "right-to-left override";
  EXPECT_EQ(Printable("\xff\xc0\xaf\xed\xa0\x80\xe6"), "\\xff\\xc0\\xaf\\xed\\xa0\\x80\\xe6") << "no UTF-8";
}

TEST(Utf8, WhatBelongsToNoCharacterIsFoundAndReplaced) {
  EXPECT_EQ(FindInvalidUtf8("ünï 🦄"), std::string_view::npos);
  EXPECT_EQ(FindInvalidUtf8("ab\xe9"
                            "c"),
            2U);
  EXPECT_EQ(ValidUtf8("a\xff\xe2\x82"
                      "b"),
            "a\ufffd\ufffd\ufffd"
            "b");
}

TEST(Elided, KeepsBothEndsWhole) {
  EXPECT_EQ(Elided("short", 5), "short");
  EXPECT_EQ(Elided("0123456789", 4), "01…89");
  EXPECT_EQ(Elided("ééééé", 6), "é…é");
}

TEST(Rng, ASeedReplays) {
  Rng a(42), b(42), c(43);
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    const uint64_t value = a.Next();
    EXPECT_EQ(value, b.Next());
    differs |= value != c.Next();
  }
  EXPECT_TRUE(differs);
}

TEST(Rng, BelowStaysBelowAndReachesEveryValue) {
  Rng rng(1);
  std::set<uint64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t value = rng.Below(7);
    ASSERT_LT(value, 7u);
    seen.insert(value);
  }
  EXPECT_EQ(seen.size(), 7u);
}

TEST(NewId, SortsByCreationAndIsSafeInNames) {
  Rng rng(3);
  std::set<std::string> ids;
  std::string last;
  for (int second = 0; second < 50; ++second) {
    const std::string id = NewId(absl::FromUnixSeconds(1'700'000'000 + second), rng);
    ASSERT_EQ(id.size(), 26u);
    for (char c : id) ASSERT_TRUE((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z')) << id;
    ASSERT_GT(id, last);
    ids.insert(id);
    last = id;
  }
  EXPECT_NE(NewId(absl::UnixEpoch(), rng), NewId(absl::UnixEpoch(), rng));
}

TEST(RetryPolicy, BacksOffExponentiallyWithJitterUpToItsCap) {
  Rng rng(5);
  const RetryPolicy policy{
      .max_attempts = 5, .initial_backoff = absl::Seconds(2), .multiplier = 2, .max_backoff = absl::Seconds(10)};
  for (int round = 0; round < 100; ++round) {
    EXPECT_GE(policy.BackoffBefore(2, rng), absl::Seconds(1));
    EXPECT_LE(policy.BackoffBefore(2, rng), absl::Seconds(2));
    EXPECT_GE(policy.BackoffBefore(3, rng), absl::Seconds(2));
    EXPECT_LE(policy.BackoffBefore(3, rng), absl::Seconds(4));
    EXPECT_LE(policy.BackoffBefore(1000, rng), absl::Seconds(10));
  }
  EXPECT_FALSE(policy.Exhausted(4));
  EXPECT_TRUE(policy.Exhausted(5));
}

}  // namespace
}  // namespace tidemark
