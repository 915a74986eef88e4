#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "tidemark/v1/spec.pb.h"

namespace tidemark::coordinator {

// Whether the jobs can live together on these connections: names are unique, connections are there, no two jobs load
// one table, and a job's files have one owner. InvalidArgument says which job and what to change. Pure.
absl::Status CheckProject(const std::vector<v1::ConnectionSpec>& connections, const std::vector<v1::JobSpec>& jobs);

}  // namespace tidemark::coordinator
