#pragma once

#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace tidemark {

// The folder of one worker's spills, which no other process uses while it lives. Movable.
class SpillDirectory {
 public:
  // Makes `base`/`worker_id` and removes the spills of an earlier process in it. An error says what is wrong with
  // spill_dir; FailedPrecondition, too, if a worker of that id lives.
  static absl::StatusOr<SpillDirectory> Open(const std::string& base, const std::string& worker_id);
  ~SpillDirectory();
  SpillDirectory(SpillDirectory&& other) noexcept;
  SpillDirectory& operator=(SpillDirectory&& other) noexcept;

  const std::string& path() const { return path_; }

 private:
  SpillDirectory(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}

  std::string path_;
  // Open on the folder, and its lock; -1: none.
  int lock_ = -1;
};

}  // namespace tidemark
