#include "coordinator/plan/partition_planner.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"

namespace tidemark::coordinator {
namespace {

// value * numerator / denominator, without overflow.
int64_t Scale(int64_t value, int64_t numerator, int64_t denominator) {
  return static_cast<int64_t>(static_cast<__int128>(value) * numerator / denominator);
}

int64_t CeilingOf(int64_t value, int64_t divisor) { return value / divisor + (value % divisor != 0 ? 1 : 0); }

std::string KeyText(const v1::PartitionFacts& facts) {
  return absl::StrCat("(", absl::StrJoin(facts.columns(), ", "), ")");
}

bool Usable(const v1::PartitionFacts& facts, bool in_snapshot) {
  switch (facts.partitioning()) {
    case v1::PARTITIONING_PHYSICAL:
      return in_snapshot;
    case v1::PARTITIONING_KEY:
      return in_snapshot || facts.immutable();
    default:
      return false;
  }
}

bool Physical(const v1::PartitionFacts& facts) { return facts.partitioning() == v1::PARTITIONING_PHYSICAL; }

// How fine it can be cut, the range of NULL keys apart, without ranges that are empty for sure.
int64_t MostRanges(const v1::PartitionFacts& facts) {
  return Physical(facts) ? std::max<int64_t>(1, facts.blocks()) : int64_t{facts.quantiles_size()} + 1;
}

// "physical ranges, ranges of (id)".
std::string Offers(const v1::DescribeResult& description, bool in_snapshot) {
  std::vector<std::string> offers;
  for (const v1::PartitionFacts& facts : description.partition_facts()) {
    if (!Usable(facts, in_snapshot)) continue;
    offers.push_back(Physical(facts) ? "physical ranges" : absl::StrCat("ranges of ", KeyText(facts)));
  }
  return offers.empty() ? "nothing but one range" : absl::StrJoin(offers, ", ");
}

// The facts about the column that the user names.
absl::StatusOr<const v1::PartitionFacts*> NamedFacts(const v1::DescribeResult& description, const std::string& by,
                                                     bool in_snapshot) {
  for (const v1::PartitionFacts& facts : description.partition_facts()) {
    if (Physical(facts) || facts.columns().empty() || facts.columns(0) != by) continue;
    if (Usable(facts, in_snapshot)) return &facts;
    return absl::InvalidArgumentError(
        absl::StrCat("partition.by: ", by,
                     " may change while the run reads, and this window is not read in one snapshot; name a column of "
                     "the primary key (the source offers ",
                     Offers(description, in_snapshot), ")"));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("partition.by: the source cannot cut by ", by, "; it offers ", Offers(description, in_snapshot)));
}

// In the source's order of preference the first that can be cut at all, or the first that can be cut into `count`
// ranges if a number is asked for. Null if there is none.
const v1::PartitionFacts* PreferredFacts(const v1::DescribeResult& description, int64_t count, bool in_snapshot) {
  const v1::PartitionFacts* first = nullptr;
  for (const v1::PartitionFacts& facts : description.partition_facts()) {
    if (!Usable(facts, in_snapshot)) continue;
    if (count > 1 && (Physical(facts) || MostRanges(facts) >= count)) return &facts;
    if (first == nullptr && MostRanges(facts) > 1) first = &facts;
  }
  return first;
}

absl::Status CheckOverrides(const v1::PartitionSpec& partition, const PlanLimits& limits) {
  if (partition.rows() < 0 || partition.count() < 0) {
    return absl::InvalidArgumentError("partition.rows and partitions must be positive");
  }
  if (partition.rows() > 0 && partition.count() > 0) {
    return absl::InvalidArgumentError("partition.rows and partitions exclude each other: set one of them");
  }
  if (partition.count() > limits.max_partitions) {
    return absl::InvalidArgumentError(
        absl::StrCat("partitions: ", partition.count(), " is more than a run may have: ", limits.max_partitions));
  }
  return absl::OkStatus();
}

// How many ranges the relation is worth.
int64_t WantedRanges(const v1::DescribeResult& description, const v1::PartitionSpec& partition,
                     const PlanLimits& limits) {
  const int64_t rows = description.estimated_rows();
  const int64_t bytes = description.estimated_bytes();
  const int64_t floor = int64_t{limits.oversplit} * limits.max_sessions;
  if (partition.count() > 0) return partition.count();
  if (partition.rows() > 0) {
    // Of an unknown number of rows, ranges of any size are a guess: as fine as it goes.
    return rows < 0 ? limits.max_partitions : CeilingOf(rows, partition.rows());
  }
  if (rows < 0 && bytes < 0) return floor;
  const int64_t by_size = std::max(CeilingOf(std::max<int64_t>(0, rows), limits.target_rows),
                                   CeilingOf(std::max<int64_t>(0, bytes), limits.target_bytes));
  return by_size <= 1 ? 1 : std::max(by_size, floor);
}

// Where one range ends and the next begins, and how many parts of the relation (blocks, or steps between quantiles) lie
// below.
struct Bound {
  v1::KeyBound key;
  int64_t below;
};

std::vector<Bound> PhysicalBounds(int64_t blocks, int64_t count) {
  std::vector<Bound> bounds;
  for (int64_t i = 1; i < count; ++i) {
    // A number of ranges that was asked for is kept even where it is above the blocks there are.
    const int64_t block = blocks >= count ? Scale(blocks, i, count) : i;
    bounds.push_back({.key = {}, .below = std::min(block, blocks)});
    bounds.back().key.add_values(absl::StrCat(block));
  }
  return bounds;
}

absl::StatusOr<std::vector<Bound>> KeyBounds(const v1::PartitionFacts& facts, int64_t count) {
  const int64_t parts = int64_t{facts.quantiles_size()} + 1;
  std::vector<Bound> bounds;
  for (int64_t i = 1; i < count; ++i) {
    // count <= parts: every step is at least one quantile, and no two bounds are the same.
    const int64_t below = Scale(parts, i, count);
    const v1::KeyBound& key = facts.quantiles(static_cast<int>(below) - 1);
    if (key.values_size() != facts.columns_size()) {
      return absl::InternalError(absl::StrCat("the source describes a cut point of ", key.values_size(),
                                              " values for the key ", KeyText(facts)));
    }
    bounds.push_back({key, below});
  }
  return bounds;
}

v1::KeyRange EmptyRange(const v1::PartitionFacts& facts) {
  v1::KeyRange range;
  range.set_partitioning(facts.partitioning());
  *range.mutable_columns() = facts.columns();
  return range;
}

// `count` > 1 ranges between the bounds; `parts` is what the shares of the bounds are counted in.
std::vector<v1::KeyRange> RangesBetween(const v1::PartitionFacts& facts, const std::vector<Bound>& bounds,
                                        int64_t parts, int64_t estimated_rows) {
  std::vector<v1::KeyRange> ranges;
  int64_t below = 0;
  for (size_t i = 0; i <= bounds.size(); ++i) {
    v1::KeyRange& range = ranges.emplace_back(EmptyRange(facts));
    const int64_t upper = i < bounds.size() ? bounds[i].below : parts;
    if (i > 0) *range.mutable_lower() = bounds[i - 1].key;
    if (i < bounds.size()) *range.mutable_upper() = bounds[i].key;
    if (estimated_rows > 0 && parts > 0) {
      range.set_estimated_rows(Scale(estimated_rows, upper, parts) - Scale(estimated_rows, below, parts));
    }
    below = upper;
  }
  if (facts.nullable()) ranges.emplace_back(EmptyRange(facts)).set_nulls(true);
  return ranges;
}

std::vector<v1::KeyRange> WholeRelation(int64_t estimated_rows) {
  v1::KeyRange range;
  range.set_partitioning(v1::PARTITIONING_NONE);
  range.set_estimated_rows(std::max<int64_t>(0, estimated_rows));
  return {range};
}

absl::StatusOr<std::vector<v1::KeyRange>> Cut(const v1::DescribeResult& description, const v1::PartitionSpec& partition,
                                              bool in_snapshot, const PlanLimits& limits) {
  TM_RETURN_IF_ERROR(CheckOverrides(partition, limits));
  const v1::PartitionFacts* facts = nullptr;
  if (partition.by().empty()) {
    facts = PreferredFacts(description, partition.count(), in_snapshot);
  } else {
    TM_ASSIGN_OR_RETURN(facts, NamedFacts(description, partition.by(), in_snapshot));
  }
  int64_t count = std::clamp<int64_t>(WantedRanges(description, partition, limits), 1, limits.max_partitions);
  const bool exact = partition.count() > 0 && facts != nullptr && Physical(*facts);
  if (!exact) count = std::min(count, facts == nullptr ? 1 : MostRanges(*facts));
  if (count == 1) return WholeRelation(description.estimated_rows());
  if (Physical(*facts)) {
    return RangesBetween(*facts, PhysicalBounds(facts->blocks(), count), facts->blocks(), description.estimated_rows());
  }
  TM_ASSIGN_OR_RETURN(const std::vector<Bound> bounds, KeyBounds(*facts, count));
  return RangesBetween(*facts, bounds, MostRanges(*facts), description.estimated_rows());
}

}  // namespace

absl::StatusOr<Plan> PlanPartitions(const v1::DescribeResult& description, const v1::PartitionSpec& partition,
                                    bool in_snapshot, const PlanLimits& limits) {
  if (description.formats().empty()) {
    return absl::FailedPreconditionError("source and target share no format that carries these columns");
  }
  Plan plan;
  TM_ASSIGN_OR_RETURN(plan.ranges, Cut(description, partition, in_snapshot, limits));
  plan.format = static_cast<v1::ChunkFormat>(description.formats(0));
  return plan;
}

}  // namespace tidemark::coordinator
