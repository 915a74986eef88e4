#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

namespace tidemark {

// Who may write to one file: this process's writers in the order they came, so that none of them starves. Thread-safe.
class WriterQueue : public std::enable_shared_from_this<WriterQueue> {
 public:
  // The right to write, until destroyed. May be destroyed by another thread than the one that got it.
  class Turn {
   public:
    explicit Turn(std::shared_ptr<WriterQueue> queue) : queue_(std::move(queue)) {}
    Turn(Turn&& other) noexcept = default;
    Turn& operator=(Turn&&) = delete;
    ~Turn() {
      if (queue_ != nullptr) queue_->Leave();
    }

   private:
    std::shared_ptr<WriterQueue> queue_;
  };

  // Waits its turn. Cancelled as soon as `cancelled` is seen true.
  absl::StatusOr<Turn> Wait(const std::function<bool()>& cancelled);

 private:
  void Leave();

  absl::Mutex mutex_;
  int64_t next_ticket_ ABSL_GUARDED_BY(mutex_) = 0;
  // The ticket whose turn it is; tickets of those that gave up are skipped.
  int64_t serving_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<int64_t> given_up_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tidemark
