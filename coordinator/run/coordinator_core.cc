#include "coordinator/run/coordinator_core.h"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "common/model/source_settings.h"
#include "common/model/watermark.h"

namespace tidemark::coordinator {

namespace {

constexpr size_t kPreviewsKept = 1000;

CoordinatorOptions Heard(CoordinatorOptions options) {
  static auto* const nobody = new CoordinatorObserver();
  if (options.observer == nullptr) options.observer = nobody;
  return options;
}

constexpr size_t kLongestRequestId = 200;
constexpr size_t kLongestBound = 1000;

}  // namespace

std::string RequestKey(std::string_view job_uid, std::string_view request_id) {
  return absl::StrCat(Abs(job_uid), ":", Abs(request_id));
}

std::string FireKey(std::string_view job_uid, absl::Time fire_time) {
  return absl::StrCat(Abs(job_uid), "@", absl::FormatTime(absl::RFC3339_sec, fire_time, absl::UTCTimeZone()));
}

absl::Status CheckRequestId(std::string_view request_id) {
  if (request_id.size() <= kLongestRequestId) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("request_id has ", request_id.size(), " bytes, of at most ", kLongestRequestId));
}

std::string RateKey(std::string_view worker_id, std::string_view incarnation) {
  return absl::StrCat(Abs(worker_id), "/", Abs(incarnation));
}

CoordinatorCore::CoordinatorCore(const CoordinatorOptions& options)
    : options_(Heard(options)),
      state_(options.store, options.clock, options_.observer, options.resume),
      controller_("", options.plan_limits, options.rng) {}

absl::StatusOr<std::unique_ptr<CoordinatorCore>> CoordinatorCore::Start(const CoordinatorOptions& options) {
  std::unique_ptr<CoordinatorCore> core(new CoordinatorCore(options));
  // Who cannot open them must not keep from leading who can, and is to be found out while another leads.
  TM_RETURN_IF_ERROR(core->StoredConnections().status());
  if (absl::Status led = core->Lead(); !led.ok()) {
    core->Resign();
    return led;
  }
  return core;
}

absl::Status CoordinatorCore::Lead() {
  TM_RETURN_IF_ERROR(state_.Lead(options_.holder, options_.leader_lease));
  controller_ = RunController(state_.cluster_id(), options_.plan_limits, options_.rng);
  rates_.SetEpoch(state_.epoch());
  next_renewal_ = options_.clock->Monotonic() + options_.leader_lease / 3;
  TM_RETURN_IF_ERROR(Recover());
  TM_RETURN_IF_ERROR(ReadConnections());
  TM_RETURN_IF_ERROR(ScheduleJobs());
  return Settle();
}

absl::Status CoordinatorCore::Recover() {
  const absl::Duration now = options_.clock->Monotonic();
  // By worker and incarnation, the last of which is the youngest.
  std::set<std::pair<std::string, std::string>> holders;
  for (const Permit* permit : state_.budget().All()) {
    if (options_.workers_died_with_us) {
      state_.budget().Condemn(permit->session_id, now + options_.dead_process_grace);
    } else {
      holders.insert({permit->worker_id, permit->incarnation});
    }
  }
  for (RunState* const state : state_.Begun()) {
    std::vector<std::string> leased;
    for (const auto& [task_id, task] : state->tasks) {
      if (task.state == TaskState::kLeased) leased.push_back(task_id);
    }
    for (const std::string& task_id : leased) {
      if (options_.workers_died_with_us) {
        TM_RETURN_IF_ERROR(LoseTask(*state, task_id, /*counts_as_failure=*/false));
      } else {
        const TaskRecord& task = state->tasks.at(task_id);
        holders.insert({task.worker_id, task.incarnation});
        receipts_[task_id] = {.leased_at = now, .missing = 0};
        if (task.kind == v1::TASK_KIND_MOVE && !task.session_id.empty()) reading_sessions_.insert(task.session_id);
      }
    }
    // How long it had waited is not known any more: it takes the horizon there is, once its connections are known.
    if (state->run.phase == RunPhase::kWaiting) state->phase_since = now - HorizonWait(state->run.spec.source());
  }
  // Living workers go on with what they have; one that stays silent for a lease is lost.
  for (auto holder = holders.begin(); holder != holders.end(); ++holder) {
    Worker worker;
    std::tie(worker.id, worker.incarnation) = *holder;
    worker.last_heartbeat = now;
    worker.last_seen = options_.clock->Now();
    if (const auto next = std::next(holder); next != holders.end() && next->first == worker.id) {
      TM_RETURN_IF_ERROR(LoseWorker(worker));
    } else {
      lost_workers_.erase(worker.id);
      workers_.Register(std::move(worker));
    }
  }
  return Settle();
}

