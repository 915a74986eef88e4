#include "worker/batch/memory_budget.h"

#include <algorithm>
#include <cassert>

namespace tidemark {

bool MemoryBudget::TryTake(int64_t bytes) {
  absl::MutexLock lock(&mutex_);
  if (!waiting_.empty() || used_ + bytes > total_) return false;
  used_ += bytes;
  return true;
}

int64_t MemoryBudget::Take(int64_t bytes, const std::atomic<bool>& cancelled) {
  bytes = std::min(bytes, total_);
  absl::MutexLock lock(&mutex_);
  const auto place = waiting_.insert(waiting_.end(), bytes);
  while (!cancelled.load() && (place != waiting_.begin() || used_ + bytes > total_)) changed_.Wait(&mutex_);
  waiting_.erase(place);
  // The next in the queue may be served too, or is first only now.
  changed_.SignalAll();
  if (cancelled.load()) return -1;
  used_ += bytes;
  return bytes;
}

void MemoryBudget::Give(int64_t bytes) {
  absl::MutexLock lock(&mutex_);
  used_ -= bytes;
  assert(used_ >= 0);
  changed_.SignalAll();
}

void MemoryBudget::Wake() {
  absl::MutexLock lock(&mutex_);
  changed_.SignalAll();
}

int64_t MemoryBudget::used() const {
  absl::MutexLock lock(&mutex_);
  return used_;
}

}  // namespace tidemark
