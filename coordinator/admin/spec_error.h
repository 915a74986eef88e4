#pragma once

#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "common/config/spec_check.h"

namespace tidemark::coordinator {

// InvalidArgument with a violation for each error among `problems`, their paths below `field`; OK if there is none.
absl::Status SpecError(const std::vector<SpecProblem>& problems, std::string_view field);

}  // namespace tidemark::coordinator
