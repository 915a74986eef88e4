#pragma once

#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace tidemark::test {

// Looks every 100 ms at the sessions that a role has in a database, and right after at one number of another database.
// A role of its own counts every session, also one that has not said its name.
class SessionSampler {
 public:
  struct Options {
    // Of a superuser, to the database whose sessions are counted.
    std::string dsn;
    std::string role;
    // A query of one number, and where it is asked; empty: none.
    std::string number_dsn;
    std::string number_sql;
  };
  struct Sample {
    absl::Time at;
    // Sessions by application_name, and their backends.
    std::map<std::string, int> sessions;
    std::vector<int> backends;
    int number = 0;

    int total() const { return static_cast<int>(backends.size()); }
  };

  explicit SessionSampler(Options options);
  // Stops.
  ~SessionSampler();
  // Stops, and returns all samples in their order.
  std::vector<Sample> Stop();
  // The newest sample, which began after this call.
  Sample Next();

 private:
  void Run();

  const Options options_;
  absl::Notification stop_;
  absl::Mutex mutex_;
  std::vector<Sample> samples_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

// The most sessions in one of the samples.
int MostSessions(const std::vector<SessionSampler::Sample>& samples);

}  // namespace tidemark::test
