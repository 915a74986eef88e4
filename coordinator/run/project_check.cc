#include "coordinator/run/project_check.h"

#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/model/connection_identity.h"
#include "common/model/duration.h"

namespace tidemark::coordinator {

absl::Status CheckProject(const std::vector<v1::ConnectionSpec>& connections, const std::vector<v1::JobSpec>& jobs) {
  std::map<std::string, const v1::ConnectionSpec*> by_name;
  for (const v1::ConnectionSpec& connection : connections) {
    if (!by_name.emplace(connection.name(), &connection).second) {
      return absl::InvalidArgumentError(absl::StrCat("two connections are named ", connection.name()));
    }
  }
  // (database, table) -> job.
  std::map<std::pair<std::string, std::string>, std::string> targets;
  std::map<std::string, int> names;
  for (const v1::JobSpec& job : jobs) {
    if (job.name().empty()) return absl::InvalidArgumentError("a job has no name");
    if (++names[job.name()] > 1) return absl::InvalidArgumentError(absl::StrCat("two jobs are named ", job.name()));
    const auto source = by_name.find(job.source().connection());
    const auto target = by_name.find(job.target().connection());
    for (const auto& [found, name] :
         {std::pair(source, job.source().connection()), std::pair(target, job.target().connection())}) {
      if (found == by_name.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat("job ", job.name(), " names connection ", name, ", which there is not"));
      }
    }
    const std::string& source_owner = source->second->worker();
    const std::string& target_owner = target->second->worker();
    if (!source_owner.empty() && !target_owner.empty() && source_owner != target_owner) {
      return absl::InvalidArgumentError(absl::StrCat("job ", job.name(), ": its source belongs to worker ",
                                                     source_owner, " and its target to worker ", target_owner,
                                                     ": one worker must own both"));
    }
    const auto [other, added] =
        targets.emplace(std::pair(ConnectionIdentity(*target->second), job.target().table()), job.name());
    if (!added) {
      return absl::InvalidArgumentError(absl::StrCat("jobs ", other->second, " and ", job.name(), " both load table ",
                                                     job.target().table(), " of connection ", job.target().connection(),
                                                     ": give each a table of its own"));
    }
  }
  return absl::OkStatus();
}

}  // namespace tidemark::coordinator
