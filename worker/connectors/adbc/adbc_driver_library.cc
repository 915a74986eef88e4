#include "worker/connectors/adbc/adbc_driver_library.h"

#include <dlfcn.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace tidemark::adbc {
namespace {

bool IsPath(const std::string& driver) { return driver.find('/') != driver.npos; }

bool IsName(const std::string& driver) {
  const auto in_name = [](char c) { return absl::ascii_isalnum(c) || c == '_' || c == '-' || c == '.'; };
  return !driver.empty() && driver.front() != '.' && std::all_of(driver.begin(), driver.end(), in_name);
}

// Nothing is searched for: what is not there is not found elsewhere.
absl::StatusOr<std::string> FileOf(const std::string& driver, const DriverPolicy& policy) {
  TM_RETURN_IF_ERROR(CheckDriver(driver));
  if (IsPath(driver)) {
    if (!policy.any_path) {
      return absl::PermissionDeniedError(
          "an ADBC driver is loaded by its path only where the DSN's author runs the job himself: name one of the "
          "folder adbc_drivers_dir of the worker's settings");
    }
    return driver;
  }
  if (policy.folder.empty()) {
    return absl::PermissionDeniedError(
        policy.any_path ? absl::StrCat("the ADBC driver ", driver,
                                       " is named, but there is no folder of drivers here: "
                                       "write its path")
                        : std::string("no ADBC driver is loaded here: the worker's settings have no adbc_drivers_dir"));
  }
  for (const std::string& file : {absl::StrCat(driver, ".so"), absl::StrCat("lib", driver, ".so")}) {
    const std::filesystem::path path = std::filesystem::path(policy.folder) / file;
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) return path.string();
  }
  return absl::NotFoundError(absl::StrCat("adbc_drivers_dir holds neither ", driver, ".so nor lib", driver, ".so"));
}

}  // namespace

absl::Status CheckDriver(const std::string& driver) {
  if (IsPath(driver) || IsName(driver)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "the DSN is written adbc:DRIVER?OPTION=VALUE&..., where DRIVER is a driver's name or the path of its library");
}

absl::StatusOr<Driver> LoadDriver(const std::string& driver, const std::string& entrypoint,
                                  const DriverPolicy& policy) {
  TM_ASSIGN_OR_RETURN(const std::string file, FileOf(driver, policy));
  void* const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return absl::NotFoundError(absl::StrCat("the ADBC driver ", driver, " cannot be loaded: ", dlerror()));
  }
  const std::string symbol = entrypoint.empty() ? "AdbcDriverInit" : entrypoint;
  Driver loaded;
  loaded.init = reinterpret_cast<decltype(loaded.init)>(dlsym(library, symbol.c_str()));
  if (loaded.init == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("the library of the ADBC driver ", driver, " has no entry point ",
                                                   symbol, ": the DSN's parameter entrypoint names it"));
  }
  return loaded;
}

}  // namespace tidemark::adbc
