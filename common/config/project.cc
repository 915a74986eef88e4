#include "common/config/project.h"

#include <errno.h>
#include <string.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/config/diagnostics.h"
#include "common/config/project_keys.h"
#include "common/config/project_rules.h"
#include "common/config/spec_reader.h"
#include "common/config/yaml_document.h"

namespace tidemark {

const v1::ConnectionSpec* Project::FindConnection(std::string_view name) const {
  return tidemark::FindConnection(connections, name);
}

const v1::JobSpec* Project::FindJob(std::string_view name) const {
  const auto at = std::find_if(jobs.begin(), jobs.end(), [&](const auto& job) { return job.name() == name; });
  return at == jobs.end() ? nullptr : &*at;
}

absl::StatusOr<Project> ParseProject(std::string_view yaml, const std::string& file, const ProjectOptions& options) {
  Diagnostics diagnostics(file);
  const YamlNode root = ReadYaml(yaml, &diagnostics);
  TM_RETURN_IF_ERROR(diagnostics.ToStatus());
  if (root.kind != YamlNode::Kind::kMap) {
    diagnostics.Add(root.at, "", "expected a mapping with connections and jobs");
    return diagnostics.ToStatus();
  }

  std::error_code ignored;
  const std::filesystem::path absolute = std::filesystem::absolute(file, ignored);
  Project project;
  project.file = absolute.lexically_normal().string();
  const ReferenceSources sources = {options.environment ? options.environment : ProcessEnvironment,
                                    absolute.lexically_normal().parent_path().string()};
  const ValueChecks checks = {options.check_cron, options.check_dsn};
  SpecReader reader(
      &sources,
      options.keep_secret_references ? SpecReader::SecretReferences::kKept : SpecReader::SecretReferences::kResolved,
      &checks, &diagnostics);
  reader.CheckNames(root, ProjectKeys(), "");
  const ProjectKey& connections = ProjectKeyNamed("connections");
  reader.ReadNamed(root, connections, [&](const YamlNode::Entry& entry, const std::string& path) {
    v1::ConnectionSpec& connection = project.connections.emplace_back();
    connection.set_name(entry.key);
    reader.ReadMapping(entry.value, connections.keys, path, &connection);
  });
  const ProjectKey& jobs = ProjectKeyNamed("jobs");
  reader.ReadNamed(root, jobs, [&](const YamlNode::Entry& entry, const std::string& path) {
    v1::JobSpec& job = project.jobs.emplace_back();
    job.set_name(entry.key);
    reader.ReadMapping(entry.value, jobs.keys, path, &job);
    TrimQuery(&job);
  });
  CheckRules(project, reader.places(), &diagnostics);
  TM_RETURN_IF_ERROR(diagnostics.ToStatus());
  return project;
}

absl::StatusOr<Project> LoadProject(const std::string& file, const ProjectOptions& options) {
  if (file.empty()) return absl::InvalidArgumentError("the name of the project file is empty");
  errno = 0;
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream content;
  std::error_code ignored;
  if (std::filesystem::is_directory(file, ignored)) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": is a folder; name the project file in it"));
  }
  if (!stream) {
    return absl::NotFoundError(absl::StrCat(file, ": cannot read the project file: ",
                                            strerror(errno == 0 ? ENOENT : errno), "; `tidemark init` makes one"));
  }
  content << stream.rdbuf();
  return ParseProject(content.str(), file, options);
}

}  // namespace tidemark
