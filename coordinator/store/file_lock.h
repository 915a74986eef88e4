#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace tidemark::coordinator {

// An exclusive hold on a file, which ends with this object or with the process, however it ends. The file holds the
// holder's process id, for people, and stays when the hold ends: removing it would let two processes lock two files of
// one name.
class FileLock {
 public:
  // Does not wait. FailedPrecondition names the process that holds `path`; `what` is what the lock stands for, in
  // errors.
  static absl::StatusOr<std::unique_ptr<FileLock>> Acquire(const std::string& path, const std::string& what);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  const int fd_;
};

}  // namespace tidemark::coordinator
