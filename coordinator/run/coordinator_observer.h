#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/store/records.h"
#include "tidemark/v1/values.pb.h"

namespace tidemark::coordinator {

// Hears of what a coordinator has decided and stored; for metrics and logs. Called while the coordinator is locked: it
// must return at once and may not call back. The default hears nothing.
class CoordinatorObserver {
 public:
  virtual ~CoordinatorObserver() = default;

  // A run of the schedule was created, as queued or as skipped, `lag` after its fire time.
  virtual void RunFired(const RunRecord& run, absl::Duration lag) {}
  // Fire times of the job that make no run: "superseded" by a later one, "too_late" for the job's catch-up, or
  // "skipped", because its run before goes on.
  virtual void FiresMissed(std::string_view job, std::string_view reason, int64_t count) {}
  virtual void RunEnded(const RunRecord& run) {}

  // `waited`: since it could have been leased, had there been a worker and a session.
  virtual void TaskLeased(v1::TaskKind kind, absl::Duration waited) {}
  // A session on the connection's replica of that place in its list, counted from 0, waited so long for it to replay
  // its primary's log, or gave up after that time.
  virtual void ReplicaAwaited(const std::string& connection, int replica, absl::Duration lag) {}
  // The attempt went with its worker. Those that end otherwise, their workers count.
  virtual void AttemptLost(v1::TaskKind kind) {}

  // The store did not take a write, and nothing is decided until it takes one. Not told again until StoreAnswers.
  virtual void StoreFailed(const absl::Status& error) {}
  // It has taken a write, `after` the first that failed.
  virtual void StoreAnswers(absl::Duration after) {}

  // A trigger in the store asked for what cannot be done.
  virtual void TriggerRefused(const TriggerRecord& trigger, std::string_view why) {}
};

}  // namespace tidemark::coordinator
