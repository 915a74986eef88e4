#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"

namespace tidemark {

// A daemon's log: one line per event worth a person's attention, with the time in UTC before it. Thread-safe. A thread
// of its own writes the lines, so that a reader who has stopped reading holds nobody up.
class EventLog {
 public:
  // How many lines wait to be written at the most. Later ones are lost, and a line in their place says how many.
  static constexpr size_t kMostLines = 10'000;

  // `file` is a descriptor, which stays open as long as this lives; `clock` must outlive it.
  EventLog(int file, const Clock* clock);
  // Every line is written, unless nobody takes them: it waits for that a second in all.
  ~EventLog();
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

  // Returns at once. Control characters in `event` are escaped, line ends too. Secrets are the caller's to take out. A
  // line that cannot be written (the disk is full, the reader has gone) is lost.
  void Write(std::string_view event);

 private:
  std::string Line(std::string_view event) const;
  // What stands for the lines that were lost since the last one.
  std::string TakeLost() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Run();
  // False if this is being destroyed and has waited long enough.
  bool Put(std::string_view line);
  bool MayWaitOn();

  const int file_;
  const Clock* const clock_;

  absl::Mutex mutex_;
  std::deque<std::string> lines_ ABSL_GUARDED_BY(mutex_);
  int64_t lost_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  // Waits left once it is ending.
  int last_waits_ ABSL_GUARDED_BY(mutex_);

  std::thread writer_;
};

}  // namespace tidemark
