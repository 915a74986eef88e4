#pragma once

#include <string_view>

#include "absl/status/status.h"

namespace tidemark {

// InvalidArgument unless `run_id` can be part of a name in every target, as it is of the run's staging table: 1 to 59
// ASCII letters, digits, '_' and '-'. (PostgreSQL cuts a name off at 63 bytes, "stg_" included, and two runs could
// then share one.)
absl::Status CheckRunId(std::string_view run_id);

}  // namespace tidemark
