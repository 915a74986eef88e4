#pragma once

#include "absl/status/status.h"

namespace tidemark::duckdb {

// What an error of DuckDB's ADBC driver means, which gives nearly all of them one code: told by the kind of error its
// message begins with. Aborted for a conflict of transactions.
absl::Status ReadError(const absl::Status& error);

// What a COMMIT that has ended with `status` did, as a TargetSession says it: a conflict and a Cancel have rolled it
// back, of any other error nobody knows, which is Unknown.
absl::Status CommitOutcome(const absl::Status& status);

}  // namespace tidemark::duckdb
