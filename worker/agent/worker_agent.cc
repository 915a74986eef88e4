#include "worker/agent/worker_agent.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/status_macros.h"
#include "common/model/duration.h"
#include "worker/agent/agent_core.h"
#include "worker/agent/spill_directory.h"
#include "worker/agent/task_runner.h"
#include "worker/batch/memory_budget.h"
#include "worker/batch/process_memory.h"
#include "worker/task/task_error.h"

namespace tidemark {
namespace {

// Chunks that pass through a task's hands: the driver's buffers on both sides, one being written to disk, one being
// read back.
constexpr int64_t kInFlightPerSlot = 8 << 20;
constexpr absl::Duration kFirstRetry = absl::Milliseconds(100);
constexpr absl::Duration kLongestRetry = absl::Seconds(2);
// How soon a driver that was asked to stop is asked again, and a poll is ended that waits without the slots now free.
constexpr absl::Duration kAskAgain = absl::Milliseconds(100);

// What is left for kept chunks of the memory the worker may use.
int64_t KeptChunks(const WorkerAgent::Options& options) {
  const int64_t rest = options.memory_bytes - ResidentBytes() - options.slots * kInFlightPerSlot;
  return std::max(rest, options.memory_bytes / 4);
}

// Whether a report that was refused may be taken yet, as it is. A coordinator whose store is full, damaged or closed to
// it says so with the store's code, and takes the report when that is mended.
bool MayBeTaken(const absl::Status& refused) {
  return IsRetryable(refused) || absl::IsCancelled(refused) || absl::IsPermissionDenied(refused) ||
         absl::IsDataLoss(refused);
}

// What is told in place of a report that the coordinator cannot take, however often it is sent. The work itself may
// well be done: a second attempt finds it, and of a commit the ledger knows.
v1::TaskError Undelivered(const v1::CompleteTaskRequest& report, const v1::Task& work, const absl::Status& refused) {
  const std::string what = absl::StrCat("the result could not be delivered: ", refused.message());
  v1::TaskError error = ToTaskError(report.has_commit() ? absl::UnknownError(what) : absl::InternalError(what), work);
  if (!report.has_error()) {
    error.set_retryable(!report.has_commit());
    return error;
  }
  std::string message = std::move(*error.mutable_message());
  error = report.error();
  error.set_message(std::move(message));
  return error;
}

}  // namespace

// The threads: one polls for tasks, one sends heartbeats, one watches the clock; each task has one of its own
// (TaskRunner adds the extract's). The core is asked and told under the mutex; what it wants done is done outside.
class WorkerAgent::Impl final : public SessionKeeper {
 public:
  Impl(Options options, const ConnectorRegistry* connectors, CoordinatorClient* coordinator, const Clock* clock,
       Rng* rng)
      : options_(std::move(options)),
        connectors_(connectors),
        coordinator_(coordinator),
        clock_(clock),
        rng_(rng),
        core_(options_.worker_id, options_.slots, options_.version) {}
  ~Impl() override { Stop(); }

  absl::Status Start();
  absl::Status Drain(absl::Duration deadline);
  void Stop();
  Usage usage() const;

  std::unique_ptr<SourceSession> Borrow(const std::string& session_id) override;
  void Return(const std::string& session_id, std::unique_ptr<SourceSession> session, bool keep) override;

 private:
  using TaskKey = std::pair<std::string, int64_t>;
  struct Running {
    std::shared_ptr<TaskRunner> runner;
    // Asked for, and repeated until it is done.
    bool cancel = false;
    bool interrupt = false;
  };

  void PollLoop();
  void HeartbeatLoop();
  void WatchLoop();
  void RunTask(std::shared_ptr<TaskRunner> runner);
  // Tells the coordinator what has become of the task, until it has heard.
  void Complete(v1::CompleteTaskRequest request, const v1::Task& work);

  // False if an answer of a leader that was replaced is all there is, or the agent stops.
  bool Register();
  void Poll();
  void Heartbeat();
  // Idle sessions to close, outside of the mutex.
  using Closing = std::vector<std::pair<std::string, std::unique_ptr<SourceSession>>>;
  Closing Apply(AgentCore::Actions actions) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Close(Closing sessions);
  void StartTask(v1::Task task) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  RateLimiter* RateOf(const v1::Task& task) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Wakes the loops.
  void Changed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    ++changes_;
    changed_.SignalAll();
  }
  // Whether Stop was called meanwhile.
  bool PauseBefore(int attempt);
  void Log(const std::string& line) const {
    if (options_.log) options_.log(options_.redact ? options_.redact(line) : line);
  }

