#include "common/base/termination.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <thread>

namespace tidemark {
namespace {

sigset_t Signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  return signals;
}

void AwaitOne() {
  const sigset_t signals = Signals();
  int number = 0;
  while (sigwait(&signals, &number) != 0) {
  }
}

}  // namespace

Termination::Termination() {
  const sigset_t signals = Signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

void Termination::Wait() {
  AwaitOne();
  // Ends with the process.
  std::thread([] {
    AwaitOne();
    _exit(1);
  }).detach();
}

}  // namespace tidemark