absl::Status CoordinatorCore::Refresh() {
  definitions_in_doubt_ |= state_.in_doubt();
  TM_RETURN_IF_ERROR(state_.Refresh());
  if (!definitions_in_doubt_) return absl::OkStatus();
  TM_RETURN_IF_ERROR(ReadConnections());
  // What was given out before stays given out.
  for (const auto& [uid, job] : state_.jobs()) Reschedule(job, std::max(job.scheduled_from, job.created));
  definitions_in_doubt_ = false;
  return absl::OkStatus();
}

AuditEvent CoordinatorCore::Audit(std::string actor, std::string action, std::string subject,
                                  std::string detail) const {
  return {.time = options_.clock->Now(),
          .actor = std::move(actor),
          .action = std::move(action),
          .subject = std::move(subject),
          .detail = std::move(detail)};
}

Moment CoordinatorCore::Now() const { return {options_.clock->Now(), options_.clock->Monotonic()}; }

RunController::Context CoordinatorCore::ContextOf(const RunState& state) const {
  RunController::Context context;
  context.job = state_.FindJob(state.run.job_uid);
  context.now = Now();
  const std::string& source = state.run.spec.source().connection();
  context.max_sessions = std::max(1, state_.budget().Limit(source));
  context.replicas = !state_.budget().Replicas(source).empty();
  return context;
}

absl::StatusOr<v1::Window> CoordinatorCore::WindowOf(const JobRecord& job, const RunRequest& request) const {
  const std::string& name = job.spec.name();
  v1::Window window;
  if (request.from.has_value() || request.to.has_value()) {
    if (!request.from.has_value() || !request.to.has_value()) {
      return absl::InvalidArgumentError(absl::StrCat("job ", name, ": a range needs both --from and --to"));
    }
    if (request.from->empty() || request.to->empty()) {
      return absl::InvalidArgumentError(absl::StrCat("job ", name, ": an end of a range is empty"));
    }
    if (std::max(request.from->size(), request.to->size()) > kLongestBound) {
      return absl::InvalidArgumentError(
          absl::StrCat("job ", name, ": an end of a range has more than ", kLongestBound, " bytes"));
    }
    if (request.full_refresh) {
      return absl::InvalidArgumentError(absl::StrCat("job ", name, ": a range and --full-refresh exclude each other"));
    }
    if (job.spec.source().watermark().empty() || job.spec.target().strategy() == v1::LOAD_STRATEGY_FULL) {
      return absl::InvalidArgumentError(
          absl::StrCat("job ", name, ": a range needs source.watermark and strategy incremental or upsert"));
    }
    window.set_kind(v1::WINDOW_KIND_RANGE);
    window.mutable_low()->set_text(*request.from);
    window.mutable_high()->set_text(*request.to);
    return window;
  }
  const bool full = request.full_refresh || job.spec.target().strategy() == v1::LOAD_STRATEGY_FULL;
  window.set_kind(full ? v1::WINDOW_KIND_FULL : v1::WINDOW_KIND_WINDOW);
  window.set_full_refresh(request.full_refresh);
  return window;
}

absl::StatusOr<RunRecord> CoordinatorCore::NewRun(const JobRecord& job, const RunRequest& request) const {
  RunRecord run;
  run.created = options_.clock->Now();
  run.id = NewId(run.created, *options_.rng);
  run.job_uid = job.uid;
  run.job_name = job.spec.name();
  run.spec = job.spec;
  TM_ASSIGN_OR_RETURN(run.window, WindowOf(job, request));
  return run;
}

absl::StatusOr<std::string> CoordinatorCore::StartRun(std::string_view job_name, const RunRequest& request) {
  return AddRun(job_name, request, "");
}

