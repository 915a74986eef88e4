#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/base/rng.h"
#include "coordinator/run/coordinator_core.h"
#include "coordinator/run/simulated_stores.h"

namespace tidemark::coordinator {

// Probabilities in per mille, each time it could happen.
struct SimulatedFaults {
  int lost_reply = 30;
  int lost_request = 30;
  int failed_move = 40;
  int unknown_commit = 150;
  int lost_snapshot = 10;
  // Per step of 100 ms.
  int death = 1;
  // The worker works on, and nobody hears it for a while.
  int silence = 1;
};

struct SimulatedWorld {
  SimulatedClock* clock = nullptr;
  Rng* rng = nullptr;
  SimulatedSource source;
  // By table.
  std::map<std::string, SimulatedTarget> targets;
  SimulatedFaults faults;
  absl::Duration lease;
  absl::Duration server_side_timeouts;

  bool Happens(int per_mille) const { return per_mille > 0 && rng->Below(1000) < static_cast<uint64_t>(per_mille); }
};

// A worker that keeps the contract of worker_control.proto and meets every misfortune the world has. One step is 100
// ms.
class SimulatedWorker {
 public:
  SimulatedWorker(std::string id, int slots, SimulatedWorld* world)
      : id_(std::move(id)), slots_(slots), world_(world) {}

  // Null while the coordinator is away.
  void Step(CoordinatorCore* coordinator);
  // Its process ends; sessions are noticed by the server some time later. Starts anew at a later step.
  void Die(absl::Duration sessions_end_within);

  // Rows per second it may read from the connection now; 0: it does not read there.
  int64_t ShareInForce(const std::string& connection) const;

 private:
  struct Running {
    v1::Task task;
    absl::Duration extracted_at;
    absl::Duration done_at;
    bool extracted = false;
    std::vector<int64_t> rows;
    // The outcome, to be reported until the coordinator has taken it.
    std::optional<v1::CompleteTaskRequest> outcome;
  };
  using Key = std::pair<std::string, int64_t>;

  void Register(CoordinatorCore& coordinator);
  void Poll(CoordinatorCore& coordinator);
  void Beat(CoordinatorCore& coordinator);
  void Report(CoordinatorCore& coordinator);
  void Start(const v1::Task& task);
  void Work();
  void Extract(Running& running);
  void Finish(Running& running);
  v1::DescribeResult Describe(const v1::Task& task);
  void Fail(Running& running, v1::TaskError error);
  void CloseSession(const std::string& session_id);
  void DropEverything();
  void Cancel(const v1::TaskAttempt& attempt);
  void TakeShares(const google::protobuf::RepeatedPtrField<v1::RateShare>& shares);
  bool Silent() const;
  std::string Owner() const { return RateKey(id_, incarnation_); }
  template <typename Request>
  void Sign(Request& request) const;

  const std::string id_;
  const int slots_;
  SimulatedWorld* const world_;
  std::string incarnation_;
  bool alive_ = false;
  bool registered_ = false;
  absl::Duration silent_until_;
  absl::Duration reborn_at_;
  absl::Duration next_beat_;
  absl::Duration acknowledged_;
  bool beat_now_ = false;
  std::map<Key, Running> running_;
  std::set<std::string> closed_;
  std::set<Key> cancelled_;
  std::map<std::string, v1::RateShare> shares_;
};

}  // namespace tidemark::coordinator
