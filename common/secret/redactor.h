#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace tidemark {

// Knows secrets by their value and takes them out of any text that leaves the process: a server's error message may
// quote a password that no formatter of ours ever saw. Thread-safe.
class Redactor {
 public:
  // Values shorter than this would blank out harmless words, so they are kept out of messages only where they are
  // formatted.
  static constexpr size_t kShortest = 4;

  // Registers a value, and the form it takes when it is percent-encoded in a URL.
  void Add(std::string_view secret);
  // Registers the passwords inside a DSN, and the whole of it if it holds any.
  void AddDsn(std::string_view dsn);

  // `text` with every registered value replaced by "***", the longest first.
  std::string Redact(std::string_view text) const;

 private:
  void AddValue(std::string value) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  // Longest first: a secret may hold another.
  std::vector<std::string> values_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tidemark
