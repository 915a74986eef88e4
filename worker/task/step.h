#pragma once

#include "absl/time/time.h"

namespace tidemark {

// What the driver of a step machine does next. The machine has no thread and never sleeps: its driver does, whether
// that is a thread of the worker or a simulation.
struct Step {
  enum class Kind {
    kMore,     // call again
    kWait,     // call again after `wait`
    kBlocked,  // call again when the spill is readable
    kDone,
  };
  Kind kind = Kind::kMore;
  absl::Duration wait = absl::ZeroDuration();

  static Step More() { return {Kind::kMore, absl::ZeroDuration()}; }
  static Step Wait(absl::Duration wait) { return {Kind::kWait, wait}; }
  static Step Blocked() { return {Kind::kBlocked, absl::ZeroDuration()}; }
  static Step Done() { return {Kind::kDone, absl::ZeroDuration()}; }
};

}  // namespace tidemark
