#include <algorithm>
#include <utility>

#include "common/base/status_macros.h"
#include "coordinator/run/coordinator_core.h"

// Source sessions: who may use one, when one is given back, when one is known gone.

namespace tidemark::coordinator {
namespace {

bool Usable(const Permit& permit, const ConnectionBudget& budget) {
  return permit.state != Permit::State::kClosing && !budget.Condemned(permit.session_id);
}

// The session whose snapshot others import.
const TaskRecord* Exporter(const RunState& state) {
  for (const auto& [id, task] : state.tasks) {
    if (task.kind == v1::TASK_KIND_DESCRIBE && task.state == TaskState::kSucceeded) return &task;
  }
  return nullptr;
}

bool CanImport(const RunState& state, const ConnectionBudget& budget) {
  if (state.snapshot_closed || state.run.description->snapshot().empty()) return false;
  const TaskRecord* exporter = Exporter(state);
  if (exporter == nullptr) return false;
  const Permit* permit = budget.Find(exporter->session_id);
  return permit != nullptr && Usable(*permit, budget);
}

}  // namespace

int CoordinatorCore::SnapshotHolders(const RunState& state) const {
  int holders = 0;
  for (const Permit* permit : state_.budget().OfRun(state.run.id)) {
    holders += permit->in_snapshot && Usable(*permit, state_.budget());
  }
  return holders;
}

std::vector<TaskOffer> CoordinatorCore::Offers() const {
  std::vector<TaskOffer> offers;
  for (const RunState* state : state_.Begun()) {
    if (raises_.contains(state->run.id) || !ConnectionsKnown(*state)) continue;
    AddOffer(*state, offers);
  }
  return offers;
}

void CoordinatorCore::AddOffer(const RunState& state, std::vector<TaskOffer>& offers) const {
  const absl::Time now = options_.clock->Now();
  const TaskRecord* next = nullptr;
  for (const auto& [id, task] : state.tasks) {
    if (task.state != TaskState::kQueued || task.not_before > now) continue;
    // Staging is dropped once nobody writes to it any more.
    if (task.kind == v1::TASK_KIND_ABORT && !state.draining.empty()) continue;
    next = &task;
    break;
  }
  if (next == nullptr) return;
  const v1::JobSpec& job = state.run.spec;
  TaskOffer offer;
  offer.job_uid = state.run.job_uid;
  offer.run_id = state.run.id;
  offer.task_id = next->id;
  offer.only_worker = state_.FindConnection(job.target().connection())->worker();
  if (ReadsSource(next->kind)) {
    offer.connection = job.source().connection();
    if (const std::string& owner = state_.FindConnection(offer.connection)->worker(); !owner.empty())
      offer.only_worker = owner;
  }
  if (next->kind == v1::TASK_KIND_MOVE) {
    offer.reads_rows = true;
    if (InSnapshot(state.run)) {
      for (const Permit* permit : state_.budget().OfRun(state.run.id)) {
        const bool idle = permit->state == Permit::State::kIdle && !state_.budget().Condemned(permit->session_id);
        if (idle && permit->in_snapshot) offer.idle_sessions.push_back(permit->session_id);
      }
      offer.may_open = CanImport(state, state_.budget());
    }
  }
  offers.push_back(std::move(offer));
}

const TaskRecord* CoordinatorCore::ReaderOf(const Permit& permit, std::string_view finished_task) const {
  const RunState* state = state_.FindRun(permit.run_id);
  if (state == nullptr) return nullptr;
  for (const auto& [id, task] : state->tasks) {
    if (task.session_id == permit.session_id && id != finished_task && Reading(*state, task)) return &task;
  }
  return nullptr;
}

absl::Status CoordinatorCore::TakeSessionStates(const google::protobuf::RepeatedPtrField<v1::SessionState>& sessions,
                                                std::string_view finished_task) {
  std::vector<std::string> closed;
  for (const v1::SessionState& session : sessions) {
    const Permit* permit = state_.budget().Find(session.session_id());
    if (permit == nullptr) continue;
    if (session.state() == v1::SessionState::STATE_CLOSED) {
      closed.push_back(session.session_id());
    } else if (session.state() == v1::SessionState::STATE_IDLE && permit->state == Permit::State::kBusy &&
               ReaderOf(*permit, finished_task) == nullptr) {
      // A report that was under way while the session was given to its next task says nothing of now.
      state_.budget().SetState(session.session_id(), Permit::State::kIdle);
    }
  }
  return DropPermits(closed);
}

absl::Status CoordinatorCore::DropPermits(const std::vector<std::string>& sessions) {
  if (sessions.empty()) return absl::OkStatus();
  WriteBatch batch;
  batch.dropped_permits = sessions;
  TM_RETURN_IF_ERROR(state_.Write(std::move(batch), {}));
  for (const std::string& session : sessions) reading_sessions_.erase(session);
  return absl::OkStatus();
}

bool CoordinatorCore::Draining(const Permit& permit) const {
  const Worker* holder = workers_.Find(permit.worker_id, permit.incarnation);
  return holder != nullptr && holder->draining;
}

CoordinatorCore::SnapshotElsewhere CoordinatorCore::FindSnapshotElsewhere(const RunState& state,
                                                                          const Permit& permit) const {
  SnapshotElsewhere found = SnapshotElsewhere::kNowhere;
  for (const Permit* other : state_.budget().OfRun(permit.run_id)) {
    if (other->session_id == permit.session_id || !other->in_snapshot) continue;
    if (!Usable(*other, state_.budget())) continue;
    // One that was granted to import the snapshot has done so when it reads, or has read.
    const TaskRecord* reader = ReaderOf(*other, "");
    const auto progress = reader ? state.progress.find(reader->id) : state.progress.end();
    const bool reads = progress != state.progress.end() && progress->second.attempt() == reader->attempt &&
                       progress->second.rows_read() > 0;
    if (reader != nullptr && !reads) {
      found = SnapshotElsewhere::kBeingImported;
    } else if (!Draining(*other)) {
      return SnapshotElsewhere::kHeld;
    }
  }
  return found;
}

bool CoordinatorCore::MayBeImported(const Permit& permit) const {
  if (state_.budget().Spare(permit.connection) == 0) return false;
  for (const auto& [id, worker] : workers_.workers()) {
    if (!worker.draining) return true;
  }
  return false;
}

bool CoordinatorCore::SessionNeeded(const Permit& permit, const std::vector<TaskOffer>& offers) const {
  const RunState* state = state_.FindRun(permit.run_id);
  if (state == nullptr || state->run.phase != RunPhase::kMoving) return false;
  if (!InSnapshot(state->run) || !permit.in_snapshot) return false;
  bool queued = false;
  bool reading = false;
  for (const auto& [id, task] : state->tasks) {
    if (task.kind != v1::TASK_KIND_MOVE) continue;
    queued |= task.state == TaskState::kQueued;
    reading |= Reading(*state, task);
  }
  // Who drains reads no further range, but keeps the snapshot for those who are about to import it.
  const SnapshotElsewhere elsewhere = FindSnapshotElsewhere(*state, permit);
  if (Draining(permit)) {
    return elsewhere == SnapshotElsewhere::kBeingImported ||
           (elsewhere == SnapshotElsewhere::kNowhere && queued && MayBeImported(permit));
  }
  int held = 0;
  for (const Permit* other : state_.budget().OfRun(permit.run_id)) held += Usable(*other, state_.budget());
  if (Dispatcher::ShouldYield(state->run.job_uid, permit.connection, held, offers, state_.budget()) &&
      elsewhere == SnapshotElsewhere::kHeld) {
    return false;
  }
  if (queued) return true;
  if (!reading) return false;
  // A move that fails while it reads needs the snapshot again: one more holder outlives its session.
  for (const Permit* other : state_.budget().OfRun(permit.run_id)) {
    const bool idle = other->state == Permit::State::kIdle && other->in_snapshot;
    if (idle && other->session_id < permit.session_id) return false;
  }
  return true;
}

void CoordinatorCore::CloseUnneededSessions() {
  std::vector<std::string> idle;
  for (const Permit* permit : state_.budget().All()) {
    if (state_.budget().Condemned(permit->session_id) || permit->state == Permit::State::kClosing) continue;
    // The session of an attempt that was cancelled, or whose run has ended, is of no use to anyone.
    const RunState* state = state_.FindRun(permit->run_id);
    const bool orphaned = state == nullptr || (permit->state == Permit::State::kBusy &&
                                               ReaderOf(*permit, "") == nullptr && !InSnapshot(state->run));
    if (permit->state == Permit::State::kIdle || orphaned) idle.push_back(permit->session_id);
  }
  if (idle.empty()) return;
  const std::vector<TaskOffer> offers = Offers();
  for (const std::string& session : idle) {
    if (!SessionNeeded(*state_.budget().Find(session), offers)) {
      state_.budget().SetState(session, Permit::State::kClosing);
    }
  }
}

std::vector<std::string> CoordinatorCore::SessionsToClose(const Worker& worker) const {
  std::vector<std::string> closing;
  for (const Permit* permit : state_.budget().OfWorker(worker.id, worker.incarnation)) {
    if (permit->state == Permit::State::kClosing) closing.push_back(permit->session_id);
  }
  return closing;
}

void CoordinatorCore::ObserveRates() {
  std::set<RateBudget::Reader> reading;
  for (const Permit* permit : state_.budget().All()) {
    // An idle session reads nothing; one that is closing, or whose worker is silent, may.
    if (permit->state == Permit::State::kIdle || !reading_sessions_.contains(permit->session_id)) continue;
    reading.insert({RateKey(permit->worker_id, permit->incarnation), permit->connection});
  }
  rates_.Observe(reading, options_.clock->Monotonic());
}

}  // namespace tidemark::coordinator
