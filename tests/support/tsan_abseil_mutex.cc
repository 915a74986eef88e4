// Tells ThreadSanitizer what absl::Mutex does. The system's Abseil is not instrumented: without this every access under
// its mutexes looks like a race. The linker sends our calls here (--wrap, see cmake/Tsan.cmake) and to the library from
// here. What the library does inside, such as running another thread's condition, is ignored between the pre_ and post_
// calls, as in Abseil's own annotations.
#include <sanitizer/tsan_interface.h>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace {

using absl::Condition;
using absl::CondVar;
using absl::Duration;
using absl::Mutex;
using absl::Time;

constexpr unsigned kReader = __tsan_mutex_read_lock;

template <typename Real>
void Locking(Mutex* mutex, unsigned flags, Real real) {
  __tsan_mutex_pre_lock(mutex, flags);
  real();
  __tsan_mutex_post_lock(mutex, flags, 0);
}

template <typename Real>
void Unlocking(Mutex* mutex, unsigned flags, Real real) {
  __tsan_mutex_pre_unlock(mutex, flags);
  real();
  __tsan_mutex_post_unlock(mutex, flags);
}

// The mutex is given up and taken again inside.
template <typename Real>
auto Waiting(Mutex* mutex, Real real) {
  __tsan_mutex_pre_unlock(mutex, 0);
  __tsan_mutex_post_unlock(mutex, 0);
  __tsan_mutex_pre_lock(mutex, 0);
  struct Relock {
    Mutex* mutex;
    ~Relock() { __tsan_mutex_post_lock(mutex, 0, 0); }
  } relock{mutex};
  return real();
}

}  // namespace

// TM_WRAP(result, mangled name, parameters): declares the library's function and begins ours.
#define TM_WRAP(result, name, ...)              \
  extern "C" result __real_##name(__VA_ARGS__); \
  extern "C" result __wrap_##name(__VA_ARGS__)

TM_WRAP(void, _ZN4absl7debian35Mutex4LockEv, Mutex* mutex) {
  Locking(mutex, 0, [&] { __real__ZN4absl7debian35Mutex4LockEv(mutex); });
}
TM_WRAP(void, _ZN4absl7debian35Mutex6UnlockEv, Mutex* mutex) {
  Unlocking(mutex, 0, [&] { __real__ZN4absl7debian35Mutex6UnlockEv(mutex); });
}
TM_WRAP(void, _ZN4absl7debian35Mutex10ReaderLockEv, Mutex* mutex) {
  Locking(mutex, kReader, [&] { __real__ZN4absl7debian35Mutex10ReaderLockEv(mutex); });
}
TM_WRAP(void, _ZN4absl7debian35Mutex12ReaderUnlockEv, Mutex* mutex) {
  Unlocking(mutex, kReader, [&] { __real__ZN4absl7debian35Mutex12ReaderUnlockEv(mutex); });
}
TM_WRAP(void, _ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE, Mutex* mutex, const Condition* condition) {
  Waiting(mutex, [&] { __real__ZN4absl7debian35Mutex5AwaitERKNS0_9ConditionE(mutex, condition); });
}
TM_WRAP(bool, _ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE, Mutex* mutex,
        const Condition* condition, Duration timeout) {
  return Waiting(mutex, [&] {
    return __real__ZN4absl7debian35Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE(mutex, condition, timeout);
  });
}
TM_WRAP(bool, _ZN4absl7debian35Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE, Mutex* mutex,
        const Condition* condition, Time deadline) {
  return Waiting(mutex, [&] {
    return __real__ZN4absl7debian35Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE(mutex, condition, deadline);
  });
}
TM_WRAP(void, _ZN4absl7debian37CondVar4WaitEPNS0_5MutexE, CondVar* variable, Mutex* mutex) {
  Waiting(mutex, [&] { __real__ZN4absl7debian37CondVar4WaitEPNS0_5MutexE(variable, mutex); });
}
TM_WRAP(bool, _ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE, CondVar* variable, Mutex* mutex,
        Duration timeout) {
  return Waiting(mutex, [&] {
    return __real__ZN4absl7debian37CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE(variable, mutex, timeout);
  });
}
TM_WRAP(bool, _ZN4absl7debian37CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE, CondVar* variable, Mutex* mutex,
        Time deadline) {
  return Waiting(mutex, [&] {
    return __real__ZN4absl7debian37CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE(variable, mutex, deadline);
  });
}
