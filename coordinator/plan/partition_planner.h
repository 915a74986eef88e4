#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "tidemark/v1/spec.pb.h"
#include "tidemark/v1/values.pb.h"
#include "tidemark/v1/worker_control.pb.h"

namespace tidemark::coordinator {

struct PlanLimits {
  // Ranges run in parallel at most: the connection's permits.
  int max_sessions = 4;
  // What a range should hold; ranges are over-split, so that a slow one does not hold the run.
  int64_t target_bytes = 48 << 20;
  int64_t target_rows = 500'000;
  // Ranges per session, at least, once the relation is worth cutting at all.
  int oversplit = 4;
  int max_partitions = 4096;
};

struct Plan {
  std::vector<v1::KeyRange> ranges;
  v1::ChunkFormat format = v1::CHUNK_FORMAT_UNSPECIFIED;
};

// Cuts the window of a described run into ranges that cover every key exactly once: half-open, open at both ends, in
// the key's order, and after them the range of NULL keys where the key can be NULL. A single range is one of
// PARTITIONING_NONE, with the NULL keys in it. Physical ranges need a snapshot, and so does a key that may change: else
// a row that moves between two reads is in both ranges or in neither. Pure.
//
// `partition` overrides the planner: `by` the column, `rows` the size of a range (as far as max_partitions allows),
// `count` their number, which is exact for physical ranges and for a key with enough cut points; the range of NULL keys
// comes on top of it. Without estimates, the relation is taken for one worth cutting. A key with fewer cut points than
// wanted gets fewer ranges: so a source that knows the window to hold few rows offers few.
//
// InvalidArgument if `partition` asks for what the source cannot do, saying what it can; FailedPrecondition if source
// and target share no format.
absl::StatusOr<Plan> PlanPartitions(const v1::DescribeResult& description, const v1::PartitionSpec& partition,
                                    bool in_snapshot, const PlanLimits& limits);

}  // namespace tidemark::coordinator