  const Options options_;
  const ConnectorRegistry* const connectors_;
  CoordinatorClient* const coordinator_;
  const Clock* const clock_;
  Rng* const rng_;
  std::optional<SpillDirectory> spill_dir_;
  std::unique_ptr<MemoryBudget> budget_;
  std::vector<std::thread> loops_;
  // Of the poll loop: failures in a row.
  int failed_polls_ = 0;
  int failed_registrations_ = 0;

  mutable absl::Mutex mutex_;
  // Anything that a loop waits for may have changed.
  absl::CondVar changed_;
  uint64_t changes_ ABSL_GUARDED_BY(mutex_) = 0;
  AgentCore core_ ABSL_GUARDED_BY(mutex_);
  bool started_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool heartbeat_now_ ABSL_GUARDED_BY(mutex_) = false;
  // Of the poll under way; fewer than 0: none.
  int polled_slots_ ABSL_GUARDED_BY(mutex_) = -1;
  std::map<TaskKey, Running> running_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::unique_ptr<SourceSession>> idle_ ABSL_GUARDED_BY(mutex_);
  // By connection. Tasks hold pointers: cleared only when there are none.
  std::map<std::string, std::unique_ptr<RateLimiter>> rates_ ABSL_GUARDED_BY(mutex_);
  std::map<TaskKey, std::thread> threads_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> finished_ ABSL_GUARDED_BY(mutex_);
};

absl::Status WorkerAgent::Impl::Start() {
  if (options_.worker_id.empty() || options_.slots < 1 || options_.memory_bytes < 1 || options_.task_memory_bytes < 1) {
    return absl::InvalidArgumentError("a worker needs an id, at least one slot, and memory");
  }
  TM_ASSIGN_OR_RETURN(spill_dir_, SpillDirectory::Open(options_.spill_dir, options_.worker_id));
  ReturnLargeBuffersAtOnce();
  budget_ = std::make_unique<MemoryBudget>(KeptChunks(options_));
  absl::MutexLock lock(&mutex_);
  started_ = true;
  loops_.emplace_back([this] { PollLoop(); });
  loops_.emplace_back([this] { HeartbeatLoop(); });
  loops_.emplace_back([this] { WatchLoop(); });
  return absl::OkStatus();
}

absl::Status WorkerAgent::Impl::Drain(absl::Duration deadline) {
  const absl::Duration until = clock_->Monotonic() + deadline;
  bool drained = false;
  Closing closing;
  {
    absl::MutexLock lock(&mutex_);
    if (!started_ || stopping_) return absl::OkStatus();
    core_.Drain();
    // A poll that offers slots may still bring tasks: they are leased, so they are finished.
    while (core_.holds_tasks() || polled_slots_ > 0) {
      const absl::Duration left = until - clock_->Monotonic();
      if (left <= absl::ZeroDuration()) break;
      changed_.WaitWithTimeout(&mutex_, std::min(left, kAskAgain));
    }
    drained = !core_.holds_tasks();
    closing = Apply(core_.CloseIdleSessions());
  }
  Close(std::move(closing));
  if (drained) Heartbeat();
  Stop();
  if (drained) return absl::OkStatus();
  return absl::DeadlineExceededError(
      absl::StrCat("tasks were still running after ", DurationText(deadline), ": they were cancelled"));
}

void WorkerAgent::Impl::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    if (!started_ || stopping_) return;
    stopping_ = true;
    Changed();
  }
  coordinator_->Shutdown();
  // The watch loop goes on asking the tasks to stop until the last has, and ends the loops.
  for (std::thread& loop : loops_) loop.join();
  std::map<TaskKey, std::thread> threads;
  std::vector<std::thread> finished;
  std::map<std::string, std::unique_ptr<SourceSession>> idle;
  {
    absl::MutexLock lock(&mutex_);
    threads.swap(threads_);
    idle.swap(idle_);
    finished.swap(finished_);
  }
  for (auto& [key, thread] : threads) thread.join();
  for (std::thread& thread : finished) thread.join();
}

WorkerAgent::Usage WorkerAgent::Impl::usage() const {
  Usage usage;
  absl::MutexLock lock(&mutex_);
  if (!started_) return usage;
  usage.memory_bytes = budget_->used();
  for (const auto& [key, running] : running_) usage.spill_bytes += running.runner->spilled_bytes();
  return usage;
}

std::unique_ptr<SourceSession> WorkerAgent::Impl::Borrow(const std::string& session_id) {
  absl::MutexLock lock(&mutex_);
  auto node = idle_.extract(session_id);
  return node.empty() ? nullptr : std::move(node.mapped());
}

