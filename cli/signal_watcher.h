#pragma once

#include <atomic>
#include <thread>

namespace tidemark::cli {

// Ends the process with exit code 130 at SIGINT and SIGTERM, for commands that have nothing to wind up.
void ExitOnSignals();

// While it lives, SIGINT and SIGTERM are counted instead of ending the process. The second SIGINT ends it
// with exit code 130 at once. Make it before any other thread: threads inherit the blocked signals.
class SignalWatcher {
 public:
  SignalWatcher();
  ~SignalWatcher();
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;

  // SIGINT came: cancel.
  bool interrupted() const { return interrupts_ > 0; }
  // SIGTERM came: finish what has begun.
  bool terminated() const { return terminated_; }

 private:
  void Watch();

  std::atomic<int> interrupts_ = 0;
  std::atomic<bool> terminated_ = false;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace tidemark::cli
