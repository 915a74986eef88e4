#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tidemark/v1/spec.pb.h"

namespace tidemark {

// What a project file asks for, complete and checked: references are resolved, absent keys have their defaults, local
// paths are absolute. The DSNs are secret.
struct Project {
  // Absolute.
  std::string file;
  // In the file's order.
  std::vector<v1::ConnectionSpec> connections;
  std::vector<v1::JobSpec> jobs;

  // nullptr if there is none of the name.
  const v1::ConnectionSpec* FindConnection(std::string_view name) const;
  const v1::JobSpec* FindJob(std::string_view name) const;
};

struct ProjectOptions {
  // Value of an environment variable; nullopt if it is not set. Absent: the environment of this process.
  std::function<std::optional<std::string>(const std::string& name)> environment;
  // Judges of what this library knows nothing of. Their messages are put beside the place of the value; absent:
  // anything goes.
  std::function<absl::Status(std::string_view cron)> check_cron;
  std::function<absl::Status(std::string_view dsn)> check_dsn;
  // References in DSNs stay as they are written, for the worker that resolves them; a DSN that holds one is not judged.
  bool keep_secret_references = false;
};

// NotFound if there is no such file. InvalidArgument: everything that is wrong with it, a line "FILE:LINE:COLUMN: PATH:
// MESSAGE" each, without the value of any reference or DSN.
absl::StatusOr<Project> LoadProject(const std::string& file, const ProjectOptions& options);
// The same with the file's content given.
absl::StatusOr<Project> ParseProject(std::string_view yaml, const std::string& file, const ProjectOptions& options);

// The JSON Schema (draft 2020-12) of the project file, for editors.
std::string ProjectJsonSchema();

}  // namespace tidemark
