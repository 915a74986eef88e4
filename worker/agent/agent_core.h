#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "tidemark/v1/worker_control.pb.h"

namespace tidemark {

// What a worker holds, and what it must do about every answer it gets, and about none. Pure: times are passed in, all
// on the worker's monotonic clock; what it decides is returned as Actions. Not thread-safe.
//
// The rules it keeps (see worker_control.proto): answers of an older epoch than one seen are dropped whole. Without an
// acknowledged heartbeat for 2/3 of a lease, counted from before the heartbeat was sent, every session is given up,
// since the coordinator may grant its permit to another after the lease. A worker the coordinator does not know gives
// up everything, and registers as a new incarnation only when nothing is left.
class AgentCore {
 public:
  struct Actions {
    std::vector<v1::Task> start;
    // Complete with the error, without running.
    std::vector<std::pair<v1::Task, absl::Status>> refuse;
    // Stop the task, both halves of it.
    std::vector<v1::TaskAttempt> cancel;
    // Busy: their tasks must stop reading and let go of them, then SessionReleased.
    std::vector<std::string> interrupt_sessions;
    // Idle: close them, then SessionClosed.
    std::vector<std::string> close_sessions;
    std::vector<v1::RateShare> rate_shares;
    // Something the coordinator should hear at once.
    bool heartbeat_now = false;
    // One line each, for the log.
    std::vector<std::string> notes;
  };

  AgentCore(std::string worker_id, int slots, std::string version);

  // True at the start and, after the worker was found unknown, once nothing is held any more.
  bool NeedsRegistration() const;
  // `incarnation` is a fresh id.
  v1::RegisterRequest MakeRegister(std::string incarnation);
  // False: the answer is of a leader that was replaced, and changes nothing.
  bool Registered(absl::Duration sent_at, const v1::RegisterResponse& response);
  bool registered() const { return registered_; }

  v1::LeaseTasksRequest MakeLease() const;
  Actions Leased(const v1::LeaseTasksResponse& response);
  // Every task and session held. Progress is the caller's to fill in.
  v1::HeartbeatRequest MakeHeartbeat() const;
  // `request` is the one answered, sent at `sent_at`.
  Actions HeartbeatAnswered(absl::Duration sent_at, const v1::HeartbeatRequest& request,
                            const v1::HeartbeatResponse& response);
  // The coordinator refused this incarnation.
  Actions Unknown();

  // When Tick has something to do; InfiniteDuration if nothing is at stake.
  absl::Duration Deadline() const;
  Actions Tick(absl::Duration now);

  // The task's extract is over, and its session is idle if `wants_keep`. False: it must be closed all the same, then
  // SessionClosed.
  bool MayKeepSession(const std::string& session_id, bool wants_keep);
  void SessionClosed(const std::string& session_id);

  // The task has an outcome. False: nobody wants to know it.
  bool TaskFinished(const v1::TaskAttempt& task);
  // State of the task's session, for CompleteTask; CLOSED if it is not held.
  v1::SessionState StateOf(const std::string& session_id) const;
  // Its completion was acknowledged, refused as stale, or given up.
  void TaskGone(const v1::TaskAttempt& task);

  // No new tasks: polls go on without a free slot.
  void Drain() { draining_ = true; }
  // Gives up every session that no task uses.
  Actions CloseIdleSessions();

  int free_slots() const;
  bool holds_tasks() const { return !tasks_.empty(); }
  absl::Duration lease() const { return lease_; }
  const std::string& worker_id() const { return worker_id_; }
  const std::string& incarnation() const { return incarnation_; }

 private:
  // By id and attempt.
  using TaskKey = std::pair<std::string, int64_t>;
  struct HeldTask {
    bool finished = false;
    bool cancelled = false;
    // The outcome is of no use to the coordinator.
    bool dropped = false;
  };
  // The last few thousand, each once.
  template <class Key>
  class Remembered {
   public:
    void Add(const Key& key) {
      if (!keys_.insert(key).second) return;
      order_.push_back(key);
      if (order_.size() <= kMost) return;
      keys_.erase(order_.front());
      order_.pop_front();
    }
    bool Has(const Key& key) const { return keys_.contains(key); }

   private:
    static constexpr size_t kMost = 4096;
    std::set<Key> keys_;
    std::deque<Key> order_;
  };
  enum class Use { kBusy, kIdle, kClosing };
  struct HeldSession {
    Use use = Use::kBusy;
    // Must not become idle.
    bool doomed = false;
  };

  // False: an answer of a leader that was replaced.
  bool Accept(int64_t epoch);
  void Admit(const v1::Task& task, Actions& actions);
  absl::Status AdmitSession(const v1::SessionGrant& grant);
  void CancelTask(const v1::TaskAttempt& task, Actions& actions);
  void GiveUpSession(const std::string& session_id, Actions& actions);
  void ReportClosed(const std::string& session_id);
  void GiveUpSessions(Actions& actions);
  void TakeShare(const v1::RateShare& share, Actions& actions);

  const std::string worker_id_;
  const int slots_;
  const std::string version_;
  std::string incarnation_;
  bool registered_ = false;
  bool draining_ = false;
  // No acknowledged heartbeat for 2/3 of a lease.
  bool out_of_touch_ = false;
  int64_t epoch_ = 0;
  absl::Duration lease_ = absl::Seconds(15);
  // When the last acknowledged heartbeat was sent.
  absl::Duration acknowledged_ = absl::ZeroDuration();
  std::map<TaskKey, HeldTask> tasks_;
  std::map<std::string, HeldSession> sessions_;
  // Closed, and not yet acknowledged as such.
  std::set<std::string> closed_;
  // Sessions reported closed and attempts cancelled: a grant of them that comes later was overtaken on its way.
  Remembered<std::string> ended_sessions_;
  Remembered<TaskKey> cancelled_tasks_;
  // By connection.
  std::map<std::string, v1::RateShare> shares_;
};

}  // namespace tidemark
