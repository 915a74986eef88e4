#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

namespace tidemark::coordinator {

// One life of a worker's process.
struct Worker {
  std::string id;
  // New at every start of the process.
  std::string incarnation;
  // 0: not told yet (known from its leases alone).
  int slots = 0;
  std::string version;
  // Monotonic; the other for people.
  absl::Duration last_heartbeat;
  absl::Time last_seen;
  int64_t memory_bytes = 0;
  int64_t spill_bytes = 0;
  // It is to get nothing new.
  bool draining = false;
  // What the worker was told already outside of its heartbeats, so that a long poll does not answer with the same news
  // for ever.
  std::set<std::string> told_to_close;
  std::set<std::string> told_to_cancel;
};

// The workers that are alive as far as is known. Not thread-safe.
class WorkerDirectory {
 public:
  // Adds the worker or renews it. An older incarnation must have been removed before.
  void Register(Worker worker);
  void Remove(std::string_view id);

  // Null if that incarnation is not known, or was lost. Valid until it is removed.
  Worker* Find(std::string_view id, std::string_view incarnation);
  const Worker* Find(std::string_view id, std::string_view incarnation) const;
  // Whatever its incarnation; null if there is none.
  const Worker* FindById(std::string_view id) const;

  // Workers whose last heartbeat is a lease ago or more.
  std::vector<Worker> Expired(absl::Duration now, absl::Duration lease) const;
  // When the next worker expires unless it is heard of; InfiniteDuration without workers.
  absl::Duration NextExpiry(absl::Duration lease) const;

  const std::map<std::string, Worker, std::less<>>& workers() const { return workers_; }

 private:
  std::map<std::string, Worker, std::less<>> workers_;  // By id.
};

}  // namespace tidemark::coordinator
