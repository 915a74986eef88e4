#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/connectors/adbc/adbc_database.h"

namespace tidemark::adbc {

// Which libraries the DSNs of a process may have it load. To load one is to run its code with the process's rights, and
// DSNs come over an API: only whoever starts the process says which.
struct DriverPolicy {
  // Whose libraries are loaded by name, NAME.so or libNAME.so. Empty: none.
  std::string folder;
  // Whoever writes the DSNs has started the process: any library is loaded by its path.
  bool any_path = false;
};

// InvalidArgument unless `driver` can be a name or a path. Looks at no file.
absl::Status CheckDriver(const std::string& driver);

// The driver of a library, which stays loaded, by its `entrypoint`; AdbcDriverInit if that is empty. PermissionDenied
// for what `policy` keeps out, NotFound without such a library.
absl::StatusOr<Driver> LoadDriver(const std::string& driver, const std::string& entrypoint, const DriverPolicy& policy);

}  // namespace tidemark::adbc
