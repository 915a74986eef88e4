#pragma once

#include <functional>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "tidemark/v1/settings.pb.h"

namespace tidemark {

struct SettingsOptions {
  // Value of an environment variable; nullopt if it is not set. Absent: the environment of this process.
  std::function<std::optional<std::string>(const std::string& name)> environment;
  // Part of a worker's default id. Empty: this machine's.
  std::string host_name;
};

// The settings of a daemon, complete and checked: from the YAML file `file`, which may be empty for none, and from the
// environment, which wins: the key lease_seconds is TIDEMARK_LEASE_SECONDS there, tls.cert is TIDEMARK_TLS_CERT, the
// elements of a list are separated by commas, and a variable that is set to nothing is not set. References are
// resolved, absent keys have their defaults, paths are absolute: relative ones start from the file's folder, without a
// file from the working directory.
//
// NotFound if there is no such file. InvalidArgument: everything that is wrong, a line "FILE:LINE:COLUMN: KEY: MESSAGE"
// or "VARIABLE: MESSAGE" each, without a secret.
absl::StatusOr<v1::CoordinatorSettings> LoadCoordinatorSettings(const std::string& file,
                                                                const SettingsOptions& options = {});
// A worker's default id is the host's name with a mark of its spill_dir: the spills in there are its own, now and after
// a restart.
absl::StatusOr<v1::WorkerSettings> LoadWorkerSettings(const std::string& file, const SettingsOptions& options = {});

// Every setting with its variable, its default and what it says, for --help.
std::string CoordinatorSettingsText();
std::string WorkerSettingsText();

}  // namespace tidemark