void WorkerAgent::Impl::Return(const std::string& session_id, std::unique_ptr<SourceSession> session, bool keep) {
  bool kept = false;
  {
    absl::MutexLock lock(&mutex_);
    kept = core_.MayKeepSession(session_id, keep && session != nullptr && !stopping_);
    if (kept) idle_[session_id] = std::move(session);
  }
  // The permit is free only when the connection is.
  session.reset();
  absl::MutexLock lock(&mutex_);
  if (!kept) core_.SessionClosed(session_id);
  heartbeat_now_ = true;
  Changed();
}

void WorkerAgent::Impl::PollLoop() {
  while (true) {
    bool needs_registration = false;
    {
      absl::MutexLock lock(&mutex_);
      if (stopping_) return;
      needs_registration = core_.NeedsRegistration();
      if (!needs_registration && !core_.registered()) {
        // What is held is being given up.
        changed_.WaitWithTimeout(&mutex_, kAskAgain);
        continue;
      }
    }
    if (needs_registration) {
      failed_registrations_ = Register() ? 0 : failed_registrations_ + 1;
      if (failed_registrations_ > 0) PauseBefore(failed_registrations_ + 1);
    } else {
      Poll();
    }
  }
}

bool WorkerAgent::Impl::Register() {
  for (int attempt = 1;; ++attempt) {
    v1::RegisterRequest request;
    {
      absl::MutexLock lock(&mutex_);
      if (stopping_) return false;
      request = core_.MakeRegister(NewId(clock_->Now(), *rng_));
      rates_.clear();
    }
    const absl::Duration sent_at = clock_->Monotonic();
    const auto response = coordinator_->Register(request, kLongestRetry);
    if (response.ok()) {
      bool accepted = false;
      {
        absl::MutexLock lock(&mutex_);
        accepted = core_.Registered(sent_at, *response);
        heartbeat_now_ = heartbeat_now_ || accepted;
        Changed();
      }
      if (accepted) {
        Log(absl::StrCat("worker ", options_.worker_id, " is registered, by a leader of epoch ", response->epoch()));
      } else {
        Log(absl::StrCat("worker ", options_.worker_id, " was registered by a leader of epoch ", response->epoch(),
                         ", which another has replaced: it registers again"));
      }
      return accepted;
    }
    // Once soon, then about every minute.
    if (attempt == 5 || attempt % 30 == 0)
      Log(absl::StrCat("worker ", options_.worker_id, " cannot register: ", response.status().message()));
    if (PauseBefore(attempt + 1)) return false;
  }
}

void WorkerAgent::Impl::Poll() {
  v1::LeaseTasksRequest request;
  {
    absl::MutexLock lock(&mutex_);
    request = core_.MakeLease();
    polled_slots_ = request.free_slots();
  }
  const auto response = coordinator_->LeaseTasks(request, FromProto(request.wait()) + absl::Seconds(5));
  Closing closing;
  {
    absl::MutexLock lock(&mutex_);
    if (stopping_) return;
    if (response.ok()) closing = Apply(core_.Leased(*response));
    if (absl::IsFailedPrecondition(response.status())) closing = Apply(core_.Unknown());
    polled_slots_ = -1;
    Changed();
  }
  Close(std::move(closing));
  // Interrupted: to poll again at once.
  const bool failed = !response.ok() && !absl::IsCancelled(response.status());
  failed_polls_ = failed ? failed_polls_ + 1 : 0;
  if (failed) PauseBefore(failed_polls_ + 1);
}

void WorkerAgent::Impl::HeartbeatLoop() {
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      const absl::Duration until = clock_->Monotonic() + core_.lease() / 5;
      while (!stopping_ && !(heartbeat_now_ && core_.registered())) {
        const absl::Duration left = until - clock_->Monotonic();
        if (left <= absl::ZeroDuration()) break;
        changed_.WaitWithTimeout(&mutex_, left);
      }
      if (stopping_) return;
      if (!core_.registered()) continue;
    }
    Heartbeat();
  }
}

