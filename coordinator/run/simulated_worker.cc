#include "coordinator/run/simulated_worker.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace tidemark::coordinator {
namespace {

bool Lags(int64_t rows, const std::string& position) {
  int64_t wanted = 0;
  return absl::SimpleAtoi(position, &wanted) && rows < wanted;
}

v1::TaskError Unfit() {
  v1::TaskError error =
      SimulatedError(static_cast<int>(absl::StatusCode::kUnavailable), "the replica lags", /*retryable=*/true);
  error.set_at_source(true);
  error.set_replica_unfit(true);
  return error;
}

}  // namespace

template <typename Request>
void SimulatedWorker::Sign(Request& request) const {
  request.set_worker_id(id_);
  request.set_incarnation(incarnation_);
}

bool SimulatedWorker::Silent() const { return world_->clock->Monotonic() < silent_until_; }

void SimulatedWorker::Step(CoordinatorCore* coordinator) {
  const absl::Duration now = world_->clock->Monotonic();
  if (!alive_) {
    if (now < reborn_at_) return;
    alive_ = true;
    registered_ = false;
    incarnation_ = NewId(world_->clock->Now(), *world_->rng);
    acknowledged_ = now;
  }
  if (world_->Happens(world_->faults.death)) return Die(world_->server_side_timeouts);
  if (world_->Happens(world_->faults.silence)) silent_until_ = now + world_->lease * 0.1 * (1 + world_->rng->Below(30));
  // Without an acknowledged heartbeat it lets go of the source in time.
  if (now - acknowledged_ >= world_->lease * 2 / 3) {
    std::vector<std::string> mine;
    for (const auto& [id, session] : world_->source.sessions) {
      if (session.owner == Owner()) mine.push_back(id);
    }
    for (const std::string& id : mine) CloseSession(id);
  }
  Work();
  if (coordinator == nullptr || Silent()) return;
  if (!registered_) Register(*coordinator);
  if (!registered_) return;
  if (beat_now_ || now >= next_beat_) Beat(*coordinator);
  if (registered_) Report(*coordinator);
  if (registered_) Poll(*coordinator);
}

void SimulatedWorker::Die(absl::Duration sessions_end_within) {
  const absl::Duration now = world_->clock->Monotonic();
  for (auto& [id, session] : world_->source.sessions) {
    if (session.owner != Owner()) continue;
    session.reading = false;
    session.dies_at = now + sessions_end_within * world_->rng->Unit();
  }
  running_.clear();
  closed_.clear();
  shares_.clear();
  cancelled_.clear();
  alive_ = registered_ = false;
  reborn_at_ = now + absl::Seconds(1) * world_->rng->Below(8);
}

void SimulatedWorker::DropEverything() {
  std::vector<std::string> mine;
  for (const auto& [id, session] : world_->source.sessions) {
    if (session.owner == Owner()) mine.push_back(id);
  }
  for (const std::string& id : mine) CloseSession(id);
  running_.clear();
  shares_.clear();
  registered_ = false;
  incarnation_ = NewId(world_->clock->Now(), *world_->rng);
}

void SimulatedWorker::Register(CoordinatorCore& coordinator) {
  v1::RegisterRequest request;
  Sign(request);
  request.set_slots(slots_);
  const absl::Duration now = world_->clock->Monotonic();
  if (!coordinator.Register(request).ok()) return;
  registered_ = true;
  closed_.clear();
  acknowledged_ = next_beat_ = now;
}

int64_t SimulatedWorker::ShareInForce(const std::string& connection) const {
  const auto share = shares_.find(connection);
  return share == shares_.end() ? 0 : share->second.rows_per_second();
}

void SimulatedWorker::TakeShares(const google::protobuf::RepeatedPtrField<v1::RateShare>& shares) {
  for (const v1::RateShare& share : shares) {
    v1::RateShare& mine = shares_[share.connection()];
    if (share.version() > mine.version()) mine = share;
  }
}

void SimulatedWorker::Cancel(const v1::TaskAttempt& attempt) {
  const Key key(attempt.task_id(), attempt.attempt());
  cancelled_.insert(key);
  const auto it = running_.find(key);
  if (it == running_.end() || it->second.outcome.has_value()) return;
  if (it->second.task.has_session()) CloseSession(it->second.task.session().session_id());
  Fail(it->second, SimulatedError(static_cast<int>(absl::StatusCode::kCancelled), "cancelled", false));
}

