#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace tidemark::postgres {

// What a server error means to a caller, by its SQLSTATE (PostgreSQL manual, appendix A):
//   Unavailable       connection lost or refused, server starting or stopping, too many connections: again on a new
//   session Aborted           serialization failure, deadlock, lock timeout: the whole transaction again
//   ResourceExhausted out of memory, disk or other slots
//   DeadlineExceeded  the server's statement_timeout
//   Cancelled         query_canceled after our own Cancel
//   Unauthenticated   the login was refused
//   PermissionDenied  a privilege is missing
//   NotFound          no such table, column, schema, database or other object
//   AlreadyExists     unique violation, duplicate object
//   FailedPrecondition  the transaction is already failed, the server is read only
//   InvalidArgument   the statement or its data is wrong
//   Internal          the rest
absl::StatusCode CodeOf(std::string_view sqlstate, bool cancelled);

// A status with the server's message on one line and its SQLSTATE, which SqlState reads back. `sqlstate` may be empty
// (the connection broke before the server could answer): Unavailable.
absl::Status ServerError(const std::string& sqlstate, const std::string& message, bool cancelled);

// Empty for a status that did not come from a server.
std::string SqlState(const absl::Status& status);

// `status` with `context` and a colon before its message; code and SQLSTATE stay.
absl::Status Annotate(const absl::Status& status, const std::string& context);

// The same error under another code.
absl::Status WithCode(const absl::Status& status, absl::StatusCode code);

}  // namespace tidemark::postgres
