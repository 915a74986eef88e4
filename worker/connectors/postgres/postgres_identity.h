#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "worker/connectors/postgres/postgres_connection.h"

namespace tidemark::postgres {

// Where rows are committed: the system identifier and the timeline of the cluster, and the database, whose tables share
// nothing with another's. Empty where the role may not ask.
absl::StatusOr<std::string> SourceIdentity(Connection& connection);

// One text for one table of one running server, from whatever address or name it is seen. Empty where the role may not
// ask.
absl::StatusOr<std::string> TableIdentity(Connection& connection, uint32_t oid);

}  // namespace tidemark::postgres
