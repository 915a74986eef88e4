#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/commands.h"
#include "cli/print.h"
#include "cli/project_loading.h"
#include "common/base/version.h"
#include "worker/connectors/builtin.h"

namespace tidemark::cli {

ExitCode Execute(const ValidateCommand& command, const CommandContext& context) {
  const ConnectorRegistry connectors = BuiltinConnectors();
  const absl::StatusOr<Project> project = OpenProject(command.file, connectors, context.console);
  Value::List errors;
  if (!project.ok()) {
    for (const std::string& line : std::vector<std::string>(absl::StrSplit(project.status().message(), '\n')))
      errors.push_back(line);
    // Compilers' way: the lines as they are, for editors to jump to.
    context.console->Say(std::string(project.status().message()));
  }
  const Value::Record result = {{"file", command.file}, {"valid", project.ok()}, {"errors", std::move(errors)}};
  if (project.ok() || context.output != OutputFormat::kTable) {
    PrintObject(context, result, [&] {
      return absl::StrCat(command.file, ": valid, ", project->connections.size(), " connections, ",
                          project->jobs.size(), " jobs\n");
    });
  }
  return project.ok() ? kDone : kUsage;
}

ExitCode Execute(const SchemaCommand& command, const CommandContext& context) {
  context.console->Data(ProjectJsonSchema());
  return kDone;
}

ExitCode Execute(const VersionCommand& command, const CommandContext& context) {
  PrintObject(context, {{"version", Version()}}, [] { return absl::StrCat("tidemark ", Version(), "\n"); });
  return kDone;
}

}  // namespace tidemark::cli
