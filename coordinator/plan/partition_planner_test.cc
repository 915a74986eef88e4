#include "coordinator/plan/partition_planner.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "common/base/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tidemark::coordinator {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kMegabyte = int64_t{1} << 20;

v1::DescribeResult Relation(int64_t rows, int64_t bytes) {
  v1::DescribeResult description;
  description.add_formats(v1::CHUNK_FORMAT_PG_COPY_BINARY);
  description.add_formats(v1::CHUNK_FORMAT_ARROW);
  description.set_estimated_rows(rows);
  description.set_estimated_bytes(bytes);
  return description;
}

void AddPhysical(v1::DescribeResult& description, int64_t blocks) {
  v1::PartitionFacts* facts = description.add_partition_facts();
  facts->set_partitioning(v1::PARTITIONING_PHYSICAL);
  facts->set_blocks(blocks);
}

v1::PartitionFacts* AddKey(v1::DescribeResult& description, const std::vector<std::string>& columns) {
  v1::PartitionFacts* facts = description.add_partition_facts();
  facts->set_partitioning(v1::PARTITIONING_KEY);
  facts->set_immutable(true);
  for (const std::string& column : columns) facts->add_columns(column);
  return facts;
}

// An integer key cut at 10, 20, …, 10 * quantiles.
v1::PartitionFacts* AddIntegerKey(v1::DescribeResult& description, const std::string& column, int quantiles) {
  v1::PartitionFacts* facts = AddKey(description, {column});
  for (int i = 1; i <= quantiles; ++i) facts->add_quantiles()->add_values(absl::StrCat(i * 10));
  return facts;
}

std::vector<v1::KeyRange> MustPlan(const v1::DescribeResult& description, const v1::PartitionSpec& partition = {},
                                   bool in_snapshot = true, const PlanLimits& limits = {}) {
  const absl::StatusOr<Plan> plan = PlanPartitions(description, partition, in_snapshot, limits);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return plan.ok() ? plan->ranges : std::vector<v1::KeyRange>();
}

v1::PartitionSpec Count(int count) {
  v1::PartitionSpec partition;
  partition.set_count(count);
  return partition;
}

v1::PartitionSpec By(const std::string& column) {
  v1::PartitionSpec partition;
  partition.set_by(column);
  return partition;
}

v1::PartitionSpec Rows(int64_t rows) {
  v1::PartitionSpec partition;
  partition.set_rows(rows);
  return partition;
}

std::vector<std::string> Bounds(const std::vector<v1::KeyRange>& ranges) {
  std::vector<std::string> bounds;
  for (const v1::KeyRange& range : ranges) {
    bounds.push_back(range.nulls() ? "null"
                                   : absl::StrCat(range.has_lower() ? range.lower().values(0) : "-", "..",
                                                  range.has_upper() ? range.upper().values(0) : "-"));
  }
  return bounds;
}

