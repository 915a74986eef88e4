#include "cli/resource_name.h"

#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"

namespace tidemark::cli {

std::string IdOf(std::string_view resource_name) {
  return std::string(resource_name.substr(resource_name.rfind('/') + 1));
}

std::string JobName(std::string_view job) { return absl::StrCat("jobs/", Abs(job)); }
std::string ConnectionName(std::string_view connection) { return absl::StrCat("connections/", Abs(connection)); }
std::string WorkerName(std::string_view worker) { return absl::StrCat("workers/", Abs(worker)); }

absl::StatusOr<std::string> RunName(std::string_view run) {
  constexpr std::string_view kLatest = "@latest";
  if (run.ends_with(kLatest)) {
    run.remove_suffix(kLatest.size());
    if (!run.empty()) return absl::StrCat(JobName(run), "/runs/latest");
  }
  if (run.empty()) return absl::InvalidArgumentError("RUN is an id, or JOB@latest");
  return absl::StrCat("runs/", Abs(run));
}

}  // namespace tidemark::cli
