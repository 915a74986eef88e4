#include "coordinator/run/coordinator.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "coordinator/run/coordinator_core.h"

namespace tidemark::coordinator {
namespace {

// A change that takes this long and leaves the store failing was held up by it.
constexpr absl::Duration kSlowFailure = absl::Seconds(1);
constexpr absl::Duration kRest = absl::Seconds(1);
// How long a call waits for the runs it has cancelled: less than its caller, who gives it thirty seconds mostly.
constexpr absl::Duration kCancelPatience = absl::Seconds(20);
// How soon it is seen that the caller has gone.
constexpr absl::Duration kSlice = absl::Milliseconds(250);

absl::Status ShutDownError() { return absl::UnavailableError("the coordinator is shut down"); }

}  // namespace

bool SaysSomething(const v1::LeaseTasksResponse& response) {
  return response.tasks_size() > 0 || response.close_sessions_size() > 0 || response.cancel_tasks_size() > 0 ||
         response.rate_shares_size() > 0;
}

absl::StatusOr<std::unique_ptr<Coordinator>> Coordinator::Start(const CoordinatorOptions& options) {
  absl::StatusOr<std::unique_ptr<CoordinatorCore>> core = CoordinatorCore::Start(options);
  if (!core.ok()) return core.status();
  return std::unique_ptr<Coordinator>(new Coordinator(options.clock, *std::move(core)));
}

Coordinator::Coordinator(const Clock* clock, std::unique_ptr<CoordinatorCore> core)
    : clock_(clock), core_(std::move(core)) {}

Coordinator::~Coordinator() { Shutdown(); }

absl::Status Coordinator::Ready() {
  if (shut_down_) return ShutDownError();
  began_ = clock_->Monotonic();
  if (began_ >= rest_until_) return absl::OkStatus();
  return absl::UnavailableError("the metadata store fails, and is tried again in a moment");
}

void Coordinator::Changed() {
  const absl::Duration now = clock_->Monotonic();
  if (core_->store_failure().has_value() && now - began_ >= kSlowFailure) rest_until_ = now + kRest;
  ++version_;
  changed_.SignalAll();
}

template <class Step>
auto Coordinator::Change(Step step) -> decltype(step(std::declval<CoordinatorCore&>())) {
  absl::MutexLock lock(&mutex_);
  TM_RETURN_IF_ERROR(Ready());
  auto result = step(*core_);
  Changed();
  return result;
}

template <class Step>
auto Coordinator::ChangeIfAny(Step step) -> decltype(step(std::declval<CoordinatorCore&>())) {
  absl::MutexLock lock(&mutex_);
  TM_RETURN_IF_ERROR(Ready());
  const int64_t before = core_->version();
  auto result = step(*core_);
  if (!result.ok() || core_->version() != before) Changed();
  return result;
}

bool Coordinator::Wait(absl::Duration deadline) const {
  const absl::Duration left = deadline - clock_->Monotonic();
  if (left <= absl::ZeroDuration()) return false;
  changed_.WaitWithTimeout(&mutex_, left);
  return true;
}

int64_t Coordinator::epoch() const {
  absl::MutexLock lock(&mutex_);
  return core_->epoch();
}

std::string Coordinator::cluster_id() const {
  absl::MutexLock lock(&mutex_);
  return core_->cluster_id();
}

absl::Status Coordinator::ApplyProject(const std::vector<v1::ConnectionSpec>& connections,
                                       const std::vector<v1::JobSpec>& jobs) {
  return Change([&](CoordinatorCore& core) { return core.ApplyProject(connections, jobs); });
}

absl::StatusOr<std::vector<std::string>> Coordinator::DisableOthers(const std::vector<v1::JobSpec>& jobs) {
  return Change([&](CoordinatorCore& core) { return core.DisableOthers(jobs); });
}

absl::StatusOr<JobRecord> Coordinator::CreateJob(const JobChange& change) {
  return Change([&](CoordinatorCore& core) { return core.CreateJob(change); });
}

absl::StatusOr<JobRecord> Coordinator::UpdateJob(const JobChange& change) {
  return Change([&](CoordinatorCore& core) { return core.UpdateJob(change); });
}

absl::Status Coordinator::DeleteJob(std::string_view name, int64_t revision, bool force, const std::string& actor) {
  if (force) {
    TM_RETURN_IF_ERROR(Change([&](CoordinatorCore& core) { return core.CancelRunsOf(name, revision, actor); }));
    TM_RETURN_IF_ERROR(AwaitEndOfRuns(name));
  }
  return Change([&](CoordinatorCore& core) { return core.DeleteJob(name, revision, actor); });
}

absl::Status Coordinator::AwaitEndOfRuns(std::string_view job) {
  const absl::Duration deadline = clock_->Monotonic() + kCancelPatience;
  absl::MutexLock lock(&mutex_);
  while (!core_->UnfinishedRuns(job).empty()) {
    if (shut_down_) return ShutDownError();
    if (!Wait(deadline)) {
      return absl::DeadlineExceededError(
          absl::StrCat("a run of job ", Abs(job), " is still being cancelled: call again"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<JobRecord> Coordinator::SetJobEnabled(std::string_view name, bool enabled, const std::string& actor) {
  return Change([&](CoordinatorCore& core) { return core.SetJobEnabled(name, enabled, actor); });
}

absl::StatusOr<JobRecord> Coordinator::AdoptJob(std::string_view name, const std::string& actor) {
  return Change([&](CoordinatorCore& core) { return core.AdoptJob(name, actor); });
}

absl::StatusOr<ConnectionRecord> Coordinator::CreateConnection(const ConnectionChange& change) {
  return Change([&](CoordinatorCore& core) { return core.CreateConnection(change); });
}

absl::StatusOr<ConnectionRecord> Coordinator::UpdateConnection(const ConnectionChange& change) {
  return Change([&](CoordinatorCore& core) { return core.UpdateConnection(change); });
}

absl::StatusOr<v1::ConnectionSpec> Coordinator::WithKnownSecrets(v1::ConnectionSpec spec) const {
  absl::MutexLock lock(&mutex_);
  return core_->WithKnownSecrets(std::move(spec));
}

absl::Status Coordinator::DeleteConnection(std::string_view name, int64_t revision, const std::string& actor) {
  return Change([&](CoordinatorCore& core) { return core.DeleteConnection(name, revision, actor); });
}

std::vector<ConnectionUse> Coordinator::Connections() const {
  absl::MutexLock lock(&mutex_);
  return core_->Connections();
}

std::vector<v1::ConnectionSpec> Coordinator::ConnectionSpecs() const {
  absl::MutexLock lock(&mutex_);
  return core_->ConnectionSpecs();
}

absl::StatusOr<std::string> Coordinator::StartRun(std::string_view job, const RunRequest& request) {
  return Change([&](CoordinatorCore& core) { return core.StartRun(job, request); });
}

absl::StatusOr<std::string> Coordinator::RetryRun(std::string_view id, const std::string& request_id,
                                                  const std::string& actor) {
  return Change([&](CoordinatorCore& core) { return core.RetryRun(id, request_id, actor); });
}

absl::StatusOr<bool> Coordinator::TakeTriggers() {
  return Change([](CoordinatorCore& core) { return core.TakeTriggers(); });
}

absl::StatusOr<std::string> Coordinator::StartPreview(std::string_view job, const RunRequest& request) {
  return Change([&](CoordinatorCore& core) { return core.StartPreview(job, request); });
}

absl::StatusOr<Preview> Coordinator::WaitPreview(std::string_view preview_id, absl::Duration timeout,
                                                 const std::function<bool()>& gone) {
  const absl::Duration deadline = clock_->Monotonic() + timeout;
  absl::MutexLock lock(&mutex_);
  while (true) {
    if (shut_down_) return ShutDownError();
    absl::StatusOr<std::optional<absl::StatusOr<Preview>>> preview = core_->TakePreview(preview_id);
    if (!preview.ok()) return preview.status();
    if (preview->has_value()) return **std::move(preview);
    const bool left = gone && gone();
    if (left || clock_->Monotonic() >= deadline) {
      // Nobody would take it any more.
      (void)core_->CancelRun(preview_id);
      (void)core_->TakePreview(preview_id);
      Changed();
      if (left) return absl::CancelledError("the caller has gone");
      return absl::DeadlineExceededError(absl::StrCat("no worker has answered within ", absl::FormatDuration(timeout)));
    }
    Wait(std::min(deadline, clock_->Monotonic() + kSlice));
  }
}

absl::StatusOr<v1::TestResult> Coordinator::TestConnection(std::string_view connection, absl::Duration timeout,
                                                           const std::function<bool()>& gone) {
  TM_ASSIGN_OR_RETURN(const std::string id,
                      Change([&](CoordinatorCore& core) { return core.StartConnectionTest(connection); }));
  TM_ASSIGN_OR_RETURN(Preview preview, WaitPreview(id, timeout, gone));
  return std::move(preview.test);
}

absl::StatusOr<RunRecord> Coordinator::GetRun(std::string_view id) const {
  absl::MutexLock lock(&mutex_);
  return core_->GetRun(id);
}

absl::StatusOr<RunProgress> Coordinator::GetProgress(std::string_view id) const {
  absl::MutexLock lock(&mutex_);
  return core_->GetProgress(id);
}

std::vector<std::string> Coordinator::UnfinishedRuns(std::string_view job) const {
  absl::MutexLock lock(&mutex_);
  return core_->UnfinishedRuns(job);
}

absl::Status Coordinator::CancelRun(std::string_view id, const std::string& actor) {
  return Change([&](CoordinatorCore& core) { return core.CancelRun(id, actor); });
}

absl::StatusOr<WorkerView> Coordinator::DrainWorker(std::string_view id, const std::string& actor) {
  return Change([&](CoordinatorCore& core) { return core.DrainWorker(id, actor); });
}

std::vector<WorkerView> Coordinator::Workers() const {
  absl::MutexLock lock(&mutex_);
  return core_->Workers();
}

ClusterView Coordinator::Cluster() const {
  absl::MutexLock lock(&mutex_);
  return core_->Cluster();
}

std::optional<absl::Time> Coordinator::NextFireOf(std::string_view job_uid) const {
  absl::MutexLock lock(&mutex_);
  return core_->NextFireOf(job_uid);
}

std::map<std::string, JobPosition> Coordinator::PositionsOf(const std::vector<std::string>& job_uids) const {
  absl::MutexLock lock(&mutex_);
  return core_->PositionsOf(job_uids);
}

std::vector<JobView> Coordinator::Jobs() const {
  absl::MutexLock lock(&mutex_);
  return core_->Jobs();
}

bool Coordinator::deposed() const {
  absl::MutexLock lock(&mutex_);
  return core_->deposed();
}

std::optional<StoreFailure> Coordinator::store_failure() const {
  absl::MutexLock lock(&mutex_);
  return core_->store_failure();
}

uint64_t Coordinator::version() const {
  absl::MutexLock lock(&mutex_);
  return version_;
}

uint64_t Coordinator::WaitForChange(uint64_t seen, absl::Duration timeout) const {
  const absl::Duration deadline = clock_->Monotonic() + timeout;
  absl::MutexLock lock(&mutex_);
  while (version_ == seen && !shut_down_ && Wait(deadline)) {
  }
  return version_;
}

absl::Status Coordinator::Tick() {
  return Change([](CoordinatorCore& core) { return core.Tick(); });
}

absl::Duration Coordinator::NextWake() const {
  absl::MutexLock lock(&mutex_);
  return core_->NextWake();
}

absl::StatusOr<v1::RegisterResponse> Coordinator::Register(const v1::RegisterRequest& request) {
  return Change([&](CoordinatorCore& core) { return core.Register(request); });
}

absl::StatusOr<v1::LeaseTasksResponse> Coordinator::LeaseTasks(const v1::LeaseTasksRequest& request) {
  return ChangeIfAny([&](CoordinatorCore& core) { return core.LeaseTasks(request); });
}

absl::StatusOr<v1::HeartbeatResponse> Coordinator::Heartbeat(const v1::HeartbeatRequest& request) {
  return ChangeIfAny([&](CoordinatorCore& core) { return core.Heartbeat(request); });
}

absl::StatusOr<v1::CompleteTaskResponse> Coordinator::CompleteTask(const v1::CompleteTaskRequest& request) {
  return Change([&](CoordinatorCore& core) { return core.CompleteTask(request); });
}

void Coordinator::Shutdown() {
  absl::MutexLock lock(&mutex_);
  if (shut_down_) return;
  shut_down_ = true;
  core_->Resign();
  Changed();
}

bool Coordinator::shut_down() const {
  absl::MutexLock lock(&mutex_);
  return shut_down_;
}

}  // namespace tidemark::coordinator
