#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "worker/connector/fence.h"
#include "worker/connector/target.h"

namespace tidemark {

// What a TargetSession answers when the fence of its table holds a higher epoch than the run's: FailedPrecondition,
// with the epoch found, so that the leader of the same cluster can take its lease again above it.
absl::Status FencedOut(std::string_view target_table, int64_t found_epoch, int64_t own_epoch);

// The epoch found, of an error made by FencedOut; 0 for any other status.
int64_t FenceEpochOf(const absl::Status& status);

// What it answers when the fence belongs to another cluster or job than the run's: FailedPrecondition, with the owner
// and what the user may do about it. `job` is the name of the run's job.
absl::Status ForeignFence(std::string_view target_table, const Fence& fence, const RunIdentity& run,
                          std::string_view job);

}  // namespace tidemark
