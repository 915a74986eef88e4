#include "coordinator/run/project_check.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model/connection_identity.h"

namespace tidemark::coordinator {

absl::Status CheckJob(const v1::JobSpec& job, const ConnectionsByName& connections) {
  if (job.name().empty()) return absl::InvalidArgumentError("a job has no name");
  for (const std::string& name : {job.source().connection(), job.target().connection()}) {
    if (connections.contains(name)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("job ", job.name(), " names connection ", name, ", which there is not"));
  }
  const std::string& source_owner = connections.find(job.source().connection())->second.worker();
  const std::string& target_owner = connections.find(job.target().connection())->second.worker();
  if (!source_owner.empty() && !target_owner.empty() && source_owner != target_owner) {
    return absl::InvalidArgumentError(absl::StrCat("job ", job.name(), ": its source belongs to worker ", source_owner,
                                                   " and its target to worker ", target_owner,
                                                   ": one worker must own both"));
  }
  return absl::OkStatus();
}

std::string TargetOf(const v1::JobSpec& job, const ConnectionsByName& connections) {
  return absl::StrCat(ConnectionIdentity(connections.find(job.target().connection())->second), "\n",
                      job.target().table());
}

absl::Status TwoLoaders(const v1::JobSpec& other, const v1::JobSpec& job) {
  return absl::InvalidArgumentError(absl::StrCat("jobs ", other.name(), " and ", job.name(), " both load table ",
                                                 job.target().table(), " of connection ", job.target().connection(),
                                                 ": give each a table of its own"));
}

absl::Status CheckProject(const std::vector<v1::ConnectionSpec>& connections, const std::vector<v1::JobSpec>& jobs) {
  ConnectionsByName by_name;
  for (const v1::ConnectionSpec& connection : connections) {
    if (!by_name.emplace(connection.name(), connection).second) {
      return absl::InvalidArgumentError(absl::StrCat("two connections are named ", connection.name()));
    }
  }
  std::map<std::string, const v1::JobSpec*> loaders;  // By target.
  std::set<std::string> names;
  for (const v1::JobSpec& job : jobs) {
    TM_RETURN_IF_ERROR(CheckJob(job, by_name));
    if (!names.insert(job.name()).second) {
      return absl::InvalidArgumentError(absl::StrCat("two jobs are named ", job.name()));
    }
    const auto [other, added] = loaders.emplace(TargetOf(job, by_name), &job);
    if (!added) return TwoLoaders(*other->second, job);
  }
  return absl::OkStatus();
}

}  // namespace tidemark::coordinator
