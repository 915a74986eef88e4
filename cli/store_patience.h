#pragma once

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "coordinator/run/coordinator.h"

namespace tidemark::cli {

// How long a command bears with a metadata store that fails: what it says meanwhile, and when it gives up. Without the
// store nothing moves on, and nobody would be told. Pure; not thread-safe.
class StorePatience {
 public:
  static constexpr absl::Duration kLimit = absl::Seconds(15);

  // What to say now: the failure when it is new or another one, and its end. Nothing if that is said.
  std::optional<std::string> Observe(const std::optional<coordinator::StoreFailure>& failure);
  // The failure has lasted for kLimit at `now` (monotonic, of the clock that the failure was noted by).
  bool Exhausted(absl::Duration now) const { return failure_.has_value() && now - failure_->since >= kLimit; }

  const std::optional<coordinator::StoreFailure>& failure() const { return failure_; }

 private:
  std::optional<coordinator::StoreFailure> failure_;
};

}  // namespace tidemark::cli
