#include "common/telemetry/event_log.h"

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/base/printable.h"

namespace tidemark {
namespace {

constexpr int kWaitMillis = 100;
constexpr int kLastWaits = 10;

}  // namespace

EventLog::EventLog(int file, const Clock* clock)
    : file_(file), clock_(clock), last_waits_(kLastWaits), writer_([this] { Run(); }) {}

EventLog::~EventLog() {
  {
    absl::MutexLock lock(&mutex_);
    ending_ = true;
  }
  writer_.join();
}

std::string EventLog::Line(std::string_view event) const {
  return absl::StrCat(absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", clock_->Now(), absl::UTCTimeZone()), " ",
                      Printable(event), "\n");
}

void EventLog::Write(std::string_view event) {
  std::string line = Line(event);
  absl::MutexLock lock(&mutex_);
  if (lines_.size() >= kMostLines) {
    ++lost_;
    return;
  }
  if (lost_ > 0) lines_.push_back(TakeLost());
  lines_.push_back(std::move(line));
}

std::string EventLog::TakeLost() {
  return Line(absl::StrCat("lines of this log that are lost here, since nobody read it: ", std::exchange(lost_, 0)));
}

void EventLog::Run() {
  while (true) {
    std::string line;
    {
      absl::MutexLock lock(&mutex_);
      const auto due = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !lines_.empty() || ending_; };
      mutex_.Await(absl::Condition(&due));
      if (!lines_.empty()) {
        line = std::move(lines_.front());
        lines_.pop_front();
      } else if (lost_ > 0) {
        line = TakeLost();
      } else {
        return;
      }
    }
    if (!Put(line)) return;
  }
}

bool EventLog::Put(std::string_view line) {
  while (!line.empty()) {
    pollfd writable = {file_, POLLOUT, 0};
    const int ready = poll(&writable, 1, kWaitMillis);
    if (ready == 0 && !MayWaitOn()) return false;
    if (ready <= 0) continue;
    // A pipe that is ready takes so much without blocking.
    const ssize_t written = write(file_, line.data(), std::min<size_t>(line.size(), PIPE_BUF));
    if (written >= 0) {
      line.remove_prefix(static_cast<size_t>(written));
    } else if (errno != EINTR && errno != EAGAIN) {
      return true;
    }
  }
  return true;
}

bool EventLog::MayWaitOn() {
  absl::MutexLock lock(&mutex_);
  return !ending_ || last_waits_-- > 0;
}

}  // namespace tidemark