void SimulatedWorker::Poll(CoordinatorCore& coordinator) {
  if (world_->Happens(world_->faults.lost_request)) return;
  v1::LeaseTasksRequest request;
  Sign(request);
  request.set_free_slots(slots_ - static_cast<int>(running_.size()));
  for (const auto& [connection, share] : shares_) *request.add_rate_shares() = share;
  const absl::StatusOr<v1::LeaseTasksResponse> response = coordinator.LeaseTasks(request);
  if (!response.ok() || world_->Happens(world_->faults.lost_reply)) return;
  TakeShares(response->rate_shares());
  for (const std::string& session : response->close_sessions()) CloseSession(session);
  for (const v1::TaskAttempt& attempt : response->cancel_tasks()) Cancel(attempt);
  for (const v1::Task& task : response->tasks()) Start(task);
}

void SimulatedWorker::Beat(CoordinatorCore& coordinator) {
  const absl::Duration now = world_->clock->Monotonic();
  next_beat_ = now + world_->lease / 5;
  if (world_->Happens(world_->faults.lost_request)) return;
  v1::HeartbeatRequest request;
  Sign(request);
  request.set_slots(slots_);
  for (const auto& [key, running] : running_) {
    v1::TaskProgress& progress = *request.add_tasks();
    progress.set_task_id(key.first);
    progress.set_attempt(key.second);
    progress.set_extracted(running.extracted);
    progress.set_rows_read(static_cast<int64_t>(running.rows.size()));
  }
  for (const auto& [id, session] : world_->source.sessions) {
    if (session.owner != Owner()) continue;
    bool busy = false;
    for (const auto& [key, running] : running_)
      busy |= running.task.session().session_id() == id && !running.extracted && !running.outcome;
    v1::SessionState& state = *request.add_sessions();
    state.set_session_id(id);
    state.set_state(busy ? v1::SessionState::STATE_BUSY : v1::SessionState::STATE_IDLE);
  }
  const std::set<std::string> closed = closed_;
  for (const std::string& id : closed) {
    v1::SessionState& state = *request.add_sessions();
    state.set_session_id(id);
    state.set_state(v1::SessionState::STATE_CLOSED);
  }
  for (const auto& [connection, share] : shares_) *request.add_rate_shares() = share;
  const absl::StatusOr<v1::HeartbeatResponse> response = coordinator.Heartbeat(request);
  if (!response.ok() || world_->Happens(world_->faults.lost_reply)) return;
  if (response->unknown_worker()) return DropEverything();
  beat_now_ = false;
  acknowledged_ = now;
  for (const std::string& id : closed) closed_.erase(id);
  TakeShares(response->rate_shares());
  for (const std::string& session : response->close_sessions()) CloseSession(session);
  for (const v1::TaskAttempt& attempt : response->cancel_tasks()) Cancel(attempt);
}

void SimulatedWorker::Report(CoordinatorCore& coordinator) {
  for (auto it = running_.begin(); it != running_.end();) {
    if (!it->second.outcome.has_value() || world_->Happens(world_->faults.lost_request)) {
      ++it;
      continue;
    }
    const absl::StatusOr<v1::CompleteTaskResponse> response = coordinator.CompleteTask(*it->second.outcome);
    const bool refused = absl::IsFailedPrecondition(response.status());
    // An answer that was lost is asked for again: the coordinator hears the same report twice.
    const bool heard = (response.ok() || refused) && !world_->Happens(world_->faults.lost_reply);
    it = heard ? running_.erase(it) : std::next(it);
  }
}

void SimulatedWorker::CloseSession(const std::string& session_id) {
  const auto session = world_->source.sessions.find(session_id);
  if (session != world_->source.sessions.end() && session->second.owner == Owner())
    world_->source.sessions.erase(session);
  closed_.insert(session_id);
  beat_now_ = true;
  // Whoever reads on it fails, and so does the snapshot with it.
  for (auto& [key, running] : running_) {
    if (running.task.session().session_id() != session_id || running.extracted || running.outcome.has_value()) continue;
    v1::TaskError error =
        SimulatedError(static_cast<int>(absl::StatusCode::kUnavailable), "its session was closed", true);
    error.set_snapshot_lost(running.task.move().in_snapshot());
    Fail(running, std::move(error));
  }
}

