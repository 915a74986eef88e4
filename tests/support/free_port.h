#pragma once

#include "absl/status/statusor.h"

namespace tidemark::test {

// A loopback TCP port that nobody listened on a moment ago. Another may take it before you do: then take the next.
absl::StatusOr<int> FreePort();

}  // namespace tidemark::test
