#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/connectors/postgres/postgres_connection.h"

namespace tidemark::postgres {

// Waits, outside of any transaction, until a standby has replayed its primary's log up to `position` (a pg_lsn), or a
// primary has written as far; returns how long that took by the server's clock. Unavailable if it takes longer than
// `limit`. A snapshot opened afterwards shows every transaction that had committed on the primary when the position was
// read there.
absl::StatusOr<absl::Duration> AwaitReplay(Connection& connection, std::string_view position, absl::Duration limit);

}  // namespace tidemark::postgres
