#include "coordinator/admin/spec_error.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "common/rpc/error_details.h"

namespace tidemark::coordinator {

absl::Status SpecError(const std::vector<SpecProblem>& problems, std::string_view field) {
  ErrorDetails details;
  for (const SpecProblem& problem : problems) {
    if (!problem.error) continue;
    details.field_violations.push_back({absl::StrCat(Abs(field), ".", problem.field), problem.description});
  }
  if (details.field_violations.empty()) return absl::OkStatus();
  const ErrorDetails::FieldViolation& first = details.field_violations.front();
  std::string message = absl::StrCat(first.field, ": ", first.description);
  const size_t more = details.field_violations.size() - 1;
  if (more > 0) absl::StrAppend(&message, " (and ", more, " more)");
  return WithDetails(absl::InvalidArgumentError(message), details);
}

}  // namespace tidemark::coordinator
