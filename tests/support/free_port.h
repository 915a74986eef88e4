#pragma once

#include "absl/status/statusor.h"

namespace tidemark::test {

// A loopback TCP port that nobody listened on a moment ago. Another may take it before you do: then take the next.
absl::StatusOr<int> FreePort();

// The same, below the ports that the kernel gives to whoever wants any: for a server that others know the address of
// before it starts, or while it is down.
absl::StatusOr<int> FreeFixedPort();

}  // namespace tidemark::test
