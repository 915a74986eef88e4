#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "cli/console.h"
#include "common/config/project.h"
#include "worker/connector/connector.h"

namespace tidemark::cli {

// Loads and checks a project file, schedules and DSN schemes included, and gives its secrets to the console's redactor.
// InvalidArgument for everything that is wrong with it, a missing file included. `keep_secret_references`: see
// ProjectOptions.
absl::StatusOr<Project> OpenProject(const std::string& file, const ConnectorRegistry& connectors, Console* console,
                                    bool keep_secret_references = false);

// The jobs of these names, in the project's order; all of them for no names. NotFound for a name the project does not
// have.
absl::StatusOr<std::vector<v1::JobSpec>> SelectJobs(const Project& project, const std::vector<std::string>& names);

}  // namespace tidemark::cli
