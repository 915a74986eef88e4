#include "coordinator/dispatch/rate_budget.h"

#include <gtest/gtest.h>

#include <deque>

#include "common/base/rng.h"

namespace tidemark::coordinator {
namespace {

v1::ConnectionSpec Shop(int64_t rows_per_second) {
  v1::ConnectionSpec connection;
  connection.set_name("shop");
  connection.set_dsn("postgresql://h/shop");
  connection.set_max_rows_per_second(rows_per_second);
  return connection;
}

// What a worker was told last, as it acknowledges it.
v1::RateShare Share(const RateBudget& budget, const std::string& worker) {
  const std::vector<v1::RateShare> shares = budget.Shares(worker);
  return shares.empty() ? v1::RateShare() : shares[0];
}

int64_t Rows(const RateBudget& budget, const std::string& worker) { return Share(budget, worker).rows_per_second(); }

TEST(RateBudgetTest, WithoutALimitEveryoneReads) {
  RateBudget budget;
  budget.SetConnections({Shop(0)});
  EXPECT_TRUE(budget.Admit("a", "shop", absl::ZeroDuration()));
  EXPECT_TRUE(budget.Shares("a").empty());
  EXPECT_FALSE(budget.HasNews("a"));
}

TEST(RateBudgetTest, ASecondWorkerWaitsUntilTheFirstHasAcknowledgedLess) {
  RateBudget budget;
  budget.SetConnections({Shop(50'000)});
  const absl::Duration now = absl::Seconds(1);
  ASSERT_TRUE(budget.Admit("a", "shop", now));
  EXPECT_EQ(Rows(budget, "a"), 50'000);
  budget.NoteTold("a");
  budget.Acknowledge("a", Share(budget, "a"));
  const v1::RateShare full = Share(budget, "a");

  EXPECT_FALSE(budget.Admit("b", "shop", now));
  EXPECT_EQ(Rows(budget, "a"), 25'000);
  EXPECT_TRUE(budget.HasNews("a"));
  EXPECT_EQ(budget.Outstanding("shop"), 50'000);
  // What is in force still is the old share: that says nothing.
  budget.Acknowledge("a", full);
  EXPECT_FALSE(budget.Admit("b", "shop", now));

  budget.Acknowledge("a", Share(budget, "a"));
  EXPECT_TRUE(budget.Admit("b", "shop", now));
  EXPECT_EQ(Rows(budget, "b"), 25'000);
  EXPECT_EQ(budget.Outstanding("shop"), 50'000);
}

TEST(RateBudgetTest, WhoIsLeftGetsTheWholeAgain) {
  RateBudget budget;
  budget.SetConnections({Shop(1000)});
  ASSERT_TRUE(budget.Admit("a", "shop", absl::ZeroDuration()));
  ASSERT_FALSE(budget.Admit("b", "shop", absl::ZeroDuration()));
  budget.Acknowledge("a", Share(budget, "a"));
  ASSERT_TRUE(budget.Admit("b", "shop", absl::ZeroDuration()));
  budget.Observe({{"a", "shop"}, {"b", "shop"}}, absl::Seconds(1));
  budget.Observe({{"a", "shop"}}, absl::Seconds(1.5));
  EXPECT_EQ(Rows(budget, "a"), 500);
  EXPECT_EQ(budget.NextChange(), absl::Seconds(1) + RateBudget::kLinger);
  budget.Observe({{"a", "shop"}}, absl::Seconds(2));
  EXPECT_EQ(Rows(budget, "a"), 1000);
  EXPECT_TRUE(budget.Shares("b").empty());
}

TEST(RateBudgetTest, AWaiterThatLosesInterestGivesItsPlaceUp) {
  RateBudget budget;
  budget.SetConnections({Shop(1000)});
  ASSERT_TRUE(budget.Admit("a", "shop", absl::ZeroDuration()));
  ASSERT_FALSE(budget.Admit("b", "shop", absl::ZeroDuration()));
  EXPECT_EQ(Rows(budget, "a"), 500);
  budget.Observe({{"a", "shop"}}, RateBudget::kPatience);
  EXPECT_EQ(Rows(budget, "a"), 1000);
}

TEST(RateBudgetTest, AnEarlierLeadersShareCountsInFullUntilItIsKnown) {
  RateBudget budget;
  budget.SetEpoch(3);
  budget.SetConnections({Shop(1000)});
  budget.Assume("a", "shop", absl::ZeroDuration());
  EXPECT_EQ(budget.Outstanding("shop"), 1000);
  EXPECT_FALSE(budget.Admit("b", "shop", absl::ZeroDuration()));
  v1::RateShare old;
  old.set_connection("shop");
  old.set_rows_per_second(800);
  old.set_version(9);
  budget.Acknowledge("a", old);
  EXPECT_EQ(Rows(budget, "a"), 500);
  EXPECT_GT(Share(budget, "a").version(), old.version());
  EXPECT_FALSE(budget.Admit("b", "shop", absl::ZeroDuration()));
  budget.Acknowledge("a", Share(budget, "a"));
  EXPECT_TRUE(budget.Admit("b", "shop", absl::ZeroDuration()));
}

TEST(RateBudgetTest, OfMoreReadersThanRowsPerSecondSomeRead) {
  RateBudget budget;
  budget.SetConnections({Shop(1)});
  ASSERT_TRUE(budget.Admit("a", "shop", absl::ZeroDuration()));
  EXPECT_FALSE(budget.Admit("b", "shop", absl::ZeroDuration()));
  EXPECT_FALSE(budget.Admit("c", "shop", absl::ZeroDuration()));
  // The first has read what it wanted; two others ask on and on.
  budget.Observe({}, RateBudget::kLinger);
  EXPECT_TRUE(budget.Admit("b", "shop", RateBudget::kLinger));
  EXPECT_EQ(Rows(budget, "b"), 1);
  EXPECT_FALSE(budget.Admit("c", "shop", RateBudget::kLinger));
  EXPECT_EQ(budget.Outstanding("shop"), 1);
}

// Workers come and go, replies are lost and overtake each other: what is in force at the readers never exceeds the
// limit.
TEST(RateBudgetTest, SharesInForceNeverExceedTheLimit) {
  constexpr int64_t kLimit = 10'000;
  struct Reader {
    bool reading = false;
    v1::RateShare in_force;
    std::deque<v1::RateShare> on_their_way;
  };
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    Rng rng(seed);
    RateBudget budget;
    budget.SetConnections({Shop(kLimit)});
    std::map<std::string, Reader> readers{{"a", {}}, {"b", {}}, {"c", {}}, {"d", {}}};
    absl::Duration now;
    int64_t most = 0;
    for (int step = 0; step < 2000; ++step) {
      now += absl::Milliseconds(50);
      auto& [name, reader] = *std::next(readers.begin(), rng.Below(4));
      switch (rng.Below(5)) {
        case 0:
          if (!reader.reading && budget.Admit(name, "shop", now)) {
            // The share comes with the task that it is read for.
            reader.reading = true;
            if (const v1::RateShare told = Share(budget, name); told.version() > reader.in_force.version())
              reader.in_force = told;
          }
          break;
        case 1:
          if (rng.Below(4) == 0) reader.reading = false;
          break;
        case 2:
          reader.on_their_way.push_back(Share(budget, name));
          break;
        case 3:
          if (!reader.on_their_way.empty()) {
            const size_t at = rng.Below(reader.on_their_way.size());
            const v1::RateShare told = reader.on_their_way[at];
            reader.on_their_way.erase(reader.on_their_way.begin() + static_cast<std::ptrdiff_t>(at));
            if (rng.Below(5) != 0 && told.version() > reader.in_force.version()) reader.in_force = told;
          }
          break;
        case 4:
          budget.Acknowledge(name, reader.in_force);
          break;
      }
      std::set<RateBudget::Reader> reading;
      int64_t in_force = 0;
      for (const auto& [id, each] : readers) {
        if (!each.reading) continue;
        reading.insert({id, "shop"});
        in_force += each.in_force.rows_per_second();
      }
      budget.Observe(reading, now);
      ASSERT_LE(in_force, kLimit) << "seed " << seed << " step " << step;
      ASSERT_LE(budget.Outstanding("shop"), kLimit) << "seed " << seed << " step " << step;
      most = std::max(most, in_force);
    }
    EXPECT_GT(most, kLimit * 9 / 10) << "seed " << seed;
  }
}

}  // namespace
}  // namespace tidemark::coordinator
