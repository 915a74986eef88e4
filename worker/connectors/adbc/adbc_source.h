#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "tidemark/v1/spec.pb.h"
#include "worker/connector/source.h"
#include "worker/connectors/adbc/adbc_database.h"

namespace tidemark::adbc {

// Reads `job`'s relation through a driver nothing is known of but ADBC: no snapshot, no horizon but the greatest value
// seen, with lookback, and no keys. It is read by SQL that any dialect has: names in double quotes, integers as they
// are, dates and times as text. `name`: the driver's, for messages.
absl::StatusOr<std::unique_ptr<SourceSession>> OpenSourceSession(
    const Driver& driver, const std::string& name, const std::vector<std::pair<std::string, std::string>>& options,
    const v1::JobSpec& job);

}  // namespace tidemark::adbc
