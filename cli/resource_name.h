#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace tidemark::cli {

// What people call the resource: "orders" of jobs/orders.
std::string IdOf(std::string_view resource_name);

std::string JobName(std::string_view job);                // jobs/{job}
std::string ConnectionName(std::string_view connection);  // connections/{connection}
std::string WorkerName(std::string_view worker);          // workers/{worker}
// Of a run by its id, or of a job's newest by JOB@latest. InvalidArgument if that names nothing.
absl::StatusOr<std::string> RunName(std::string_view run);

}  // namespace tidemark::cli
