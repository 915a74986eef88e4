#pragma once

#include <cstdint>
#include <string>

#include "worker/connector/target.h"

namespace tidemark {

// The row of a target table in the control table `fence`: who writes to the table, and the highest epoch it has done so
// with.
struct Fence {
  std::string cluster_id;
  std::string job_uid;
  int64_t epoch = 0;

  // Epochs of different owners are not comparable.
  bool BelongsTo(const RunIdentity& run) const { return cluster_id == run.cluster_id && job_uid == run.job_uid; }
};

}  // namespace tidemark
