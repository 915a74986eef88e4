#include "cli/project_loading.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/config/suggestion.h"
#include "common/model/connection_identity.h"
#include "coordinator/schedule/cron.h"

namespace tidemark::cli {

absl::StatusOr<Project> OpenProject(const std::string& file, const ConnectorRegistry& connectors, Console* console,
                                    bool keep_secret_references) {
  ProjectOptions options;
  options.keep_secret_references = keep_secret_references;
  options.check_cron = [](std::string_view cron) { return coordinator::CronSchedule::Parse(cron).status(); };
  options.check_dsn = [&](std::string_view dsn) -> absl::Status {
    TM_ASSIGN_OR_RETURN(const Connector* const connector, connectors.Find(dsn));
    return connector->CheckDsn(std::string(dsn));
  };
  absl::StatusOr<Project> project = LoadProject(file, options);
  if (absl::IsNotFound(project.status())) return absl::InvalidArgumentError(project.status().message());
  TM_RETURN_IF_ERROR(project.status());
  for (const v1::ConnectionSpec& connection : project->connections) {
    for (const v1::ConnectionSpec& server : ServersOf(connection)) console->redactor().AddDsn(server.dsn());
  }
  return project;
}

absl::StatusOr<std::vector<v1::JobSpec>> SelectJobs(const Project& project, const std::vector<std::string>& names) {
  std::vector<std::string> known;
  for (const v1::JobSpec& job : project.jobs) known.push_back(job.name());
  for (const std::string& name : names) {
    if (project.FindJob(name) == nullptr) {
      return absl::NotFoundError(absl::StrCat("no job \"", name, "\" in ", project.file, SuggestionOrAll(name, known)));
    }
  }
  std::vector<v1::JobSpec> jobs;
  for (const v1::JobSpec& job : project.jobs) {
    if (names.empty() || std::find(names.begin(), names.end(), job.name()) != names.end()) jobs.push_back(job);
  }
  return jobs;
}

}  // namespace tidemark::cli
