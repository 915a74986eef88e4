#pragma once

#include <thread>

#include "coordinator/run/coordinator.h"

namespace tidemark::coordinator {

// The thread that keeps a coordinator's time: calls Tick when something is due, until the coordinator is shut down or
// this is destroyed.
class Ticker {
 public:
  // `coordinator` must outlive this.
  explicit Ticker(Coordinator* coordinator);
  ~Ticker();
  Ticker(const Ticker&) = delete;
  Ticker& operator=(const Ticker&) = delete;

 private:
  void Run();

  Coordinator* const coordinator_;
  absl::Mutex mutex_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace tidemark::coordinator