absl::StatusOr<std::optional<RunRecord>> CoordinatorCore::EarlierRun(std::string_view job_uid,
                                                                     std::string_view request_id) const {
  if (request_id.empty()) return std::nullopt;
  TM_RETURN_IF_ERROR(CheckRequestId(request_id));
  absl::StatusOr<RunRecord> run = state_.store().GetRunByKey(RequestKey(job_uid, request_id));
  if (absl::IsNotFound(run.status())) return std::nullopt;
  if (!run.ok()) return run.status();
  return *std::move(run);
}

absl::StatusOr<std::string> CoordinatorCore::AddRun(std::string_view job_name, const RunRequest& request,
                                                    const std::string& retry_of) {
  if (!options_.resume) return absl::FailedPreconditionError("this coordinator makes previews and starts no run");
  TM_RETURN_IF_ERROR(Refresh());
  const JobRecord* job = state_.FindJobByName(job_name);
  if (job == nullptr) return absl::NotFoundError(absl::StrCat("no job ", Abs(job_name)));
  TM_ASSIGN_OR_RETURN(const std::optional<RunRecord> earlier, EarlierRun(job->uid, request.request_id));
  if (earlier.has_value()) return earlier->id;
  TM_ASSIGN_OR_RETURN(RunRecord run, NewRun(*job, request));
  run.run_key = RequestKey(job->uid, request.request_id.empty() ? run.id : request.request_id);
  run.retry_of = retry_of;
  if (run.window.kind() == v1::WINDOW_KIND_WINDOW) {
    TM_ASSIGN_OR_RETURN(const ChainHistory history, state_.History(*job, ""));
    TM_RETURN_IF_ERROR(CheckChange(*job, history.last_success));
  }
  WriteBatch batch;
  batch.runs.push_back(run);
  if (!request.actor.empty()) {
    batch.audit.push_back(Audit(request.actor, retry_of.empty() ? "job.run" : "run.retry",
                                absl::StrCat("jobs/", run.job_name), absl::StrCat("runs/", run.id)));
  }
  TM_RETURN_IF_ERROR(state_.Write(std::move(batch), {}));
  run.revision = 1;
  std::string id = run.id;
  state_.AddRun(std::move(run), /*preview=*/false);
  TM_RETURN_IF_ERROR(Settle());
  return id;
}

absl::StatusOr<std::string> CoordinatorCore::RetryRun(std::string_view id, const std::string& request_id,
                                                      const std::string& actor) {
  TM_RETURN_IF_ERROR(Refresh());
  TM_ASSIGN_OR_RETURN(const RunRecord run, GetRun(id));
  TM_ASSIGN_OR_RETURN(const std::optional<RunRecord> earlier, EarlierRun(run.job_uid, request_id));
  if (earlier.has_value()) return earlier->id;
  const auto refuse = [&](const auto&... why) {
    return absl::FailedPreconditionError(absl::StrCat("run ", Abs(id), " cannot be tried again: ", why...));
  };
  if (run.status != RunStatus::kFailed) return refuse("it is ", std::string(Name(run.phase)), ", not failed");
  const JobRecord* job = state_.FindJob(run.job_uid);
  if (job == nullptr) return refuse("its job ", run.job_name, " is there no more");
  RunRequest request;
  request.request_id = request_id;
  request.actor = actor;
  request.full_refresh = run.window.full_refresh();
  if (run.window.kind() == v1::WINDOW_KIND_RANGE) {
    request.from = run.window.low().text();
    request.to = run.window.high().text();
  }
  if (run.window.kind() == v1::WINDOW_KIND_WINDOW && run.started.has_value()) {
    const bool same = run.window.has_low() == job->last_watermark.has_value() &&
                      (!run.window.has_low() || Same(run.window.low(), *job->last_watermark));
    if (!same) return refuse("the job's watermark has passed its window, so there is nothing left to do");
  }
  return AddRun(run.job_name, request, run.id);
}

