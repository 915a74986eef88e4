#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model/connection_identity.h"
#include "common/model/source_settings.h"
#include "coordinator/run/coordinator_core.h"

// Source sessions: who may use one, when one is given back, when one is known gone.

namespace tidemark::coordinator {
namespace {

// A replica that was unfit is tried again after this time, or sooner where nothing else is left.
constexpr absl::Duration kLeftAlone = absl::Minutes(1);

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
  if (!offer.connection.empty()) offer.servers = ServersFor(state, next->kind);
  offers.push_back(std::move(offer));
}

std::vector<std::string> CoordinatorCore::ServersFor(const RunState& state, v1::TaskKind kind) const {
  const ConnectionBudget& budget = state_.budget();
  const std::string& connection = state.run.spec.source().connection();
  const std::string primary = budget.Server(connection);
  std::vector<std::string> replicas = budget.Replicas(connection);
  // Without a read point, what a replica shows rests on nothing.
  const bool may_be_replica = (kind == v1::TASK_KIND_DESCRIBE || kind == v1::TASK_KIND_MOVE) && !replicas.empty() &&
                              state.run.description.has_value() && state.run.description->has_read_point();
  if (kind == v1::TASK_KIND_MOVE && InSnapshot(state.run)) {
    const TaskRecord* exporter = Exporter(state);
    const Permit* holder = exporter == nullptr ? nullptr : budget.Find(exporter->session_id);
    return {holder == nullptr ? primary : budget.ServerOf(*holder)};
  }
  if (!may_be_replica) return {primary};
  if (state_.FindConnection(connection)->fallback_to_primary()) replicas.push_back(primary);
  // Those that are unfit come last, then those that the run has failed on, then the primary.
  const absl::Duration now = options_.clock->Monotonic();
  const auto rank = [&](const std::string& server) {
    const auto unfit = unfit_until_.find(server);
    const auto failures = state.failures_on.find(server);
    return std::tuple(unfit != unfit_until_.end() && unfit->second > now,
                      failures == state.failures_on.end() ? 0 : failures->second, server == primary);
  };
  const auto best = rank(*std::min_element(replicas.begin(), replicas.end(),
                                           [&](const auto& a, const auto& b) { return rank(a) < rank(b); }));
  std::erase_if(replicas, [&](const std::string& server) { return rank(server) != best; });
  return replicas;
}

void CoordinatorCore::NoteServer(RunChange& change, const std::string& connection, const std::string& server) const {
  const std::vector<std::string> replicas = state_.budget().Replicas(connection);
  if (replicas.empty() || !change.draft.run().description.has_value()) return;
  const bool replica = std::find(replicas.begin(), replicas.end(), server) != replicas.end();
  const std::string said = absl::StrCat(replica ? "replica " : "primary ", server);
  const auto& servers = change.draft.run().description->servers();
  if (std::find(servers.begin(), servers.end(), said) != servers.end()) return;
  change.draft.mutable_run().description->add_servers(said);
}

void CoordinatorCore::NoteFailureOn(RunState& state, const TaskRecord& task, const v1::TaskError& error) {
  const auto at = state.servers.find(task.id);
  if (!error.at_source() || at == state.servers.end()) return;
  if (error.replica_unfit()) {
    unfit_until_[at->second] = options_.clock->Monotonic() + kLeftAlone;
    NoteLag(state, task, MaxLag(*state_.FindConnection(state.run.spec.source().connection())));
  }
  // A standby cancels readers that are in its way: the first time the same rows are read by shorter statements.
  const bool shorter_next = task.kind == v1::TASK_KIND_MOVE && !InSnapshot(state.run) && task.failures == 0;
  if (!shorter_next) ++state.failures_on[at->second];
}

void CoordinatorCore::NoteLag(const RunState& state, const TaskRecord& task, absl::Duration lag) {
  const std::string& connection = state.run.spec.source().connection();
  const std::vector<std::string> replicas = state_.budget().Replicas(connection);
  const auto at = state.servers.find(task.id);
  if (at == state.servers.end()) return;
  for (size_t i = 0; i < replicas.size(); ++i) {
    if (replicas[i] == at->second) options_.observer->ReplicaAwaited(connection, static_cast<int>(i), lag);
  }
}

v1::ConnectionSpec CoordinatorCore::AtServer(const v1::ConnectionSpec& connection, std::string_view server) {
  std::vector<v1::ConnectionSpec> servers = ServersOf(connection);
  const auto at = std::find_if(servers.begin(), servers.end(),
                               [&](const v1::ConnectionSpec& one) { return ConnectionIdentity(one) == server; });
  v1::ConnectionSpec found = at == servers.end() ? servers.front() : *at;
  // Rates are of the connection.
  found.set_name(connection.name());
  return found;
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
  // Others of the run make room when they are done.
  const bool room =
      state_.budget().SpareOn(state_.budget().ServerOf(permit)) > 0 || state_.budget().OfRun(permit.run_id).size() > 1;
  if (!room) return false;
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
  const SnapshotElsewhere elsewhere = FindSnapshotElsewhere(*state, permit);
  if (Draining(permit)) {
    // Who drains reads no further range, but keeps the snapshot for those who are to import it.
    const TaskRecord* exporter = Exporter(*state);
    if (exporter == nullptr || exporter->session_id != permit.session_id) return false;
    return elsewhere == SnapshotElsewhere::kBeingImported ||
           (elsewhere == SnapshotElsewhere::kNowhere && queued && MayBeImported(permit));
  }
  int held = 0;
  for (const Permit* other : state_.budget().OfRun(permit.run_id)) held += Usable(*other, state_.budget());
  if (Dispatcher::ShouldYield(state->run.job_uid, state_.budget().ServerOf(permit), held, offers, state_.budget()) &&
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
