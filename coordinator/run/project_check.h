#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tidemark/v1/spec.pb.h"

namespace tidemark::coordinator {

using ConnectionsByName = std::map<std::string, v1::ConnectionSpec, std::less<>>;

// Whether the jobs can live together on these connections: names are unique, connections are there, no two jobs load
// one table, and a job's files have one owner. InvalidArgument says which job and what to change. Pure.
absl::Status CheckProject(const std::vector<v1::ConnectionSpec>& connections, const std::vector<v1::JobSpec>& jobs);

// The same of one job by itself.
absl::Status CheckJob(const v1::JobSpec& job, const ConnectionsByName& connections);

// Names the table that the job loads, whatever its connection is called. The connection must be there.
std::string TargetOf(const v1::JobSpec& job, const ConnectionsByName& connections);
// What to say of a job that would load the target of `other`.
absl::Status TwoLoaders(const v1::JobSpec& other, const v1::JobSpec& job);

}  // namespace tidemark::coordinator