void WorkerAgent::Impl::Heartbeat() {
  v1::HeartbeatRequest request;
  absl::Duration timeout;
  {
    absl::MutexLock lock(&mutex_);
    heartbeat_now_ = false;
    request = core_.MakeHeartbeat();
    timeout = core_.lease() / 5;
    int64_t spilled = 0;
    for (v1::TaskProgress& progress : *request.mutable_tasks()) {
      const auto running = running_.find({progress.task_id(), progress.attempt()});
      if (running == running_.end()) continue;
      progress = running->second.runner->progress();
      spilled += running->second.runner->spilled_bytes();
    }
    request.set_memory_bytes(budget_->used());
    request.set_spill_bytes(spilled);
  }
  const absl::Duration sent_at = clock_->Monotonic();
  const auto response = coordinator_->Heartbeat(request, timeout);
  if (!response.ok()) {
    // What should be known at once is tried again soon, the rest with the next.
    PauseBefore(2);
    absl::MutexLock lock(&mutex_);
    const bool closed = std::any_of(request.sessions().begin(), request.sessions().end(), [](const auto& session) {
      return session.state() == v1::SessionState::STATE_CLOSED;
    });
    heartbeat_now_ = heartbeat_now_ || closed;
    return;
  }
  Closing closing;
  {
    absl::MutexLock lock(&mutex_);
    closing = Apply(core_.HeartbeatAnswered(sent_at, request, *response));
  }
  Close(std::move(closing));
}

void WorkerAgent::Impl::WatchLoop() {
  while (true) {
    Closing closing;
    std::vector<std::shared_ptr<TaskRunner>> cancel;
    std::vector<std::shared_ptr<TaskRunner>> interrupt;
    std::vector<std::thread> finished;
    bool more_slots = false;
    uint64_t seen = 0;
    {
      absl::MutexLock lock(&mutex_);
      if (stopping_ && running_.empty()) return;
      if (clock_->Monotonic() >= core_.Deadline()) closing = Apply(core_.Tick(clock_->Monotonic()));
      seen = changes_;
      for (auto& [key, running] : running_) {
        if (running.cancel || stopping_) cancel.push_back(running.runner);
        if (running.interrupt) interrupt.push_back(running.runner);
      }
      finished.swap(finished_);
      more_slots = polled_slots_ == 0 && core_.free_slots() > 0;
    }
    Close(std::move(closing));
    for (const auto& runner : cancel) runner->Cancel();
    for (const auto& runner : interrupt) runner->InterruptSource();
    for (std::thread& thread : finished) thread.join();
    if (more_slots) coordinator_->InterruptLease();

    absl::MutexLock lock(&mutex_);
    if (stopping_ && running_.empty()) return;
    absl::Duration wait = std::min(core_.Deadline() - clock_->Monotonic(), core_.lease() / 5);
    if (!cancel.empty() || !interrupt.empty() || more_slots) wait = kAskAgain;
    // What changed while this loop was at work is looked at now.
    if (wait > absl::ZeroDuration() && changes_ == seen) changed_.WaitWithTimeout(&mutex_, wait);
  }
}

WorkerAgent::Impl::Closing WorkerAgent::Impl::Apply(AgentCore::Actions actions) {
  for (const std::string& note : actions.notes) Log(absl::StrCat("worker ", options_.worker_id, ": ", note));
  for (const v1::RateShare& share : actions.rate_shares) {
    auto& rate = rates_[share.connection()];
    if (rate == nullptr) rate = std::make_unique<RateLimiter>(clock_);
    rate->SetRate(share.rows_per_second());
  }
  // What is to stop is asked by the watch loop, which repeats it.
  for (const v1::TaskAttempt& task : actions.cancel) {
    const auto running = running_.find({task.task_id(), task.attempt()});
    if (running != running_.end()) running->second.cancel = true;
  }
  for (auto& [key, running] : running_) {
    const auto& ids = actions.interrupt_sessions;
    const std::string& own = running.runner->task().session().session_id();
    if (std::find(ids.begin(), ids.end(), own) != ids.end()) running.interrupt = true;
  }
  if (!stopping_) {
    for (v1::Task& task : actions.start) StartTask(std::move(task));
    for (auto& [task, status] : actions.refuse) {
      v1::CompleteTaskRequest outcome;
      outcome.set_task_id(task.task_id());
      outcome.set_attempt(task.attempt());
      *outcome.mutable_error() = ToTaskError(status, task);
      threads_[{task.task_id(), task.attempt()}] =
          std::thread([this, outcome, task = task] { Complete(outcome, task); });
    }
  }
  Closing closing;
  for (const std::string& id : actions.close_sessions) {
    auto node = idle_.extract(id);
    closing.emplace_back(id, node.empty() ? nullptr : std::move(node.mapped()));
  }
  heartbeat_now_ = heartbeat_now_ || actions.heartbeat_now;
  Changed();
  return closing;
}

void WorkerAgent::Impl::Close(Closing sessions) {
  for (auto& [id, session] : sessions) {
    session.reset();
    absl::MutexLock lock(&mutex_);
    core_.SessionClosed(id);
    heartbeat_now_ = true;
    Changed();
  }
}

