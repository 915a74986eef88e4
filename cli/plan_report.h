#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "cli/value.h"
#include "coordinator/run/coordinator.h"
#include "tidemark/v1/spec.pb.h"

namespace tidemark::cli {

// The object that `plan -o json` prints for a job.
Value::Record PlanObject(const v1::JobSpec& job, const coordinator::Preview& preview,
                         const std::vector<absl::Time>& fire_times);

// The same for people, fire times in the job's zone and in UTC.
std::string PlanText(const v1::JobSpec& job, const coordinator::Preview& preview,
                     const std::vector<absl::Time>& fire_times);

}  // namespace tidemark::cli
