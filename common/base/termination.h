#pragma once

namespace tidemark {

// SIGTERM and SIGINT of a daemon: the first asks it to end in its own time, the second ends it with exit code 1 at
// once. Make one, in main, before any other thread: threads inherit that the signals are blocked. SIGPIPE is ignored: a
// reader of the output that has gone is no reason to end.
class Termination {
 public:
  Termination();
  Termination(const Termination&) = delete;
  Termination& operator=(const Termination&) = delete;

  // Returns at the first signal, which may have come before. Once.
  void Wait();
};

}  // namespace tidemark