TEST(PartitionPlanner, ASmallRelationIsOneRange) {
  v1::DescribeResult description = Relation(400'000, 40 * kMegabyte);
  AddPhysical(description, 5000);
  AddIntegerKey(description, "id", 99)->set_nullable(true);
  for (const bool in_snapshot : {true, false}) {
    const auto ranges = MustPlan(description, {}, in_snapshot);
    ASSERT_EQ(ranges.size(), 1u);
    EXPECT_EQ(ranges[0].partitioning(), v1::PARTITIONING_NONE);
    EXPECT_EQ(ranges[0].estimated_rows(), 400'000);
    EXPECT_FALSE(ranges[0].nulls());
  }
}

TEST(PartitionPlanner, PhysicalRangesOnlyInsideASnapshot) {
  v1::DescribeResult description = Relation(6'000'000, 900 * kMegabyte);
  AddPhysical(description, 115'200);
  AddIntegerKey(description, "id", 99);
  const auto physical = MustPlan(description, {}, /*in_snapshot=*/true);
  ASSERT_EQ(physical.size(), 19u);  // 900 / 48, rounded up, above 4 sessions x 4.
  EXPECT_EQ(physical[0].partitioning(), v1::PARTITIONING_PHYSICAL);
  EXPECT_THAT(Bounds(physical)[1], "6063..12126");
  int64_t rows = 0;
  for (const v1::KeyRange& range : physical) {
    rows += range.estimated_rows();
    EXPECT_NEAR(range.estimated_rows(), 6'000'000 / 19, 100);
  }
  EXPECT_EQ(rows, 6'000'000);

  const auto keyed = MustPlan(description, {}, /*in_snapshot=*/false);
  ASSERT_EQ(keyed.size(), 19u);
  EXPECT_EQ(keyed[0].partitioning(), v1::PARTITIONING_KEY);
  EXPECT_THAT(keyed[0].columns(), testing::ElementsAre("id"));
}

TEST(PartitionPlanner, AKeyThatMayChangeOnlyInsideASnapshot) {
  v1::DescribeResult description = Relation(6'000'000, 900 * kMegabyte);
  AddIntegerKey(description, "status", 99)->set_immutable(false);
  EXPECT_EQ(MustPlan(description, {}, true).size(), 19u);
  EXPECT_EQ(MustPlan(description, {}, false).size(), 1u);
  EXPECT_EQ(MustPlan(description, By("status"), true).size(), 19u);
  const auto refused = PlanPartitions(description, By("status"), false, {});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("status may change"));
}

TEST(PartitionPlanner, OverSplitsOnceItCuts) {
  v1::DescribeResult description = Relation(600'000, 60 * kMegabyte);  // Worth two ranges.
  AddPhysical(description, 7680);
  PlanLimits limits;
  EXPECT_EQ(MustPlan(description).size(), 16u);
  limits.max_sessions = 1;
  EXPECT_EQ(MustPlan(description, {}, true, limits).size(), 4u);
  limits.oversplit = 1;
  EXPECT_EQ(MustPlan(description, {}, true, limits).size(), 2u);
  limits.max_sessions = 64;
  limits.max_partitions = 10;
  EXPECT_EQ(MustPlan(description, {}, true, limits).size(), 10u);
}

TEST(PartitionPlanner, SizesByWhatIsKnown) {
  const auto ranges = [](int64_t rows, int64_t bytes) {
    v1::DescribeResult description = Relation(rows, bytes);
    AddPhysical(description, 1'000'000);
    return MustPlan(description).size();
  };
  EXPECT_EQ(ranges(20'000'000, -1), 40u);
  EXPECT_EQ(ranges(-1, 4800 * kMegabyte), 100u);
  EXPECT_EQ(ranges(20'000'000, 4800 * kMegabyte), 100u);
  EXPECT_EQ(ranges(-1, -1), 16u);
  EXPECT_EQ(ranges(0, 0), 1u);
  EXPECT_EQ(ranges(int64_t{1} << 62, -1), 4096u);
}

TEST(PartitionPlanner, NullKeysHaveARangeOfTheirOwn) {
  v1::DescribeResult description = Relation(6'000'000, -1);
  AddIntegerKey(description, "id", 3)->set_nullable(true);
  EXPECT_THAT(Bounds(MustPlan(description)), testing::ElementsAre("-..10", "10..20", "20..30", "30..-", "null"));
  EXPECT_THAT(Bounds(MustPlan(description, Count(2))), testing::ElementsAre("-..20", "20..-", "null"));
  description.mutable_partition_facts(0)->set_nullable(false);
  EXPECT_THAT(Bounds(MustPlan(description, Count(4))), testing::ElementsAre("-..10", "10..20", "20..30", "30..-"));
}

TEST(PartitionPlanner, TheNumberThatIsAskedFor) {
  v1::DescribeResult description = Relation(1000, 1000);
  AddIntegerKey(description, "id", 5);
  AddPhysical(description, 3);
  // The preferred one if it can, else one that can.
  EXPECT_EQ(MustPlan(description, Count(6))[0].partitioning(), v1::PARTITIONING_KEY);
  const auto physical = MustPlan(description, Count(8));
  EXPECT_THAT(Bounds(physical), testing::ElementsAre("-..1", "1..2", "2..3", "3..4", "4..5", "5..6", "6..7", "7..-"));
  int64_t rows = 0;
  for (const v1::KeyRange& range : physical) rows += range.estimated_rows();
  EXPECT_EQ(rows, 1000);
  // As many as the key allows.
  EXPECT_EQ(MustPlan(description, Count(8), /*in_snapshot=*/false).size(), 6u);
  EXPECT_EQ(MustPlan(description, Count(1)).size(), 1u);
  EXPECT_EQ(MustPlan(Relation(1000, 1000), Count(8)).size(), 1u);
  for (int count = 2; count <= 300; ++count) {
    v1::DescribeResult wide = Relation(1'000'000, -1);
    AddIntegerKey(wide, "id", 299);
    ASSERT_EQ(MustPlan(wide, Count(count)).size(), static_cast<size_t>(count));
  }
}

TEST(PartitionPlanner, TheRowsThatAreAskedFor) {
  v1::DescribeResult description = Relation(1'000'000, 10 * kMegabyte);
  AddIntegerKey(description, "id", 999);
  EXPECT_EQ(MustPlan(description, Rows(100'000)).size(), 10u);
  EXPECT_EQ(MustPlan(description, Rows(300'000)).size(), 4u);
  EXPECT_EQ(MustPlan(description, Rows(2'000'000)).size(), 1u);
  EXPECT_EQ(MustPlan(description, Rows(1)).size(), 1000u);
  PlanLimits limits;
  limits.max_partitions = 50;
  EXPECT_EQ(MustPlan(description, Rows(1), true, limits).size(), 50u);
  description.set_estimated_rows(-1);
  EXPECT_EQ(MustPlan(description, Rows(100'000)).size(), 1000u);
}

TEST(PartitionPlanner, TheColumnThatIsAskedFor) {
  v1::DescribeResult description = Relation(6'000'000, -1);
  AddPhysical(description, 100'000);
  AddIntegerKey(description, "order_date", 99);
  const auto ranges = MustPlan(description, By("order_date"));
  ASSERT_EQ(ranges.size(), 16u);
  EXPECT_THAT(ranges[0].columns(), testing::ElementsAre("order_date"));
  const auto refused = PlanPartitions(description, By("nope"), true, {});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refused.status().message(),
            "partition.by: the source cannot cut by nope; it offers physical ranges, ranges of (order_date)");
}

TEST(PartitionPlanner, RefusesWhatMakesNoSense) {
  v1::DescribeResult description = Relation(6'000'000, -1);
  AddPhysical(description, 100'000);
  v1::PartitionSpec both = Count(4);
  both.set_rows(10);
  for (const v1::PartitionSpec& partition : {both, Count(-1), Rows(-1), Count(5000)}) {
    EXPECT_EQ(PlanPartitions(description, partition, true, {}).status().code(), absl::StatusCode::kInvalidArgument)
        << partition.ShortDebugString();
  }
  AddKey(description, {"a", "b"})->add_quantiles()->add_values("1");  // A cut point of one value.
  EXPECT_EQ(PlanPartitions(description, By("a"), true, {}).status().code(), absl::StatusCode::kInternal);
  description.clear_formats();
  EXPECT_EQ(PlanPartitions(description, {}, true, {}).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(PartitionPlanner, TakesTheBestCommonFormat) {
  v1::DescribeResult description = Relation(1, 1);
  EXPECT_EQ(PlanPartitions(description, {}, true, {})->format, v1::CHUNK_FORMAT_PG_COPY_BINARY);
}

// The model that the property is checked against: keys are tuples of integers or texts, any of which may be NULL.
using Value = std::variant<int64_t, std::string>;
using Key = std::vector<std::optional<Value>>;

Value Parse(const std::string& text, bool integer) {
  if (integer) return int64_t{std::stoll(text)};
  return text;
}

// A range as its reader understands it.
struct Membership {
  bool everything = false;
  bool nulls = false;
  std::optional<Key> lower;
  std::optional<Key> upper;

  bool Holds(const Key& key) const {
    if (everything) return true;
    const bool null = std::any_of(key.begin(), key.end(), [](const auto& value) { return !value.has_value(); });
    if (null || nulls) return null && nulls;
    return !(lower.has_value() && key < *lower) && !(upper.has_value() && key >= *upper);
  }
};

std::vector<Membership> Memberships(const std::vector<v1::KeyRange>& ranges, const std::vector<bool>& integer) {
  const auto key = [&](const v1::KeyBound& bound) {
    Key values;
    for (int i = 0; i < bound.values_size(); ++i) values.emplace_back(Parse(bound.values(i), integer[i]));
    return values;
  };
  std::vector<Membership> memberships;
  for (const v1::KeyRange& range : ranges) {
    Membership& membership = memberships.emplace_back();
    membership.everything = range.partitioning() == v1::PARTITIONING_NONE;
    membership.nulls = range.nulls();
    if (range.has_lower()) membership.lower = key(range.lower());
    if (range.has_upper()) membership.upper = key(range.upper());
  }
  return memberships;
}

int64_t Holders(const std::vector<Membership>& memberships, const Key& key) {
  return std::count_if(memberships.begin(), memberships.end(),
                       [&](const Membership& range) { return range.Holds(key); });
}

TEST(PartitionPlanner, EveryKeyIsInExactlyOneRange) {
  Rng rng(20261123);
  for (int round = 0; round < 400; ++round) {
    const size_t width = 1 + rng.Below(3);
    const bool nullable = rng.Below(2) == 0;
    std::vector<bool> integer;
    std::vector<std::string> columns;
    for (size_t i = 0; i < width; ++i) {
      integer.push_back(rng.Below(2) == 0);
      columns.push_back(absl::StrCat("c", i));
    }
    // Few distinct values, so that keys and cut points often share a prefix, or are the same.
    const auto random_key = [&] {
      Key key;
      for (size_t i = 0; i < width; ++i) {
        if (integer[i]) {
          key.emplace_back(static_cast<int64_t>(rng.Below(40)) - 20);
        } else {
          key.emplace_back(std::string(rng.Below(3), static_cast<char>('a' + rng.Below(3))));
        }
      }
      return key;
    };
    std::set<Key> cut_points;
    for (uint64_t i = rng.Below(60); i > 0; --i) cut_points.insert(random_key());

    v1::DescribeResult description = Relation(static_cast<int64_t>(rng.Below(20'000'000)) - 1, -1);
    v1::PartitionFacts* facts = AddKey(description, columns);
    facts->set_nullable(nullable);
    for (const Key& point : cut_points) {
      v1::KeyBound* bound = facts->add_quantiles();
      for (const std::optional<Value>& value : point) {
        bound->add_values(std::holds_alternative<int64_t>(*value) ? absl::StrCat(std::get<int64_t>(*value))
                                                                  : std::get<std::string>(*value));
      }
    }
    v1::PartitionSpec partition;
    PlanLimits limits;
    limits.max_partitions = 1 + static_cast<int>(rng.Below(64));
    limits.max_sessions = 1 + static_cast<int>(rng.Below(8));
    switch (rng.Below(3)) {
      case 0:
        partition.set_count(1 + static_cast<int>(rng.Below(limits.max_partitions)));
        break;
      case 1:
        partition.set_rows(1 + static_cast<int64_t>(rng.Below(1'000'000)));
        break;
    }
    const auto ranges = MustPlan(description, partition, rng.Below(2) == 0, limits);
    const auto nulls = std::count_if(ranges.begin(), ranges.end(), [](const auto& range) { return range.nulls(); });
    const int64_t keyed = static_cast<int64_t>(ranges.size()) - nulls;
    EXPECT_EQ(nulls, nullable && keyed > 1 ? 1 : 0);
    EXPECT_LE(keyed, limits.max_partitions);
    if (partition.count() > 0) {
      EXPECT_EQ(keyed, std::min<int64_t>(partition.count(), static_cast<int64_t>(cut_points.size()) + 1));
    }

    std::vector<Key> keys(cut_points.begin(), cut_points.end());
    for (int i = 0; i < 50; ++i) {
      keys.push_back(random_key());
      if (nullable && rng.Below(2) == 0) keys.back()[rng.Below(width)] = std::nullopt;
    }
    const std::vector<Membership> memberships = Memberships(ranges, integer);
    for (const Key& key : keys) ASSERT_EQ(Holders(memberships, key), 1) << "round " << round;
  }
}

TEST(PartitionPlanner, EveryBlockIsInExactlyOneRange) {
  Rng rng(7);
  for (int round = 0; round < 40; ++round) {
    const int64_t blocks = static_cast<int64_t>(rng.Below(3) == 0 ? rng.Below(20) : rng.Below(uint64_t{1} << 32));
    v1::DescribeResult description = Relation(static_cast<int64_t>(rng.Below(uint64_t{1} << 40)), -1);
    AddPhysical(description, blocks);
    const int count = 1 + static_cast<int>(rng.Below(4096));
    const auto ranges = MustPlan(description, rng.Below(2) == 0 ? Count(count) : v1::PartitionSpec());
    EXPECT_LE(ranges.size(), 4096u);
    const std::vector<Membership> memberships = Memberships(ranges, {true});
    std::vector<int64_t> tried = {0, blocks, blocks + 5000};
    for (int i = 0; i < 10 && ranges.size() > 1; ++i) {
      tried.push_back(std::stoll(ranges[rng.Below(ranges.size() - 1)].upper().values(0)));
      tried.push_back(tried.back() - 1);
    }
    for (const int64_t block : tried) {
      ASSERT_EQ(Holders(memberships, {Value(block)}), 1) << "block " << block << " of " << blocks;
    }
  }
}

}  // namespace
}  // namespace tidemark::coordinator