absl::StatusOr<std::string> CoordinatorCore::StartPreview(std::string_view job_name, const RunRequest& request) {
  TM_RETURN_IF_ERROR(Refresh());
  const JobRecord* job = state_.FindJobByName(job_name);
  if (job == nullptr) return absl::NotFoundError(absl::StrCat("no job ", Abs(job_name)));
  TM_ASSIGN_OR_RETURN(RunRecord run, NewRun(*job, request));
  std::string id = run.id;
  state_.AddRun(std::move(run), /*preview=*/true);
  TM_RETURN_IF_ERROR(Settle());
  return id;
}

absl::StatusOr<std::string> CoordinatorCore::StartConnectionTest(std::string_view connection) {
  TM_RETURN_IF_ERROR(Refresh());
  if (state_.FindConnection(connection) == nullptr) {
    return absl::NotFoundError(absl::StrCat("no connection ", Abs(connection)));
  }
  RunRecord run;
  run.created = options_.clock->Now();
  run.id = NewId(run.created, *options_.rng);
  run.spec.mutable_source()->set_connection(std::string(connection));
  run.spec.mutable_target()->set_connection(std::string(connection));
  // Who asks wants to hear how it is now.
  run.spec.mutable_retry()->set_attempts(1);
  std::string id = run.id;
  state_.AddRun(std::move(run), /*preview=*/true)->tests_connection = true;
  TM_RETURN_IF_ERROR(Settle());
  return id;
}

absl::Status CoordinatorCore::CancelRun(std::string_view id, const std::string& actor) {
  TM_RETURN_IF_ERROR(Refresh());
  RunState* state = state_.FindRun(id);
  if (state == nullptr) {
    TM_ASSIGN_OR_RETURN(const RunRecord run, state_.store().GetRun(id));
    if (run.phase == RunPhase::kCancelled) return absl::OkStatus();
    return absl::FailedPreconditionError(absl::StrCat("run ", Abs(id), " has ended: it is ", Abs(Name(run.phase))));
  }
  RunChange change(state);
  TM_RETURN_IF_ERROR(controller_.Cancel(change, ContextOf(*state)));
  if (!actor.empty()) {
    change.with.audit.push_back(Audit(actor, "run.cancel", absl::StrCat("runs/", Abs(id))));
  }
  TM_RETURN_IF_ERROR(Store(change));
  return Settle();
}

absl::Status CoordinatorCore::Store(RunChange& change) {
  RunState& state = *change.state;
  // Before the write, which may happen and not be answered. An epoch that is raised for nothing does no harm.
  if (change.raise_epoch) raises_[state.run.id] = std::max(change.fence_epoch, state_.epoch());
  TM_RETURN_IF_ERROR(state_.Write(std::move(change.with), {&change.draft}));
  if (state.preview) {
    state.plan = std::move(change.plan);
    state.test = std::move(change.test);
    state.failure = change.failure;
  }
  for (auto it = receipts_.begin(); it != receipts_.end();) {
    const auto task = state.tasks.find(it->first);
    const bool over = task != state.tasks.end() && task->second.state != TaskState::kLeased;
    it = over ? receipts_.erase(it) : std::next(it);
  }
  return absl::OkStatus();
}

absl::Status CoordinatorCore::RaiseEpoch(RunState& state, int64_t at_least) {
  TM_RETURN_IF_ERROR(state_.RaiseEpoch(options_.holder, options_.leader_lease, at_least));
  state.fence_epoch = state_.epoch();
  raises_.erase(state.run.id);
  return absl::OkStatus();
}

bool CoordinatorCore::ConnectionsKnown(const RunState& state) const {
  return state_.FindConnection(state.run.spec.source().connection()) != nullptr &&
         state_.FindConnection(state.run.spec.target().connection()) != nullptr;
}

absl::Status CoordinatorCore::Begin(RunState& state, bool& again) {
  again = true;
  if (!ConnectionsKnown(state)) return GiveUp(state, NoConnections(state));
  RunController::Context context = ContextOf(state);
  RunChange change(&state);
  if (!state.tests_connection) {
    if (context.job == nullptr) return absl::InternalError(absl::StrCat("run ", state.run.id, " has no job"));
    if (state.run.window.kind() == v1::WINDOW_KIND_WINDOW) {
      TM_ASSIGN_OR_RETURN(context.history, state_.History(*context.job, ""));
    }
    TM_ASSIGN_OR_RETURN(change.draft.mutable_run().sequence, state_.NextSequence(*context.job));
  }
  state.fence_epoch = state_.epoch();
  TM_RETURN_IF_ERROR(controller_.Begin(change, context));
  return Store(change);
}

