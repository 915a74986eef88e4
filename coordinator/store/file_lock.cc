#include "coordinator/store/file_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace tidemark::coordinator {
namespace {

// Empty if the holder has not written it yet.
std::string ReadHolder(int fd) {
  char text[32];
  const ssize_t size = pread(fd, text, sizeof(text), 0);
  return size <= 0 ? "" : std::string(absl::StripAsciiWhitespace(absl::string_view(text, size)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<FileLock>> FileLock::Acquire(const std::string& path, const std::string& what) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open the lock file ", path));
  std::unique_ptr<FileLock> lock(new FileLock(fd));
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return absl::ErrnoToStatus(errno, absl::StrCat("cannot lock ", path));
    const std::string holder = ReadHolder(fd);
    return absl::FailedPreconditionError(absl::StrCat(
        what, " is in use by ", holder.empty() ? "another process" : "process ", holder, ": wait, or stop it"));
  }
  const std::string holder = absl::StrCat(getpid(), "\n");
  if (ftruncate(fd, 0) != 0 || pwrite(fd, holder.data(), holder.size(), 0) != static_cast<ssize_t>(holder.size())) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
  }
  return lock;
}

FileLock::~FileLock() { close(fd_); }

}  // namespace tidemark::coordinator
