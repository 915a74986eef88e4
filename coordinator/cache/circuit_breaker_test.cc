#include "coordinator/cache/circuit_breaker.h"

#include "gtest/gtest.h"

namespace tidemark::coordinator {
namespace {

TEST(CircuitBreakerTest, OpensAfterFailuresInARow) {
  CircuitBreaker breaker(2, absl::Seconds(5));
  const absl::Duration now = absl::Seconds(100);
  breaker.Failed(now);
  breaker.Succeeded();
  breaker.Failed(now);
  EXPECT_TRUE(breaker.Allow(now));
  breaker.Failed(now);
  EXPECT_FALSE(breaker.Allow(now));
  EXPECT_FALSE(breaker.Allow(now + absl::Seconds(5) - absl::Nanoseconds(1)));
}

TEST(CircuitBreakerTest, OneProbeDecides) {
  CircuitBreaker breaker(1, absl::Seconds(5));
  absl::Duration now = absl::Seconds(100);
  breaker.Failed(now);
  now += absl::Seconds(5);
  EXPECT_TRUE(breaker.Allow(now));
  EXPECT_FALSE(breaker.Allow(now));
  breaker.Failed(now);
  EXPECT_FALSE(breaker.Allow(now));
  now += absl::Seconds(5);
  EXPECT_TRUE(breaker.Allow(now));
  breaker.Succeeded();
  EXPECT_TRUE(breaker.Allow(now));
  EXPECT_TRUE(breaker.Allow(now));
}

}  // namespace
}  // namespace tidemark::coordinator