absl::Status CoordinatorCore::CheckSnapshot(RunState& state, bool& again) {
  if (state.run.phase != RunPhase::kMoving || !InSnapshot(state.run) || SnapshotHolders(state) > 0)
    return absl::OkStatus();
  std::string why;
  bool unread = false;
  for (const auto& [id, task] : state.tasks) {
    if (task.kind != v1::TASK_KIND_MOVE) continue;
    // Its session is closed before it reports, and what it has to report may be why.
    if (Reading(state, task)) return absl::OkStatus();
    if (task.state != TaskState::kQueued) continue;
    unread = true;
    if (why.empty()) why = task.error;
  }
  if (!unread) return absl::OkStatus();
  again = true;
  RunChange change(&state);
  TM_RETURN_IF_ERROR(controller_.SnapshotLost(change, ContextOf(state), why.empty() ? "its sessions are closed" : why));
  return Store(change);
}

std::string CoordinatorCore::NoConnections(const RunState& state) {
  return absl::StrCat("job ", state.run.job_name, ": its connections ", state.run.spec.source().connection(), " and ",
                      state.run.spec.target().connection(), " are not both there any more");
}

absl::Status CoordinatorCore::GiveUp(RunState& state, const std::string& why) {
  RunChange change(&state);
  if (state.run.phase == RunPhase::kAborting) {
    TM_RETURN_IF_ERROR(Take(EndAbort{.remark = "its staging is left behind: " + why}, change.draft, Now()));
  } else {
    TM_RETURN_IF_ERROR(controller_.Fail(change, ContextOf(state), why, /*drop_staging=*/false));
  }
  return Store(change);
}

absl::Status CoordinatorCore::SettleRun(RunState& state, bool& again) {
  if (const auto raise = raises_.find(state.run.id); raise != raises_.end()) {
    TM_RETURN_IF_ERROR(RaiseEpoch(state, raise->second));
    again = true;
  }
  if (!ConnectionsKnown(state)) {
    if (!connections_known_) return absl::OkStatus();
    again = true;
    return GiveUp(state, NoConnections(state));
  }
  return CheckSnapshot(state, again);
}

absl::Status CoordinatorCore::StopIfItsOwn(RunState& state, const absl::Status& settled, bool& again) {
  if (settled.ok()) return absl::OkStatus();
  // The store's trouble is everyone's. What is wrong with one run (its records are damaged) stops that run alone.
  const bool everyones = state_.in_doubt() || absl::IsUnavailable(settled) || absl::IsResourceExhausted(settled) ||
                         absl::IsPermissionDenied(settled);
  if (everyones) return settled;
  again = true;
  return GiveUp(state, absl::StrCat("job ", state.run.job_name, " cannot go on: ", settled.message()));
}

bool CoordinatorCore::WantsFirstSession(const RunState& state) const {
  // One whose rows are all read has only its target to wait for.
  const bool reads = std::any_of(state.tasks.begin(), state.tasks.end(), [](const auto& task) {
    return task.second.state == TaskState::kQueued && ReadsSource(task.second.kind);
  });
  return reads && state_.budget().OfRun(state.run.id).empty();
}

RunState* CoordinatorCore::NextInTurn(const std::vector<std::string>& connections) const {
  const std::string* oldest = nullptr;
  for (const std::string& connection : connections) {
    const auto line = state_.lines().find(connection);
    if (line == state_.lines().end()) continue;
    if (oldest == nullptr || *line->second.begin() < *oldest) oldest = &*line->second.begin();
  }
  return oldest == nullptr ? nullptr : state_.FindRun(*oldest);
}

