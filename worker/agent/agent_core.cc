#include "worker/agent/agent_core.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/model/duration.h"

namespace tidemark {
namespace {

// How long a poll waits for work, at most: what a drain waits for, and a changed number of free slots.
constexpr absl::Duration kLongestPoll = absl::Seconds(2);

}  // namespace

AgentCore::AgentCore(std::string worker_id, int slots, std::string version)
    : worker_id_(std::move(worker_id)), slots_(slots), version_(std::move(version)) {}

bool AgentCore::NeedsRegistration() const { return !registered_ && tasks_.empty() && sessions_.empty(); }

v1::RegisterRequest AgentCore::MakeRegister(std::string incarnation) {
  incarnation_ = std::move(incarnation);
  // What was closed belonged to an earlier incarnation, which is lost as a whole.
  closed_.clear();
  shares_.clear();
  v1::RegisterRequest request;
  request.set_worker_id(worker_id_);
  request.set_incarnation(incarnation_);
  request.set_slots(slots_);
  request.set_version(version_);
  return request;
}

bool AgentCore::Registered(absl::Duration sent_at, const v1::RegisterResponse& response) {
  if (!Accept(response.epoch())) return false;
  registered_ = true;
  out_of_touch_ = false;
  acknowledged_ = sent_at;
  if (response.has_lease()) lease_ = FromProto(response.lease());
  return true;
}

v1::LeaseTasksRequest AgentCore::MakeLease() const {
  v1::LeaseTasksRequest request;
  request.set_worker_id(worker_id_);
  request.set_incarnation(incarnation_);
  request.set_free_slots(free_slots());
  *request.mutable_wait() = ToProto(std::min(kLongestPoll, lease_ / 5));
  for (const auto& [connection, share] : shares_) *request.add_rate_shares() = share;
  return request;
}

AgentCore::Actions AgentCore::Leased(const v1::LeaseTasksResponse& response) {
  Actions actions;
  if (!registered_ || !Accept(response.epoch())) return actions;
  for (const v1::RateShare& share : response.rate_shares()) TakeShare(share, actions);
  for (const v1::TaskAttempt& task : response.cancel_tasks()) CancelTask(task, actions);
  for (const std::string& session : response.close_sessions()) GiveUpSession(session, actions);
  for (const v1::Task& task : response.tasks()) Admit(task, actions);
  return actions;
}

v1::HeartbeatRequest AgentCore::MakeHeartbeat() const {
  v1::HeartbeatRequest request;
  request.set_worker_id(worker_id_);
  request.set_incarnation(incarnation_);
  for (const auto& [key, task] : tasks_) {
    v1::TaskProgress& progress = *request.add_tasks();
    progress.set_task_id(key.first);
    progress.set_attempt(key.second);
  }
  for (const auto& [id, session] : sessions_) *request.add_sessions() = StateOf(id);
  for (const std::string& id : closed_) *request.add_sessions() = StateOf(id);
  for (const auto& [connection, share] : shares_) *request.add_rate_shares() = share;
  request.set_slots(slots_);
  request.set_version(version_);
  return request;
}

AgentCore::Actions AgentCore::HeartbeatAnswered(absl::Duration sent_at, const v1::HeartbeatRequest& request,
                                                const v1::HeartbeatResponse& response) {
  Actions actions;
  if (!registered_ || request.incarnation() != incarnation_ || !Accept(response.epoch())) return actions;
  if (response.unknown_worker()) return Unknown();
  if (out_of_touch_) actions.notes.push_back("the coordinator answers again");
  out_of_touch_ = false;
  acknowledged_ = std::max(acknowledged_, sent_at);
  for (const v1::SessionState& session : request.sessions()) {
    if (session.state() == v1::SessionState::STATE_CLOSED) closed_.erase(session.session_id());
  }
  for (const v1::RateShare& share : response.rate_shares()) TakeShare(share, actions);
  for (const v1::TaskAttempt& task : response.cancel_tasks()) CancelTask(task, actions);
  for (const std::string& session : response.close_sessions()) GiveUpSession(session, actions);
  return actions;
}

AgentCore::Actions AgentCore::Unknown() {
  Actions actions;
  if (!registered_) return actions;
  registered_ = false;
  actions.notes.push_back("the coordinator does not know this worker any more: everything held is given up");
  for (auto& [key, task] : tasks_) {
    task.dropped = true;
    v1::TaskAttempt attempt;
    attempt.set_task_id(key.first);
    attempt.set_attempt(key.second);
    CancelTask(attempt, actions);
  }
  GiveUpSessions(actions);
  return actions;
}

absl::Duration AgentCore::Deadline() const {
  if (!registered_ || out_of_touch_) return absl::InfiniteDuration();
  return acknowledged_ + lease_ * 2 / 3;
}

AgentCore::Actions AgentCore::Tick(absl::Duration now) {
  Actions actions;
  if (now < Deadline()) return actions;
  out_of_touch_ = true;
  actions.notes.push_back(absl::StrCat("no heartbeat was acknowledged for ", DurationText(now - acknowledged_),
                                       ": the source sessions are closed"));
  GiveUpSessions(actions);
  return actions;
}

bool AgentCore::MayKeepSession(const std::string& session_id, bool wants_keep) {
  const auto held = sessions_.find(session_id);
  if (held == sessions_.end()) return false;
  const bool keep = wants_keep && !held->second.doomed && registered_ && !out_of_touch_;
  held->second.use = keep ? Use::kIdle : Use::kClosing;
  return keep;
}

void AgentCore::SessionClosed(const std::string& session_id) {
  sessions_.erase(session_id);
  ReportClosed(session_id);
}

void AgentCore::ReportClosed(const std::string& session_id) {
  closed_.insert(session_id);
  ended_sessions_.Add(session_id);
}

bool AgentCore::TaskFinished(const v1::TaskAttempt& task) {
  const auto held = tasks_.find({task.task_id(), task.attempt()});
  if (held == tasks_.end()) return false;
  held->second.finished = true;
  return !held->second.dropped;
}

v1::SessionState AgentCore::StateOf(const std::string& session_id) const {
  v1::SessionState state;
  state.set_session_id(session_id);
  const auto held = sessions_.find(session_id);
  // One that is being closed still holds its connection.
  state.set_state(held == sessions_.end()          ? v1::SessionState::STATE_CLOSED
                  : held->second.use == Use::kIdle ? v1::SessionState::STATE_IDLE
                                                   : v1::SessionState::STATE_BUSY);
  return state;
}

void AgentCore::TaskGone(const v1::TaskAttempt& task) { tasks_.erase({task.task_id(), task.attempt()}); }

AgentCore::Actions AgentCore::CloseIdleSessions() {
  Actions actions;
  for (const auto& [id, session] : sessions_) {
    if (session.use == Use::kIdle) actions.close_sessions.push_back(id);
  }
  for (const std::string& id : actions.close_sessions) sessions_[id].use = Use::kClosing;
  return actions;
}

int AgentCore::free_slots() const {
  if (draining_ || out_of_touch_) return 0;
  return std::max(0, slots_ - static_cast<int>(tasks_.size()));
}

bool AgentCore::Accept(int64_t epoch) {
  if (epoch < epoch_) return false;
  if (epoch > epoch_) {
    // A new leader numbers its shares anew; until it speaks, the old ones stay in force.
    for (auto& [connection, share] : shares_) share.set_version(0);
  }
  epoch_ = epoch;
  return true;
}

void AgentCore::Admit(const v1::Task& task, Actions& actions) {
  const TaskKey key(task.task_id(), task.attempt());
  if (tasks_.contains(key)) return;  // Leased once more: the answer that told of it came twice.
  const auto later = tasks_.upper_bound(key);
  if (later != tasks_.end() && later->first.first == task.task_id()) return;  // That answer was overtaken.

  absl::Status refused;
  if (cancelled_tasks_.Has(key)) {
    refused = absl::CancelledError("the task was cancelled");
  } else if (out_of_touch_) {
    refused = absl::UnavailableError("the worker has lost touch with the coordinator");
  } else if (static_cast<int>(tasks_.size()) >= slots_) {
    refused = absl::ResourceExhaustedError(absl::StrCat("all ", slots_, " slots of worker ", worker_id_, " are taken"));
  } else if (task.has_session()) {
    refused = AdmitSession(task.session());
  }
  tasks_[key] = HeldTask();
  if (refused.ok()) {
    actions.start.push_back(task);
  } else {
    actions.refuse.emplace_back(task, std::move(refused));
  }

  // An earlier attempt at the same task that still runs here is of no use any more.
  for (auto earlier = tasks_.lower_bound({task.task_id(), INT64_MIN}); earlier->first != key; ++earlier) {
    v1::TaskAttempt attempt;
    attempt.set_task_id(earlier->first.first);
    attempt.set_attempt(earlier->first.second);
    CancelTask(attempt, actions);
  }
}

absl::Status AgentCore::AdmitSession(const v1::SessionGrant& grant) {
  const auto held = sessions_.find(grant.session_id());
  if (held == sessions_.end()) {
    if (!grant.open() || ended_sessions_.Has(grant.session_id())) {
      ReportClosed(grant.session_id());
      return absl::UnavailableError(absl::StrCat("source session ", grant.session_id(), " is not open any more"));
    }
    sessions_[grant.session_id()] = HeldSession();
    return absl::OkStatus();
  }
  if (held->second.use != Use::kIdle) {
    return absl::AbortedError(absl::StrCat("source session ", grant.session_id(), " is in use by another task"));
  }
  held->second.use = Use::kBusy;
  return absl::OkStatus();
}

void AgentCore::CancelTask(const v1::TaskAttempt& task, Actions& actions) {
  const TaskKey key(task.task_id(), task.attempt());
  cancelled_tasks_.Add(key);
  const auto held = tasks_.find(key);
  if (held == tasks_.end() || held->second.finished || held->second.cancelled) return;
  held->second.cancelled = true;
  actions.cancel.push_back(task);
}

void AgentCore::GiveUpSession(const std::string& session_id, Actions& actions) {
  const auto held = sessions_.find(session_id);
  if (held == sessions_.end()) {
    ReportClosed(session_id);
    actions.heartbeat_now = true;
    return;
  }
  HeldSession& session = held->second;
  if (session.use == Use::kIdle) {
    session.use = Use::kClosing;
    actions.close_sessions.push_back(session_id);
  } else if (session.use == Use::kBusy && !session.doomed) {
    actions.interrupt_sessions.push_back(session_id);
  }
  session.doomed = true;
}

void AgentCore::GiveUpSessions(Actions& actions) {
  std::vector<std::string> ids;
  for (const auto& [id, session] : sessions_) ids.push_back(id);
  for (const std::string& id : ids) GiveUpSession(id, actions);
}

void AgentCore::TakeShare(const v1::RateShare& share, Actions& actions) {
  v1::RateShare& mine = shares_[share.connection()];
  if (!mine.connection().empty() && share.version() <= mine.version()) return;
  mine = share;
  actions.rate_shares.push_back(share);
  actions.heartbeat_now = true;
}

}  // namespace tidemark
