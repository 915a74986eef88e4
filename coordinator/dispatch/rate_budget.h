#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "tidemark/v1/spec.pb.h"
#include "tidemark/v1/worker_control.pb.h"

namespace tidemark::coordinator {

// Shares the rows per second of a source over the workers that read from it. At no moment do the shares that may be in
// force exceed the limit: a share that was lowered counts in full until its worker has acknowledged the lower one, and
// only then another is raised. Pure; not thread-safe. `worker` names one incarnation.
class RateBudget {
 public:
  // A worker that stops reading keeps its share for a moment, so that shares do not move with every partition.
  static constexpr absl::Duration kLinger = absl::Seconds(1);
  // A worker that waits for a share and does not ask again is forgotten.
  static constexpr absl::Duration kPatience = absl::Seconds(20);

  // (worker, connection).
  using Reader = std::pair<std::string, std::string>;

  // Versions of this leader's shares stand above those of every leader before it.
  void SetEpoch(int64_t epoch);

  // Replaces the limits.
  void SetConnections(const std::vector<v1::ConnectionSpec>& connections);

  // Whether `worker` may start reading from `connection`: true where there is no limit, or if it has a share or can
  // have one now. If not, the other shares are lowered to make room; ask again once they are acknowledged.
  bool Admit(std::string_view worker, std::string_view connection, absl::Duration now);

  // `worker` reads by a share that an earlier leader gave it: it counts as the whole limit until the worker has said
  // how large it is.
  void Assume(std::string_view worker, std::string_view connection, absl::Duration now);

  // Who reads now; the shares of the others end after kLinger. Call it after every change.
  void Observe(const std::set<Reader>& reading, absl::Duration now);

  // What the worker must keep to, told as often as one likes.
  std::vector<v1::RateShare> Shares(std::string_view worker) const;
  // Whether that has changed since NoteTold.
  bool HasNews(std::string_view worker) const;
  void NoteTold(std::string_view worker);

  // A share that the worker says is in force.
  void Acknowledge(std::string_view worker, const v1::RateShare& share);

  // When Observe has something to do without any other event.
  absl::Duration NextChange() const;

  // Grows whenever a share changes.
  int64_t version() const { return last_version_; }

  // Sum of what may be in force on the connection's source; for tests and metrics.
  int64_t Outstanding(std::string_view connection) const;

 private:
  struct Share {
    // 0: waits for its first.
    int64_t told = 0;
    // The most that may be in force at the worker.
    int64_t outstanding = 0;
    int64_t version = 0;
    int64_t told_version = 0;
    // Monotonic: when it last read, or last asked.
    absl::Duration last_seen;
    bool reading = false;
    // An earlier leader's, see Assume.
    bool assumed = false;
  };
  struct Source {
    int64_t limit = 0;
    std::map<Reader, Share> shares;
  };

  Source* Find(std::string_view connection);
  const Source* Find(std::string_view connection) const;
  void Rebalance(Source& source);
  static int64_t Sum(const Source& source);

  std::map<std::string, std::string, std::less<>> identities_;  // By connection; only those with a limit.
  std::map<std::string, Source, std::less<>> sources_;          // By identity.
  int64_t last_version_ = 0;
};

}  // namespace tidemark::coordinator