absl::Status CoordinatorCore::BeginQueued(bool& again) {
  for (const std::string& id : std::set(state_.queued_previews())) {
    RunState& state = *state_.FindRun(id);
    TM_RETURN_IF_ERROR(StopIfItsOwn(state, Begin(state, again), again));
  }
  // Connections that share a budget share a line.
  std::map<std::string, std::vector<std::string>> lines;
  for (const auto& [connection, line] : state_.lines()) {
    lines[state_.budget().Server(connection)].push_back(connection);
  }
  if (lines.empty()) return absl::OkStatus();
  std::map<std::string, int> waiting;
  for (const RunState* state : state_.Begun()) {
    if (WantsFirstSession(*state)) ++waiting[state_.budget().Server(state->run.spec.source().connection())];
  }
  for (const auto& [identity, connections] : lines) {
    const int limit = std::max(1, state_.budget().Limit(connections.front()));
    for (int places = limit - waiting[identity]; places > 0; --places) {
      RunState* const next = NextInTurn(connections);
      if (next == nullptr || (!ConnectionsKnown(*next) && !connections_known_)) break;
      TM_RETURN_IF_ERROR(StopIfItsOwn(*next, Begin(*next, again), again));
    }
  }
  return absl::OkStatus();
}

absl::Status CoordinatorCore::SettleOnce(bool& again) {
  for (RunState* const state : state_.Begun()) {
    TM_RETURN_IF_ERROR(StopIfItsOwn(*state, SettleRun(*state, again), again));
  }
  TM_RETURN_IF_ERROR(BeginQueued(again));
  TM_RETURN_IF_ERROR(SettleHorizons(again));
  again |= !state_.ended().empty();
  SweepEnded();
  return absl::OkStatus();
}

absl::Status CoordinatorCore::Settle() {
  for (bool again = true; again;) {
    again = false;
    TM_RETURN_IF_ERROR(SettleOnce(again));
  }
  CloseUnneededSessions();
  ObserveRates();
  return absl::OkStatus();
}

void CoordinatorCore::SweepEnded() {
  for (const std::string& id : std::set(state_.ended())) {
    RunState& state = *state_.FindRun(id);
    if (!state.preview) options_.observer->RunEnded(state.run);
    if (state.preview) {
      // Of those that nobody comes for, the oldest goes.
      if (previews_.size() >= kPreviewsKept) previews_.erase(previews_.begin());
      if (state.run.status == RunStatus::kSuccess) {
        previews_.insert_or_assign(id, Preview{state.run.window, state.run.description.value_or(v1::DescribeResult()),
                                               state.plan, state.test});
      } else {
        previews_.insert_or_assign(id, absl::Status(state.failure, state.run.error));
      }
    }
    raises_.erase(id);
    state_.Forget(id);
  }
}

absl::Status CoordinatorCore::RenewIfDue() {
  const absl::Duration now = options_.clock->Monotonic();
  if (now < next_renewal_) return absl::OkStatus();
  TM_RETURN_IF_ERROR(state_.Renew(options_.leader_lease));
  next_renewal_ = now + options_.leader_lease / 3;
  return absl::OkStatus();
}

absl::Status CoordinatorCore::Tick() {
  TM_RETURN_IF_ERROR(Refresh());
  const absl::Duration now = options_.clock->Monotonic();
  TM_RETURN_IF_ERROR(RenewIfDue());
  for (const Worker& worker : workers_.Expired(now, options_.lease)) TM_RETURN_IF_ERROR(LoseWorker(worker));
  TM_RETURN_IF_ERROR(DropPermits(state_.budget().KnownGone(now)));
  TM_RETURN_IF_ERROR(FireDue());
  return Settle();
}

absl::Duration CoordinatorCore::NextWake() const {
  if (state_.in_doubt()) return absl::ZeroDuration();
  const Moment now = Now();
  absl::Duration next =
      std::min({next_renewal_, workers_.NextExpiry(options_.lease), state_.budget().NextGone(), rates_.NextChange()});
  next -= now.monotonic;
  next = std::min(next, due_.empty() ? scheduler_.NextFire() - now.wall : absl::ZeroDuration());
  for (const RunState* state : state_.Begun()) {
    for (const auto& [task_id, task] : state->tasks) {
      // What is due already waits for a worker, not for time.
      if (task.state == TaskState::kQueued && task.not_before > now.wall)
        next = std::min(next, task.not_before - now.wall);
    }
    if (state->run.phase == RunPhase::kWaiting) {
      next = std::min(next, state->phase_since + HorizonWait(state->run.spec.source()) - now.monotonic);
    }
  }
  return std::max(next, absl::ZeroDuration());
}

}  // namespace tidemark::coordinator
