#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "common/base/printable.h"
#include "common/base/status_macros.h"
#include "common/model/duration.h"
#include "coordinator/run/coordinator_core.h"
#include "coordinator/run/task_message.h"
#include "coordinator/run/task_transitions.h"

// WorkerControlService as steps: what workers ask and report.

namespace tidemark::coordinator {
namespace {

// Sample size for ranges, before anyone knows how large the relation is.
constexpr int kWantedPartitions = 256;
// A leased task that this many heartbeats in a row do not list was never received.
constexpr int kMissingHeartbeats = 2;
// Of a host's name, which it mostly is.
constexpr size_t kLongestWorkerId = 253;

// Ids of tasks begin with their run's.
std::string_view RunOfTask(std::string_view task_id) { return task_id.substr(0, task_id.find('-')); }

std::string CancelKey(const std::string& task_id, int64_t attempt) { return absl::StrCat(task_id, "/", attempt); }

LeasedAttempt AttemptOf(const TaskRecord& task) { return {task.id, task.attempt, task.worker_id, task.incarnation}; }

}  // namespace

absl::StatusOr<Worker*> CoordinatorCore::KnownWorker(std::string_view id, std::string_view incarnation) {
  Worker* worker = workers_.Find(id, incarnation);
  if (worker != nullptr) return worker;
  return absl::FailedPreconditionError(
      absl::StrCat("worker ", Abs(id), " is not known by this incarnation: register, and drop everything held"));
}

absl::StatusOr<v1::RegisterResponse> CoordinatorCore::Register(const v1::RegisterRequest& request) {
  TM_RETURN_IF_ERROR(Refresh());
  if (request.worker_id().empty() || request.incarnation().empty()) {
    return absl::InvalidArgumentError("a worker registers with its id and its incarnation");
  }
  if (std::max(request.worker_id().size(), request.incarnation().size()) > kLongestWorkerId ||
      Printable(request.worker_id()) != request.worker_id()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a worker's id is printable and has at most ", kLongestWorkerId, " bytes"));
  }
  if (const Worker* earlier = workers_.FindById(request.worker_id());
      earlier != nullptr && earlier->incarnation != request.incarnation()) {
    TM_RETURN_IF_ERROR(LoseWorker(Worker(*earlier)));
  }
  Worker worker;
  worker.id = request.worker_id();
  worker.incarnation = request.incarnation();
  worker.slots = request.slots();
  worker.version = request.version();
  worker.last_heartbeat = options_.clock->Monotonic();
  worker.last_seen = options_.clock->Now();
  if (const Worker* known = workers_.FindById(worker.id); known != nullptr) worker.draining = known->draining;
  lost_workers_.erase(worker.id);
  workers_.Register(std::move(worker));
  v1::RegisterResponse response;
  response.set_epoch(state_.epoch());
  *response.mutable_lease() = ToProto(options_.lease);
  TM_RETURN_IF_ERROR(Settle());
  return response;
}

absl::StatusOr<v1::LeaseTasksResponse> CoordinatorCore::LeaseTasks(const v1::LeaseTasksRequest& request) {
  TM_RETURN_IF_ERROR(Refresh());
  TM_ASSIGN_OR_RETURN(Worker* const worker, KnownWorker(request.worker_id(), request.incarnation()));
  const std::string rate_key = RateKey(worker->id, worker->incarnation);
  for (const v1::RateShare& share : request.rate_shares()) rates_.Acknowledge(rate_key, share);
  v1::LeaseTasksResponse response;
  if (request.free_slots() > 0) TM_RETURN_IF_ERROR(Assign(*worker, response));

  // Heartbeats repeat what is to be closed and cancelled; here each is said once.
  for (const std::string& session : SessionsToClose(*worker)) {
    if (worker->told_to_close.insert(session).second) response.add_close_sessions(session);
  }
  for (const RunState* state : state_.Begun()) {
    for (const LeasedAttempt& attempt : state->draining) {
      if (attempt.worker_id != worker->id || attempt.incarnation != worker->incarnation) continue;
      if (!worker->told_to_cancel.insert(CancelKey(attempt.task_id, attempt.attempt)).second) continue;
      v1::TaskAttempt& cancelled = *response.add_cancel_tasks();
      cancelled.set_task_id(attempt.task_id);
      cancelled.set_attempt(attempt.attempt);
    }
  }
  if (rates_.HasNews(rate_key) || !response.tasks().empty()) {
    for (v1::RateShare& share : rates_.Shares(rate_key)) *response.add_rate_shares() = std::move(share);
    rates_.NoteTold(rate_key);
  }
  response.set_epoch(state_.epoch());
  return response;
}

int CoordinatorCore::LeasedTo(const Worker& worker) const {
  int leased = 0;
  for (const RunState* state : state_.Begun()) {
    for (const auto& [id, task] : state->tasks) {
      leased +=
          task.state == TaskState::kLeased && task.worker_id == worker.id && task.incarnation == worker.incarnation;
    }
  }
  return leased;
}

absl::Status CoordinatorCore::Assign(Worker& worker, v1::LeaseTasksResponse& response) {
  // One task for each call: workers that wait side by side get one each.
  if (worker.slots > 0 && LeasedTo(worker) >= worker.slots) return absl::OkStatus();
  if (worker.draining) return absl::OkStatus();
  // A leader that may have been replaced by the time the task arrives gives none out.
  TM_RETURN_IF_ERROR(RenewIfDue());
  const std::vector<TaskOffer> offers = Offers();
  const std::string rate_key = RateKey(worker.id, worker.incarnation);
  const absl::Duration now = options_.clock->Monotonic();
  const std::optional<Assignment> assignment =
      dispatcher_.Choose(worker.id, worker.incarnation, offers, state_.budget(),
                         [&](std::string_view connection) { return rates_.Admit(rate_key, connection, now); });
  if (!assignment.has_value()) return absl::OkStatus();
  return Lease(worker, offers[assignment->offer], *assignment, response);
}

absl::Status CoordinatorCore::Lease(Worker& worker, const TaskOffer& offer, const Assignment& assignment,
                                    v1::LeaseTasksResponse& response) {
  RunState& state = *state_.FindRun(offer.run_id);
  const v1::TaskKind kind = state.tasks.at(offer.task_id).kind;
  const bool in_snapshot = kind == v1::TASK_KIND_MOVE && InSnapshot(state.run);
  const JobRecord* last_of = nullptr;
  ChainHistory history;
  const bool probes = kind == v1::TASK_KIND_DESCRIBE || kind == v1::TASK_KIND_READ_POINT;
  if (probes && state.run.window.kind() == v1::WINDOW_KIND_WINDOW) {
    last_of = state_.FindJob(state.run.job_uid);
    if (last_of == nullptr) return absl::InternalError(absl::StrCat("run ", state.run.id, " has no job"));
    TM_ASSIGN_OR_RETURN(history, state_.History(*last_of, ""));
  }
  RunChange change(&state);
  std::optional<v1::SessionGrant> grant;
  std::string server;
  if (!offer.connection.empty()) {
    server =
        assignment.open ? assignment.server : state_.budget().ServerOf(*state_.budget().Find(assignment.session_id));
    if (kind == v1::TASK_KIND_DESCRIBE || kind == v1::TASK_KIND_MOVE) NoteServer(change, offer.connection, server);
    grant.emplace();
    grant->set_session_id(assignment.open ? NewId(options_.clock->Now(), *options_.rng) : assignment.session_id);
    grant->set_connection(offer.connection);
    grant->set_open(assignment.open);
    if (in_snapshot && assignment.open) grant->set_import_snapshot(state.run.description->snapshot());
    const bool keeps_snapshot = kind == v1::TASK_KIND_DESCRIBE && NeedsSnapshot(state.run) && !state.preview;
    grant->set_keep(in_snapshot || keeps_snapshot);
  }
  if (assignment.open) {
    PermitRecord permit;
    permit.session_id = grant->session_id();
    permit.connection = offer.connection;
    permit.identity = server;
    permit.run_id = state.run.id;
    permit.worker_id = worker.id;
    permit.incarnation = worker.incarnation;
    permit.in_snapshot = in_snapshot;
    permit.granted = options_.clock->Now();
    change.with.permits.push_back(std::move(permit));
    int held = 1;
    for (const Permit* other : state_.budget().OfRun(state.run.id)) held += state_.budget().ServerOf(*other) == server;
    if (held > state.run.peak_source_connections) change.draft.mutable_run().peak_source_connections = held;
  }
  TM_RETURN_IF_ERROR(Take(LeaseTask{.task_id = offer.task_id,
                                    .worker_id = worker.id,
                                    .incarnation = worker.incarnation,
                                    .session_id = grant.has_value() ? grant->session_id() : ""},
                          change.draft, Now()));
  const auto queued = state.queued_since.find(offer.task_id);
  const Moment now = Now();
  const absl::Duration waited =
      queued == state.queued_since.end()
          ? absl::ZeroDuration()
          : std::min(now.monotonic - queued->second, now.wall - state.tasks.at(offer.task_id).not_before);
  TM_RETURN_IF_ERROR(Store(change));
  options_.observer->TaskLeased(kind, std::max(waited, absl::ZeroDuration()));
  if (grant.has_value()) {
    state_.budget().SetState(grant->session_id(), Permit::State::kBusy);
    if (kind == v1::TASK_KIND_MOVE) reading_sessions_.insert(grant->session_id());
  }
  state.servers[offer.task_id] = server;
  receipts_[offer.task_id] = {.leased_at = options_.clock->Monotonic(), .missing = 0};
  ObserveRates();
  const v1::JobSpec& job = state.run.spec;
  v1::Task& task = *response.add_tasks();
  task = TaskMessage(state, state.tasks.at(offer.task_id), state_.cluster_id(),
                     AtServer(*state_.FindConnection(job.source().connection()), server),
                     *state_.FindConnection(job.target().connection()), grant, kWantedPartitions);
  if (last_of != nullptr) AddLastWindow(*last_of, history.last_success, task);
  return absl::OkStatus();
}

void CoordinatorCore::NoteProgress(const Worker& worker, const v1::HeartbeatRequest& request) {
  for (const v1::TaskProgress& progress : request.tasks()) {
    RunState* state = state_.FindRun(RunOfTask(progress.task_id()));
    if (state == nullptr) continue;
    const auto task = state->tasks.find(progress.task_id());
    if (task == state->tasks.end() || task->second.state != TaskState::kLeased) continue;
    if (task->second.attempt != progress.attempt() || task->second.incarnation != worker.incarnation) continue;
    task->second.extracted = progress.extracted();
    state->progress[progress.task_id()] = progress;
  }
}

absl::Status CoordinatorCore::TakeBackUnreceived(const Worker& worker, const v1::HeartbeatRequest& request) {
  std::set<std::pair<std::string, int64_t>> listed;
  for (const v1::TaskProgress& progress : request.tasks()) listed.insert({progress.task_id(), progress.attempt()});
  const absl::Duration now = options_.clock->Monotonic();
  std::vector<std::string> lost;
  for (RunState* const state : state_.Begun()) {
    drained_ += static_cast<int64_t>(std::erase_if(state->draining, [&](const LeasedAttempt& attempt) {
      return attempt.worker_id == worker.id && attempt.incarnation == worker.incarnation &&
             !listed.contains({attempt.task_id, attempt.attempt});
    }));
    for (const auto& [task_id, task] : state->tasks) {
      if (task.state != TaskState::kLeased || task.worker_id != worker.id || task.incarnation != worker.incarnation)
        continue;
      Receipt& receipt = receipts_[task_id];
      if (listed.contains({task_id, task.attempt})) {
        receipt.missing = 0;
      } else if (now - receipt.leased_at > options_.lease / 5 && ++receipt.missing >= kMissingHeartbeats) {
        lost.push_back(task_id);
      }
    }
  }
  for (const std::string& task_id : lost) {
    RunState& state = *state_.FindRun(RunOfTask(task_id));
    const std::string session = state.tasks.at(task_id).session_id;
    TM_RETURN_IF_ERROR(LoseTask(state, task_id, /*counts_as_failure=*/false));
    // The worker says whether it has the session after all.
    state_.budget().SetState(session, Permit::State::kClosing);
  }
  return absl::OkStatus();
}

void CoordinatorCore::CloseUnheld(const Worker& worker, const v1::HeartbeatRequest& request) {
  std::set<std::string> held;
  for (const v1::SessionState& session : request.sessions()) held.insert(session.session_id());
  std::vector<std::string> unheld;
  for (const Permit* permit : state_.budget().OfWorker(worker.id, worker.incarnation)) {
    const bool read = permit->state != Permit::State::kBusy || ReaderOf(*permit, "") != nullptr;
    if (!read && !held.contains(permit->session_id)) unheld.push_back(permit->session_id);
  }
  for (const std::string& session : unheld) state_.budget().SetState(session, Permit::State::kClosing);
}

absl::StatusOr<v1::HeartbeatResponse> CoordinatorCore::Heartbeat(const v1::HeartbeatRequest& request) {
  TM_RETURN_IF_ERROR(Refresh());
  v1::HeartbeatResponse response;
  response.set_epoch(state_.epoch());
  Worker* const worker = workers_.Find(request.worker_id(), request.incarnation());
  if (worker == nullptr) {
    // Whoever it is: sessions it has closed are closed.
    TM_RETURN_IF_ERROR(TakeSessionStates(request.sessions(), ""));
    response.set_unknown_worker(true);
    return response;
  }
  worker->last_heartbeat = options_.clock->Monotonic();
  worker->last_seen = options_.clock->Now();
  worker->memory_bytes = request.memory_bytes();
  worker->spill_bytes = request.spill_bytes();
  worker->slots = request.slots();
  worker->version = request.version();
  const std::string rate_key = RateKey(worker->id, worker->incarnation);
  for (const v1::RateShare& share : request.rate_shares()) rates_.Acknowledge(rate_key, share);
  NoteProgress(*worker, request);
  TM_RETURN_IF_ERROR(TakeSessionStates(request.sessions(), ""));
  TM_RETURN_IF_ERROR(TakeBackUnreceived(*worker, request));
  CloseUnheld(*worker, request);
  TM_RETURN_IF_ERROR(Settle());

  worker->told_to_cancel.clear();
  for (const v1::TaskProgress& held : request.tasks()) {
    const RunState* state = state_.FindRun(RunOfTask(held.task_id()));
    const TaskRecord* task = nullptr;
    if (state != nullptr && state->tasks.contains(held.task_id())) task = &state->tasks.find(held.task_id())->second;
    const bool current = task != nullptr && task->state == TaskState::kLeased && task->attempt == held.attempt() &&
                         task->incarnation == worker->incarnation;
    if (current) continue;
    worker->told_to_cancel.insert(CancelKey(held.task_id(), held.attempt()));
    v1::TaskAttempt& cancelled = *response.add_cancel_tasks();
    cancelled.set_task_id(held.task_id());
    cancelled.set_attempt(held.attempt());
  }
  worker->told_to_close.clear();
  for (const std::string& session : SessionsToClose(*worker)) {
    worker->told_to_close.insert(session);
    response.add_close_sessions(session);
  }
  for (v1::RateShare& share : rates_.Shares(rate_key)) *response.add_rate_shares() = std::move(share);
  rates_.NoteTold(rate_key);
  return response;
}

absl::StatusOr<v1::CompleteTaskResponse> CoordinatorCore::CompleteTask(const v1::CompleteTaskRequest& request) {
  TM_RETURN_IF_ERROR(Refresh());
  v1::CompleteTaskResponse response;
  response.set_epoch(state_.epoch());
  RunState* const state = state_.FindRun(RunOfTask(request.task_id()));
  const auto stale = [&] {
    return absl::FailedPreconditionError(
        absl::StrCat("attempt ", request.attempt(), " of task ", request.task_id(), " is not under way any more"));
  };
  const TaskRecord* task = nullptr;
  if (state != nullptr && state->tasks.contains(request.task_id()))
    task = &state->tasks.find(request.task_id())->second;
  const bool same = task != nullptr && task->attempt == request.attempt() && task->worker_id == request.worker_id() &&
                    task->incarnation == request.incarnation();
  if (!same || task->state != TaskState::kLeased) {
    TM_RETURN_IF_ERROR(TakeSessionStates(request.sessions(), ""));
    const bool drained = state != nullptr && state->draining.erase({request.task_id(), request.attempt(),
                                                                    request.worker_id(), request.incarnation()}) > 0;
    // Reported before, or no longer wanted and known to be over now.
    const bool repeated = same && task->state != TaskState::kCancelled;
    TM_RETURN_IF_ERROR(Settle());
    if (drained || repeated) return response;
    return stale();
  }
  TM_RETURN_IF_ERROR(TakeSessionStates(request.sessions(), task->id));
  const LeasedAttempt attempt = AttemptOf(*task);
  TM_RETURN_IF_ERROR(Report(*state, TaskRecord(*task), request));
  state->draining.erase(attempt);
  TM_RETURN_IF_ERROR(Settle());
  return response;
}

absl::Status CoordinatorCore::Report(RunState& state, const TaskRecord& task, const v1::CompleteTaskRequest& request) {
  RunController::Context context = ContextOf(state);
  RunChange change(&state);
  const auto fits = [&](v1::TaskKind kind) {
    return task.kind == kind ? absl::OkStatus()
                             : absl::InvalidArgumentError(
                                   absl::StrCat("the result of task ", task.id, " is of another kind of task"));
  };
  switch (request.outcome_case()) {
    case v1::CompleteTaskRequest::kError: {
      // Its session is of no more use; an importer that found no snapshot tells that no other will. Whether or not the
      // write is answered.
      if (request.error().snapshot_lost()) {
        state_.budget().SetInSnapshot(task.session_id, false);
        state_.budget().SetState(task.session_id, Permit::State::kClosing);
        state.snapshot_closed = true;
      }
      NoteFailureOn(state, task, request.error());
      TM_RETURN_IF_ERROR(controller_.Failed(change, context, task, request.error()));
      return Store(change);
    }
    case v1::CompleteTaskRequest::kReadPoint:
      TM_RETURN_IF_ERROR(fits(v1::TASK_KIND_READ_POINT));
      TM_RETURN_IF_ERROR(controller_.ReadPointFixed(change, context, task, request.read_point()));
      return Store(change);
    case v1::CompleteTaskRequest::kDescribe: {
      TM_RETURN_IF_ERROR(fits(v1::TASK_KIND_DESCRIBE));
      TM_ASSIGN_OR_RETURN(context.history, state_.History(*context.job, request.describe().ledger().run_id()));
      TM_RETURN_IF_ERROR(controller_.Described(change, context, task, request.describe()));
      NoteLag(state, task, absl::Seconds(request.describe().replica_lag_seconds()));
      const Permit* permit = state_.budget().Find(task.session_id);
      if (permit != nullptr && change.draft.run().phase == RunPhase::kMoving && InSnapshot(change.draft.run())) {
        change.with.permits.push_back(*permit);
        change.with.permits.back().in_snapshot = true;
      }
      state.snapshot_closed = false;
      return Store(change);
    }
    case v1::CompleteTaskRequest::kMove:
      TM_RETURN_IF_ERROR(fits(v1::TASK_KIND_MOVE));
      TM_RETURN_IF_ERROR(controller_.Moved(change, context, task, request.move()));
      return Store(change);
    case v1::CompleteTaskRequest::kCommit:
      TM_RETURN_IF_ERROR(fits(v1::TASK_KIND_COMMIT));
      TM_RETURN_IF_ERROR(controller_.Committed(change, context, task, request.commit()));
      return Store(change);
    case v1::CompleteTaskRequest::kProbe:
      TM_RETURN_IF_ERROR(fits(v1::TASK_KIND_PROBE));
      TM_RETURN_IF_ERROR(controller_.Probed(change, context, task, request.probe()));
      return Store(change);
    case v1::CompleteTaskRequest::kAbort:
      TM_RETURN_IF_ERROR(fits(v1::TASK_KIND_ABORT));
      TM_RETURN_IF_ERROR(controller_.Aborted(change, context, task));
      return Store(change);
    case v1::CompleteTaskRequest::kHorizon:
      TM_RETURN_IF_ERROR(fits(v1::TASK_KIND_HORIZON));
      return HorizonReported(state, task, request.horizon());
    case v1::CompleteTaskRequest::kTest:
      TM_RETURN_IF_ERROR(fits(v1::TASK_KIND_TEST));
      TM_RETURN_IF_ERROR(controller_.Tested(change, context, task, request.test()));
      return Store(change);
    case v1::CompleteTaskRequest::OUTCOME_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError(absl::StrCat("the report of task ", task.id, " says neither result nor error"));
}

absl::Status CoordinatorCore::LoseTask(RunState& state, const std::string& task_id, bool counts_as_failure) {
  RunChange change(&state);
  options_.observer->AttemptLost(state.tasks.at(task_id).kind);
  TM_RETURN_IF_ERROR(
      controller_.Lost(change, ContextOf(state), TaskRecord(state.tasks.at(task_id)), counts_as_failure));
  return Store(change);
}

absl::StatusOr<WorkerView> CoordinatorCore::DrainWorker(std::string_view id, const std::string& actor) {
  TM_RETURN_IF_ERROR(Refresh());
  const Worker* known = workers_.FindById(id);
  if (known == nullptr) return absl::NotFoundError(absl::StrCat("no worker ", Abs(id), " is known"));
  Worker* const worker = workers_.Find(known->id, known->incarnation);
  if (!worker->draining) {
    WriteBatch batch;
    batch.audit.push_back(Audit(actor, "worker.drain", absl::StrCat("workers/", Abs(id))));
    TM_RETURN_IF_ERROR(state_.Write(std::move(batch), {}));
    worker->draining = true;
    TM_RETURN_IF_ERROR(Settle());
  }
  return ViewOf(*worker);
}

absl::Status CoordinatorCore::LoseWorker(const Worker& worker) {
  for (RunState* const state : state_.Begun()) {
    std::vector<std::string> lost;
    for (const auto& [task_id, task] : state->tasks) {
      if (task.state == TaskState::kLeased && task.worker_id == worker.id && task.incarnation == worker.incarnation) {
        lost.push_back(task_id);
      }
    }
    for (const std::string& task_id : lost) {
      // The first loss may have ended or restarted the run, and the task with it.
      if (state->tasks.at(task_id).state != TaskState::kLeased) continue;
      TM_RETURN_IF_ERROR(LoseTask(*state, task_id, /*counts_as_failure=*/true));
    }
    std::erase_if(state->draining, [&](const LeasedAttempt& attempt) {
      return attempt.worker_id == worker.id && attempt.incarnation == worker.incarnation;
    });
  }
  std::vector<std::string> sessions;
  for (const Permit* permit : state_.budget().OfWorker(worker.id, worker.incarnation)) {
    sessions.push_back(permit->session_id);
  }
  const absl::Duration gone_at = worker.last_heartbeat + options_.lease + options_.server_side_timeouts;
  for (const std::string& session : sessions) state_.budget().Condemn(session, gone_at);
  std::erase_if(lost_workers_,
                [&](const auto& lost) { return options_.clock->Now() - lost.second.last_heartbeat >= kLostShown; });
  lost_workers_[worker.id] = ViewOf(worker, WorkerView::State::kLost);
  workers_.Remove(worker.id);
  return absl::OkStatus();
}

}  // namespace tidemark::coordinator
