#pragma once

#include <cstdint>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace tidemark {

// The only source of randomness in product code, so that a seed replays it. SplitMix64 (Steele, Lea, Flood 2014).
// Not for secrets. Thread-safe.
class Rng {
 public:
  explicit Rng(uint64_t seed) : state_(seed) {}
  // Seeded from the operating system.
  static uint64_t EntropySeed();

  uint64_t Next();
  // Uniform in [0, bound); bound > 0.
  uint64_t Below(uint64_t bound);
  // Uniform in [0, 1).
  double Unit();

 private:
  absl::Mutex mutex_;
  uint64_t state_ ABSL_GUARDED_BY(mutex_);
};

// 26 lower-case base32 characters, time first, so that ids sort by creation and are safe inside SQL identifiers and
// file names. The layout is ULID's (48 bits of milliseconds, 80 random bits).
std::string NewId(absl::Time now, Rng& rng);

}  // namespace tidemark
