#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"

namespace tidemark {

// What a TargetSession answers when the fence of its table holds a higher epoch than the run's: FailedPrecondition,
// with the epoch found, so that the leader of the same cluster can take its lease again above it.
absl::Status FencedOut(std::string_view target_table, int64_t found_epoch, int64_t own_epoch);

// The epoch found, of an error made by FencedOut; 0 for any other status.
int64_t FenceEpochOf(const absl::Status& status);

}  // namespace tidemark