void WorkerAgent::Impl::StartTask(v1::Task task) {
  const TaskKey key(task.task_id(), task.attempt());
  TaskRunner::Environment environment;
  environment.connectors = connectors_;
  environment.clock = clock_;
  environment.rng = rng_;
  environment.budget = budget_.get();
  environment.sessions = this;
  environment.rate = RateOf(task);
  environment.spill_dir = spill_dir_->path();
  environment.task_memory_bytes = options_.task_memory_bytes;
  environment.connect_timeout = options_.connect_timeout;
  environment.resolve_dsn = options_.resolve_dsn;
  environment.redact = options_.redact;
  auto runner = std::make_shared<TaskRunner>(std::move(task), std::move(environment));
  running_[key].runner = runner;
  threads_[key] = std::thread([this, runner] { RunTask(runner); });
}

RateLimiter* WorkerAgent::Impl::RateOf(const v1::Task& task) {
  auto& rate = rates_[task.source().name()];
  if (rate == nullptr) {
    rate = std::make_unique<RateLimiter>(clock_);
    // A limited source is read only at a rate that was told.
    if (task.source().max_rows_per_second() <= 0) rate->SetRate(0);
  }
  return rate.get();
}

void WorkerAgent::Impl::RunTask(std::shared_ptr<TaskRunner> runner) {
  v1::CompleteTaskRequest outcome = runner->Run();
  const TaskKey key(runner->task().task_id(), runner->task().attempt());
  if (outcome.has_error()) Log(outcome.error().message());
  if (options_.attempt_ended) options_.attempt_ended(runner->task(), outcome, runner->progress());
  {
    absl::MutexLock lock(&mutex_);
    if (runner->task().has_session()) *outcome.add_sessions() = core_.StateOf(runner->task().session().session_id());
    running_.erase(key);
    Changed();
  }
  const v1::Task task = runner->task();
  runner.reset();
  Complete(std::move(outcome), task);
}

void WorkerAgent::Impl::Complete(v1::CompleteTaskRequest request, const v1::Task& work) {
  v1::TaskAttempt task;
  task.set_task_id(request.task_id());
  task.set_attempt(request.attempt());
  bool plain = false;
  for (int attempt = 1;; ++attempt) {
    absl::Duration timeout;
    {
      absl::MutexLock lock(&mutex_);
      if (stopping_ || !core_.TaskFinished(task)) break;
      request.set_worker_id(core_.worker_id());
      request.set_incarnation(core_.incarnation());
      timeout = core_.lease() / 3;
    }
    const auto response = coordinator_->CompleteTask(request, timeout);
    if (response.ok()) break;
    const absl::StatusCode code = response.status().code();
    // Stale, or unknown: nobody waits for it.
    if (code == absl::StatusCode::kFailedPrecondition || code == absl::StatusCode::kNotFound) break;
    if (!MayBeTaken(response.status())) {
      Log(absl::StrCat("the report of task ", task.task_id(), " was refused: ", response.status().message()));
      // Not even that: the heartbeats list the task no more, and so the coordinator takes it for lost.
      if (plain) break;
      *request.mutable_error() = Undelivered(request, work, response.status());
      plain = true;
    }
    if (PauseBefore(attempt + 1)) break;
  }
  absl::MutexLock lock(&mutex_);
  core_.TaskGone(task);
  if (auto node = threads_.extract(TaskKey(task.task_id(), task.attempt())); !node.empty()) {
    finished_.push_back(std::move(node.mapped()));
  }
  Changed();
}

bool WorkerAgent::Impl::PauseBefore(int attempt) {
  RetryPolicy policy;
  policy.initial_backoff = kFirstRetry;
  policy.max_backoff = kLongestRetry;
  absl::MutexLock lock(&mutex_);
  mutex_.AwaitWithTimeout(absl::Condition(&stopping_), policy.BackoffBefore(attempt, *rng_));
  return stopping_;
}

WorkerAgent::WorkerAgent(Options options, const ConnectorRegistry* connectors, CoordinatorClient* coordinator,
                         const Clock* clock, Rng* rng)
    : impl_(std::make_unique<Impl>(std::move(options), connectors, coordinator, clock, rng)) {}
WorkerAgent::~WorkerAgent() = default;
absl::Status WorkerAgent::Start() { return impl_->Start(); }
absl::Status WorkerAgent::Drain(absl::Duration deadline) { return impl_->Drain(deadline); }
void WorkerAgent::Stop() { impl_->Stop(); }
WorkerAgent::Usage WorkerAgent::usage() const { return impl_->usage(); }

}  // namespace tidemark