void SimulatedWorker::Start(const v1::Task& task) {
  const Key key(task.task_id(), task.attempt());
  if (running_.contains(key)) return;
  const absl::Duration now = world_->clock->Monotonic();
  Running& running = running_[key];
  running.task = task;
  running.extracted_at = now + absl::Milliseconds(100 + world_->rng->Below(900));
  running.done_at = running.extracted_at + absl::Milliseconds(100 + world_->rng->Below(1500));
  if (cancelled_.contains(key)) {
    return Fail(running, SimulatedError(static_cast<int>(absl::StatusCode::kCancelled), "cancelled", false));
  }
  if (!task.has_session()) return;
  SimulatedSource& source = world_->source;
  const v1::SessionGrant& grant = task.session();
  const auto held = source.sessions.find(grant.session_id());
  if (!grant.open()) {
    if (held != source.sessions.end() && held->second.owner == Owner()) {
      for (const auto& [other_key, other] : running_) {
        const bool reads = other_key != key && !other.extracted && !other.outcome.has_value();
        source.shared_sessions += reads && other.task.session().session_id() == grant.session_id();
      }
      held->second.reading = task.has_move();
      return;
    }
    v1::TaskError error = SimulatedError(static_cast<int>(absl::StatusCode::kUnavailable), "session is not open", true);
    error.set_snapshot_lost(task.move().in_snapshot());
    closed_.insert(grant.session_id());
    return Fail(running, std::move(error));
  }
  if (closed_.contains(grant.session_id()) || now - acknowledged_ >= world_->lease * 2 / 3) {
    closed_.insert(grant.session_id());
    return Fail(running, SimulatedError(static_cast<int>(absl::StatusCode::kUnavailable), "may not open", true));
  }
  SimulatedSource::Session session{.owner = Owner(),
                                   .connection = grant.connection(),
                                   .server = task.source().dsn(),
                                   .snapshot_rows = std::nullopt,
                                   .reading = task.has_move(),
                                   .dies_at = absl::InfiniteDuration()};
  if (!grant.import_snapshot().empty()) {
    const auto exporter = source.exporters.find(grant.import_snapshot());
    if (exporter == source.exporters.end() || !source.sessions.contains(exporter->second)) {
      closed_.insert(grant.session_id());
      v1::TaskError error = SimulatedError(static_cast<int>(absl::StatusCode::kDataLoss), "no such snapshot", false);
      error.set_snapshot_lost(true);
      return Fail(running, std::move(error));
    }
    source.foreign_imports += source.sessions.at(exporter->second).server != session.server;
    session.snapshot_rows = source.sessions.at(exporter->second).snapshot_rows;
  }
  source.sessions[grant.session_id()] = std::move(session);
}

void SimulatedWorker::Work() {
  const absl::Duration now = world_->clock->Monotonic();
  std::vector<Key> keys;
  for (const auto& [key, running] : running_) keys.push_back(key);
  for (const Key& key : keys) {
    Running& running = running_[key];
    if (running.outcome.has_value()) continue;
    if (running.task.has_move() && !running.extracted && now >= running.extracted_at) Extract(running);
    if (!running.outcome.has_value() && now >= running.done_at) Finish(running);
  }
}

void SimulatedWorker::Extract(Running& running) {
  const v1::SessionGrant& grant = running.task.session();
  if (world_->Happens(world_->faults.lost_snapshot)) return CloseSession(grant.session_id());
  const auto session = world_->source.sessions.find(grant.session_id());
  if (session == world_->source.sessions.end()) return CloseSession(grant.session_id());
  const int64_t there = world_->source.RowsOn(session->second.server);
  if (!session->second.snapshot_rows.has_value() && Lags(there, running.task.move().position())) {
    CloseSession(grant.session_id());
    if (!running.outcome.has_value()) Fail(running, Unfit());
    return;
  }
  running.rows = RowsOf(running.task.move(), running.task.job(), session->second.snapshot_rows.value_or(there));
  running.extracted = true;
  session->second.reading = false;
  if (!grant.keep()) CloseSession(grant.session_id());
  beat_now_ = true;
}

void SimulatedWorker::Fail(Running& running, v1::TaskError error) {
  v1::CompleteTaskRequest outcome;
  Sign(outcome);
  outcome.set_task_id(running.task.task_id());
  outcome.set_attempt(running.task.attempt());
  *outcome.mutable_error() = std::move(error);
  running.outcome = std::move(outcome);
}

