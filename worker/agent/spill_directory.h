#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace tidemark {

// Makes `base`/`worker_id` for this worker's spills, removes those of an earlier process, and returns its path. An
// error says what is wrong with spill_dir.
absl::StatusOr<std::string> PrepareSpillDirectory(const std::string& base, const std::string& worker_id);

}  // namespace tidemark
