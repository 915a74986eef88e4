#include "cli/signal_watcher.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "cli/exit_code.h"

namespace tidemark::cli {
namespace {

sigset_t WatchedSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  return signals;
}

}  // namespace

void ExitOnSignals() {
  for (const int number : {SIGINT, SIGTERM}) {
    signal(number, [](int) { _exit(kInterrupted); });
  }
}

SignalWatcher::SignalWatcher() {
  const sigset_t signals = WatchedSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  thread_ = std::thread(&SignalWatcher::Watch, this);
}

SignalWatcher::~SignalWatcher() {
  stop_ = true;
  thread_.join();
  const sigset_t signals = WatchedSignals();
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
}

void SignalWatcher::Watch() {
  const sigset_t signals = WatchedSignals();
  const timespec poll = {.tv_sec = 0, .tv_nsec = 50'000'000};
  while (!stop_) {
    const int number = sigtimedwait(&signals, nullptr, &poll);
    if (number == SIGTERM) terminated_ = true;
    // The first cancels at the server, which takes its time; who insists wants out.
    if (number == SIGINT && ++interrupts_ > 1) _exit(kInterrupted);
  }
}

}  // namespace tidemark::cli
