#include "worker/agent/spill_directory.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace tidemark {

absl::StatusOr<std::string> PrepareSpillDirectory(const std::string& base, const std::string& worker_id) {
  const std::filesystem::path path = std::filesystem::path(base) / worker_id;
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (!error) {
    for (std::filesystem::directory_iterator file(path, error), end; !error && file != end; file.increment(error)) {
      if (file->path().extension() == ".spill") std::filesystem::remove(file->path(), error);
    }
  }
  if (error) {
    return absl::FailedPreconditionError(
        absl::StrCat("spill_dir ", path.string(), " cannot be used: ", error.message()));
  }
  if (access(path.c_str(), W_OK | X_OK) != 0) {
    return absl::PermissionDeniedError(
        absl::StrCat("spill_dir ", path.string(), " cannot be written: ", std::strerror(errno)));
  }
  return path.string();
}

}  // namespace tidemark
