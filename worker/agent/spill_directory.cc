#include "worker/agent/spill_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"

namespace tidemark {

absl::StatusOr<SpillDirectory> SpillDirectory::Open(const std::string& base, const std::string& worker_id) {
  const std::filesystem::path path = std::filesystem::path(base) / worker_id;
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) {
    return absl::FailedPreconditionError(
        absl::StrCat("spill_dir ", path.string(), " cannot be used: ", error.message()));
  }
  if (access(path.c_str(), W_OK | X_OK) != 0) {
    return absl::PermissionDeniedError(
        absl::StrCat("spill_dir ", path.string(), " cannot be written: ", std::strerror(errno)));
  }
  const int lock = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  SpillDirectory directory(path.string(), lock);
  // Ends with the process, however it ends. A file system that knows no locks has none.
  if (flock(lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    return absl::FailedPreconditionError(absl::StrCat("spill_dir ", path.string(),
                                                      " is in use by another worker with the id ", worker_id,
                                                      ": give each an id of its own"));
  }
  for (std::filesystem::directory_iterator file(path, error), end; !error && file != end; file.increment(error)) {
    if (file->path().extension() == ".spill") std::filesystem::remove(file->path(), error);
  }
  if (error) {
    return absl::FailedPreconditionError(
        absl::StrCat("spill_dir ", path.string(), " cannot be used: ", error.message()));
  }
  return directory;
}

SpillDirectory::SpillDirectory(SpillDirectory&& other) noexcept
    : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}

SpillDirectory& SpillDirectory::operator=(SpillDirectory&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(lock_, other.lock_);
  return *this;
}

SpillDirectory::~SpillDirectory() {
  if (lock_ >= 0) close(lock_);
}

}  // namespace tidemark
