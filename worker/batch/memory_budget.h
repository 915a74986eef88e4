#pragma once

#include <atomic>
#include <cstdint>
#include <list>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace tidemark {

// The bytes of chunks that the tasks of one worker may keep in memory, summed over all of them. Never exceeded: what
// does not fit goes to disk. The few chunks that pass through a task's hands (SpillOptions::in_flight) are not counted
// here; whoever sizes the budget leaves room for them. Thread-safe.
class MemoryBudget {
 public:
  explicit MemoryBudget(int64_t bytes) : total_(bytes) {}

  // Takes `bytes` if they are free and nobody waits in Take; never blocks.
  bool TryTake(int64_t bytes);

  // Waits until `bytes` are free, in order of arrival, and takes them. More than there is at all: waits for the whole
  // budget and takes that, so a value larger than any share still passes, alone. Returns the bytes taken, to be given
  // back; fewer than 0 if `cancelled` came first (see Wake). The caller should hold nothing of the budget, or two such
  // callers may wait for each other for ever.
  int64_t Take(int64_t bytes, const std::atomic<bool>& cancelled);

  void Give(int64_t bytes);

  // Makes those who wait in Take look at their `cancelled`.
  void Wake();

  int64_t total() const { return total_; }
  int64_t used() const;

 private:
  const int64_t total_;
  mutable absl::Mutex mutex_;
  absl::CondVar changed_;
  int64_t used_ ABSL_GUARDED_BY(mutex_) = 0;
  // Those who wait in Take, in order of arrival.
  std::list<int64_t> waiting_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tidemark
