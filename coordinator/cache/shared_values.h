#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace tidemark::coordinator {

// Values that the processes of a cluster share and can do without. An error means that the store is away, or is left
// alone for a while after it was; every call ends within a bounded time. Thread-safe.
class SharedValues {
 public:
  virtual ~SharedValues() = default;
  // nullopt if there is none. What is returned may be anything that anybody wrote.
  virtual absl::StatusOr<std::optional<std::string>> Get(std::string_view key) = 0;
  // Replaces the value for `ttl`.
  virtual absl::Status Put(std::string_view key, std::string_view value, absl::Duration ttl) = 0;
  // True if nobody held the lock: then it is held by `token` for `ttl`, or until Unlock.
  virtual absl::StatusOr<bool> TryLock(std::string_view key, std::string_view token, absl::Duration ttl) = 0;
  // No effect unless `token` holds it.
  virtual absl::Status Unlock(std::string_view key, std::string_view token) = 0;
};

}  // namespace tidemark::coordinator
