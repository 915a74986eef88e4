#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace tidemark {

// What an error says beyond its code and message, for programs: google.rpc's BadRequest, PreconditionFailure, ErrorInfo
// and RetryInfo. It travels inside a status, and over gRPC with it (common/rpc/grpc_status.h). Never a secret.
struct ErrorDetails {
  // A field of the request, by its path from the top: "job.source.table", "connections[2].dsn".
  struct FieldViolation {
    std::string field;
    std::string description;
    bool operator==(const FieldViolation&) const = default;
  };
  struct PreconditionViolation {
    // A constant such as "ETAG".
    std::string type;
    // What does not hold it: "jobs/orders".
    std::string subject;
    std::string description;
    bool operator==(const PreconditionViolation&) const = default;
  };

  std::vector<FieldViolation> field_violations;
  std::vector<PreconditionViolation> precondition_violations;
  // Why, as a constant such as "NOT_LEADER"; empty: not said.
  std::string reason;
  // Goes with `reason`.
  std::map<std::string, std::string> metadata;
  // How long to wait before the same call may do better.
  std::optional<absl::Duration> retry_after;

  bool operator==(const ErrorDetails&) const = default;
};

// `status` with these details in place of those it has. OK stays OK.
absl::Status WithDetails(absl::Status status, const ErrorDetails& details);
// None if it has none.
ErrorDetails DetailsOf(const absl::Status& status);

// InvalidArgument "FIELD: DESCRIPTION" with the violation.
absl::Status InvalidField(std::string_view field, std::string_view description);

// FailedPrecondition of a coordinator that does not lead, with what it knows of that: the call may be made again, of
// another one.
absl::Status NotLeaderError(std::string_view why);
bool IsNotLeader(const absl::Status& status);

}  // namespace tidemark
