#pragma once

#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace tidemark {

// Holds the session that one thread works with, so that any other thread may cancel what the session does and never
// meets one that is being destroyed. `Session` is SourceSession or TargetSession.
template <class Session>
class SessionSlot {
 public:
  // Cancelled after Cancel: the session is closed instead.
  absl::Status Put(std::unique_ptr<Session> session) {
    absl::MutexLock lock(&mutex_);
    if (cancelled_) return absl::CancelledError("the task was cancelled");
    session_ = std::move(session);
    return absl::OkStatus();
  }

  // For the thread that works with it alone. Null if empty.
  Session* get() const {
    absl::MutexLock lock(&mutex_);
    return session_.get();
  }

  // Empties the slot; closing the session is up to the caller.
  std::unique_ptr<Session> Take() {
    absl::MutexLock lock(&mutex_);
    return std::move(session_);
  }

  // Asks the session to stop, and refuses every later one. A request that meets a session between two statements
  // changes nothing: repeat it until the thread is done.
  void Cancel() {
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;
    if (session_ != nullptr) session_->Cancel();
  }

  bool cancelled() const {
    absl::MutexLock lock(&mutex_);
    return cancelled_;
  }

 private:
  mutable absl::Mutex mutex_;
  std::unique_ptr<Session> session_ ABSL_GUARDED_BY(mutex_);
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace tidemark
