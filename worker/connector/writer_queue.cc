#include "worker/connector/writer_queue.h"

#include <algorithm>

#include "absl/time/time.h"

namespace tidemark {
namespace {

// Between two looks at the cancel flag.
constexpr absl::Duration kLook = absl::Milliseconds(20);

}  // namespace

absl::StatusOr<WriterQueue::Turn> WriterQueue::Wait(const std::function<bool()>& cancelled) {
  absl::MutexLock lock(&mutex_);
  const int64_t ticket = next_ticket_++;
  const auto served = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return serving_ == ticket; };
  while (!mutex_.AwaitWithTimeout(absl::Condition(&served), kLook)) {
    if (!cancelled()) continue;
    given_up_.push_back(ticket);
    return absl::CancelledError("cancelled while waiting to write to the file");
  }
  return Turn(shared_from_this());
}

void WriterQueue::Leave() {
  absl::MutexLock lock(&mutex_);
  ++serving_;
  // Those that left the queue while they waited.
  for (auto gone = std::find(given_up_.begin(), given_up_.end(), serving_); gone != given_up_.end();
       gone = std::find(given_up_.begin(), given_up_.end(), serving_)) {
    given_up_.erase(gone);
    ++serving_;
  }
}

}  // namespace tidemark