v1::DescribeResult SimulatedWorker::Describe(const v1::Task& task) {
  const v1::DescribeWork& work = task.describe();
  const int64_t rows = work.has_read_point() ? ValueOf(work.read_point().high()) : world_->source.rows;
  const v1::Window& window = work.window();
  v1::DescribeResult result;
  result.add_formats(v1::CHUNK_FORMAT_ARROW);
  v1::Column& column = *result.mutable_source_schema()->add_columns();
  column.set_name("id");
  result.set_estimated_rows(rows);
  *result.mutable_high() = SimulatedWatermark(rows);
  *result.mutable_ledger() = world_->targets[task.job().target().table()].Head();
  if (result.ledger().exists()) result.mutable_target_schema();
  if (window.kind() == v1::WINDOW_KIND_WINDOW && window.has_low()) {
    *result.mutable_effective_low() = window.low();
    result.set_empty_window(rows <= ValueOf(window.low()));
  }
  if (result.empty_window()) return result;
  if (!task.describe().horizon_is_final() && window.kind() == v1::WINDOW_KIND_WINDOW && world_->rng->Below(4) == 0) {
    result.set_should_wait(true);
    *result.mutable_wait_until() = SimulatedWatermark(rows + 1);
    return result;
  }
  v1::PartitionFacts& facts = *result.add_partition_facts();
  facts.set_partitioning(v1::PARTITIONING_KEY);
  facts.add_columns("id");
  facts.set_immutable(true);
  for (int64_t cut = 50; cut < rows; cut += 50) facts.add_quantiles()->add_values(absl::StrCat(cut));
  if (task.session().keep()) {
    SimulatedSource::Session& session = world_->source.sessions.at(task.session().session_id());
    session.snapshot_rows = rows;
    result.set_has_snapshot(true);
    result.set_snapshot(absl::StrCat("snap-", task.session().session_id()));
    world_->source.exporters[result.snapshot()] = task.session().session_id();
  }
  return result;
}

void SimulatedWorker::Finish(Running& running) {
  const v1::Task& task = running.task;
  SimulatedTarget& target = world_->targets[task.job().target().table()];
  if (task.has_session() && !task.has_move() && !world_->source.sessions.contains(task.session().session_id())) {
    return CloseSession(task.session().session_id());
  }
  if (world_->Happens(world_->faults.failed_move)) {
    if (task.has_session() && !running.extracted) CloseSession(task.session().session_id());
    if (running.outcome.has_value()) return;
    return Fail(running, SimulatedError(static_cast<int>(absl::StatusCode::kUnavailable), "the network blinked", true));
  }
  v1::CompleteTaskRequest outcome;
  Sign(outcome);
  outcome.set_task_id(task.task_id());
  outcome.set_attempt(task.attempt());
  std::optional<v1::TaskError> error;
  switch (task.work_case()) {
    case v1::Task::kDescribe: {
      if (Lags(world_->source.RowsOn(task.source().dsn()), task.describe().read_point().position())) {
        CloseSession(task.session().session_id());
        error = Unfit();
        break;
      }
      *outcome.mutable_describe() = Describe(task);
      const v1::DescribeResult& result = outcome.describe();
      const bool moves = !result.should_wait() && !result.empty_window();
      const bool adopts = task.describe().window().adopt() && !task.describe().window().full_refresh();
      if (!task.describe().dry_run() && (moves || adopts)) error = target.Prepare(task);
      if (!task.describe().dry_run() && adopts && !error.has_value()) {
        if (!moves) error = target.Abort(task);
        *outcome.mutable_describe()->mutable_ledger() = target.Head();
      }
      running.extracted = true;
      if (error.has_value() || !result.has_snapshot()) CloseSession(task.session().session_id());
      break;
    }
    case v1::Task::kMove:
      error = target.Move(task, running.rows, *outcome.mutable_move());
      break;
    case v1::Task::kCommit: {
      // Its answer may be lost whether or not it took place.
      const bool unknown = world_->Happens(world_->faults.unknown_commit);
      if (!unknown || world_->rng->Below(2) == 0) error = target.Commit(task, *outcome.mutable_commit());
      if (unknown) {
        error = SimulatedError(static_cast<int>(absl::StatusCode::kUnknown), "COMMIT was not answered", false);
        error->set_outcome_unknown(true);
      }
      break;
    }
    case v1::Task::kProbe:
      *outcome.mutable_probe() = target.Probe(task);
      break;
    case v1::Task::kAbort:
      error = target.Abort(task);
      outcome.mutable_abort();
      break;
    case v1::Task::kReadPoint:
      outcome.mutable_read_point()->set_position(absl::StrCat(world_->source.rows));
      *outcome.mutable_read_point()->mutable_high() = SimulatedWatermark(world_->source.rows);
      running.extracted = true;
      CloseSession(task.session().session_id());
      break;
    case v1::Task::kHorizon:
      outcome.mutable_horizon()->set_reached(world_->rng->Below(3) == 0);
      running.extracted = true;
      CloseSession(task.session().session_id());
      break;
    default:
      break;
  }
  if (error.has_value()) return Fail(running, *std::move(error));
  if (task.has_session()) {
    v1::SessionState& state = *outcome.add_sessions();
    state.set_session_id(task.session().session_id());
    state.set_state(world_->source.sessions.contains(task.session().session_id()) ? v1::SessionState::STATE_IDLE
                                                                                  : v1::SessionState::STATE_CLOSED);
  }
  running.outcome = std::move(outcome);
}

}  // namespace tidemark::coordinator
