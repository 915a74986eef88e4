#pragma once

#include "absl/status/status.h"

namespace tidemark::cli {

// What scripts read. 3: done, but with quarantined rows.
enum ExitCode : int {
  kDone = 0,
  kRunFailed = 1,
  kUsage = 2,
  kQuarantined = 3,
  kNotFound = 4,
  kUnreachable = 5,
  kInterrupted = 130,
};

// For a command that could not do its work at all.
ExitCode ExitCodeOf(const absl::Status& status);

}  // namespace tidemark::cli
