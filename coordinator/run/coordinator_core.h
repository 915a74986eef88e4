#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/dispatch/dispatcher.h"
#include "coordinator/dispatch/rate_budget.h"
#include "coordinator/dispatch/worker_directory.h"
#include "coordinator/run/cluster_state.h"
#include "coordinator/run/coordinator.h"
#include "coordinator/run/run_controller.h"
#include "coordinator/schedule/scheduler.h"

namespace tidemark::coordinator {

// How long a worker that was lost is still shown.
inline constexpr absl::Duration kLostShown = absl::Hours(1);

// The coordinator without threads: every method is a step that reads clock and store, decides, stores, and returns what
// others must be told. Not thread-safe. See Coordinator for what the methods promise.
class CoordinatorCore {
 public:
  static absl::StatusOr<std::unique_ptr<CoordinatorCore>> Start(const CoordinatorOptions& options);

  int64_t epoch() const { return state_.epoch(); }
  const std::string& cluster_id() const { return state_.cluster_id(); }

  absl::Status ApplyProject(const std::vector<v1::ConnectionSpec>& connections, const std::vector<v1::JobSpec>& jobs);
  absl::StatusOr<std::vector<std::string>> DisableOthers(const std::vector<v1::JobSpec>& jobs);

  absl::StatusOr<JobRecord> CreateJob(const JobChange& change);
  absl::StatusOr<JobRecord> UpdateJob(const JobChange& change);
  // Cancels the job's runs but for those that are being committed, which end by themselves. NotFound, Aborted: as for
  // DeleteJob, and none is cancelled.
  absl::Status CancelRunsOf(std::string_view name, int64_t revision, const std::string& actor);
  // FailedPrecondition while a run of it goes on.
  absl::Status DeleteJob(std::string_view name, int64_t revision, const std::string& actor);
  absl::StatusOr<JobRecord> SetJobEnabled(std::string_view name, bool enabled, const std::string& actor);
  absl::StatusOr<JobRecord> AdoptJob(std::string_view name, const std::string& actor);
  absl::StatusOr<ConnectionRecord> CreateConnection(const ConnectionChange& change);
  absl::StatusOr<ConnectionRecord> UpdateConnection(const ConnectionChange& change);
  absl::StatusOr<v1::ConnectionSpec> WithKnownSecrets(v1::ConnectionSpec spec) const;
  absl::Status DeleteConnection(std::string_view name, int64_t revision, const std::string& actor);

  absl::StatusOr<std::string> StartRun(std::string_view job, const RunRequest& request);
  absl::StatusOr<std::string> RetryRun(std::string_view id, const std::string& request_id, const std::string& actor);
  absl::StatusOr<bool> TakeTriggers();
  absl::StatusOr<std::string> StartPreview(std::string_view job, const RunRequest& request);
  // A preview that says nothing but who the server is.
  absl::StatusOr<std::string> StartConnectionTest(std::string_view connection);
  // Nothing while the preview is under way. What it returns is forgotten. NotFound: no such preview.
  absl::StatusOr<std::optional<absl::StatusOr<Preview>>> TakePreview(std::string_view id);
  absl::StatusOr<RunRecord> GetRun(std::string_view id) const;
  absl::StatusOr<RunProgress> GetProgress(std::string_view id) const;
  std::vector<std::string> UnfinishedRuns(std::string_view job) const;
  absl::Status CancelRun(std::string_view id, const std::string& actor = "");

  absl::StatusOr<WorkerView> DrainWorker(std::string_view id, const std::string& actor);
  std::vector<WorkerView> Workers() const;
  ClusterView Cluster() const;
  std::vector<ConnectionUse> Connections() const;
  std::vector<JobView> Jobs() const;
  std::map<std::string, JobPosition> PositionsOf(const std::vector<std::string>& job_uids) const;
  std::vector<v1::ConnectionSpec> ConnectionSpecs() const;
  bool deposed() const { return state_.deposed(); }
  std::optional<absl::Time> NextFireOf(std::string_view job_uid) const { return scheduler_.NextFireOf(job_uid); }

  // Grows with whatever a worker's polls and heartbeats can change, but for the progress of tasks.
  int64_t version() const { return state_.version() + rates_.version() + drained_; }

  std::optional<StoreFailure> store_failure() const { return state_.store_failure(); }

  absl::Status Tick();
  absl::Duration NextWake() const;

  absl::StatusOr<v1::RegisterResponse> Register(const v1::RegisterRequest& request);
  absl::StatusOr<v1::LeaseTasksResponse> LeaseTasks(const v1::LeaseTasksRequest& request);
  absl::StatusOr<v1::HeartbeatResponse> Heartbeat(const v1::HeartbeatRequest& request);
  absl::StatusOr<v1::CompleteTaskResponse> CompleteTask(const v1::CompleteTaskRequest& request);

  void Resign() { state_.Resign(); }

  // For tests: what the budgets hold.
  const ConnectionBudget& budget() const { return state_.budget(); }
  const RateBudget& rates() const { return rates_; }

 private:
  explicit CoordinatorCore(const CoordinatorOptions& options);

  // -- coordinator_core.cc: the life of runs
  // Takes the lease, and up what the leader before left.
  absl::Status Lead();
  absl::Status Recover();
  // Before every decision: what a write left in doubt is read anew, connections and schedules included.
  absl::Status Refresh();
  Moment Now() const;
  AuditEvent Audit(std::string actor, std::string action, std::string subject, std::string detail = "") const;
  absl::Status RenewIfDue();
  RunController::Context ContextOf(const RunState& state) const;
  absl::StatusOr<v1::Window> WindowOf(const JobRecord& job, const RunRequest& request) const;
  // Stores the change and does what follows from it.
  absl::Status Store(RunChange& change);
  absl::Status RaiseEpoch(RunState& state, int64_t at_least);
  // Takes the runs on that can go on by themselves; after every event.
  absl::Status Settle();
  absl::Status SettleOnce(bool& again);
  absl::Status SettleRun(RunState& state, bool& again);
  // Begins queued runs whose turn it is: as many as the source might serve at once wait for their first session. So the
  // dispatcher always sees who waits, and any number of runs in line cost nothing.
  absl::Status BeginQueued(bool& again);
  absl::Status Begin(RunState& state, bool& again);
  // The oldest of those who stand in these connections' lines; null if there is none.
  RunState* NextInTurn(const std::vector<std::string>& connections) const;
  // It waits for a session to go on, and has none.
  bool WantsFirstSession(const RunState& state) const;
  // What one step of a run came to: OK, too, if the trouble is the run's own, which stops it.
  absl::Status StopIfItsOwn(RunState& state, const absl::Status& settled, bool& again);
  static std::string NoConnections(const RunState& state);
  // Ends the run as failed, with its staging left behind: nothing of it can go on.
  absl::Status GiveUp(RunState& state, const std::string& why);
  absl::Status CheckSnapshot(RunState& state, bool& again);
  void SweepEnded();
  bool ConnectionsKnown(const RunState& state) const;

  absl::StatusOr<RunRecord> NewRun(const JobRecord& job, const RunRequest& request) const;
  // The run of the job that was asked for by this id; absent if there is none, or no id.
  absl::StatusOr<std::optional<RunRecord>> EarlierRun(std::string_view job_uid, std::string_view request_id) const;
  absl::StatusOr<std::string> AddRun(std::string_view job, const RunRequest& request, const std::string& retry_of);

  // -- definitions.cc: jobs and connections
  absl::StatusOr<JobRecord> PutJob(const JobRecord* stored, const JobChange& change);
  // NotFound, or Aborted if its revision is another; 0: any is right.
  absl::StatusOr<const JobRecord*> StoredJob(std::string_view name, int64_t revision) const;
  absl::StatusOr<JobRecord> WriteJob(JobRecord job, const std::string& actor, const std::string& action);
  // Writes a batch with jobs, and schedules them as they are then.
  absl::Status WriteJobs(WriteBatch batch);
  // FailedPrecondition, naming what cannot be done ("deleted"), while a run of the job goes on.
  absl::Status NoneUnfinished(const JobRecord& job, std::string_view what) const;
  absl::StatusOr<ConnectionRecord> PutConnection(const ConnectionRecord* stored, const ConnectionChange& change);
  absl::Status CheckConnection(const v1::ConnectionSpec& spec) const;
  absl::Status NeedsSealer() const;
  // Those of the store, opened. FailedPrecondition names a key that is missing.
  absl::StatusOr<std::vector<v1::ConnectionSpec>> StoredConnections() const;
  absl::Status ReadConnections();
  void SetConnections(const std::vector<v1::ConnectionSpec>& connections);

  // -- schedule_runs.cc
  struct DueFire {
    std::string uid;
    absl::Time time;
  };
  // After a change of the job's definition; fires up to `after` are done with.
  void Reschedule(const JobRecord& job, absl::Time after);
  absl::Status ScheduleJobs();
  // Takes new fires over into due_.
  void TakeFires();
  absl::Status FireDue();
  absl::Status MakeRuns(const std::vector<DueFire>& fires);
  // Takes those out of the first `count` of due_ whose runs are stored.
  absl::Status ForgetMade(size_t count);

  // -- horizon_waits.cc
  absl::Status SettleHorizons(bool& again);
  absl::Status HorizonReported(RunState& state, const TaskRecord& task, const v1::HorizonResult& result);

  // -- worker_calls.cc
  WorkerView ViewOf(const Worker& worker, WorkerView::State state) const;
  WorkerView ViewOf(const Worker& worker) const;
  int LeasedTo(const Worker& worker) const;
  absl::StatusOr<Worker*> KnownWorker(std::string_view id, std::string_view incarnation);
  absl::Status Assign(Worker& worker, v1::LeaseTasksResponse& response);
  absl::Status Lease(Worker& worker, const TaskOffer& offer, const Assignment& assignment,
                     v1::LeaseTasksResponse& response);
  void NoteProgress(const Worker& worker, const v1::HeartbeatRequest& request);
  absl::Status TakeBackUnreceived(const Worker& worker, const v1::HeartbeatRequest& request);
  // A session that nobody reads on, and that the worker does not list, is asked to be closed, so that the worker says
  // that it is: its task was taken back, whether or not that was answered, before it was opened.
  void CloseUnheld(const Worker& worker, const v1::HeartbeatRequest& request);
  absl::Status Report(RunState& state, const TaskRecord& task, const v1::CompleteTaskRequest& request);
  // The worker's process is gone or silent.
  absl::Status LoseWorker(const Worker& worker);
  absl::Status LoseTask(RunState& state, const std::string& task_id, bool counts_as_failure);

  // -- sessions.cc
  std::vector<TaskOffer> Offers() const;
  void AddOffer(const RunState& state, std::vector<TaskOffer>& offers) const;
  // Where the run's next task of the kind may open a session: any of these serves as well as the others.
  std::vector<std::string> ServersFor(const RunState& state, v1::TaskKind kind) const;
  // For the user: what the run was read from.
  void NoteServer(RunChange& change, const std::string& connection, const std::string& server) const;
  void NoteFailureOn(RunState& state, const TaskRecord& task, const v1::TaskError& error);
  void NoteLag(const RunState& state, const TaskRecord& task, absl::Duration lag);
  // As if the server were its only one.
  static v1::ConnectionSpec AtServer(const v1::ConnectionSpec& connection, std::string_view server);
  absl::Status TakeSessionStates(const google::protobuf::RepeatedPtrField<v1::SessionState>& sessions,
                                 std::string_view finished_task);
  absl::Status DropPermits(const std::vector<std::string>& sessions);
  void CloseUnneededSessions();
  // Its worker is to get nothing new.
  bool Draining(const Permit& permit) const;
  // What the run's other sessions are to its snapshot: one of a worker that goes on is inside it for certain, or one is
  // perhaps just importing it, or neither.
  enum class SnapshotElsewhere { kHeld, kBeingImported, kNowhere };
  SnapshotElsewhere FindSnapshotElsewhere(const RunState& state, const Permit& permit) const;
  // Some worker could open a session to import its snapshot, now or once the run has given back another.
  bool MayBeImported(const Permit& permit) const;
  bool SessionNeeded(const Permit& permit, const std::vector<TaskOffer>& offers) const;
  // A leased task reads on the session.
  const TaskRecord* ReaderOf(const Permit& permit, std::string_view finished_task) const;
  std::vector<std::string> SessionsToClose(const Worker& worker) const;
  void ObserveRates();
  int SnapshotHolders(const RunState& state) const;

  const CoordinatorOptions options_;
  ClusterState state_;
  RunController controller_;
  WorkerDirectory workers_;
  Dispatcher dispatcher_;
  RateBudget rates_;
  Scheduler scheduler_;
  // Given out by the scheduler, and not stored yet.
  std::deque<DueFire> due_;
  bool connections_known_ = false;
  // What is known of connections and schedules may not be what is stored.
  bool definitions_in_doubt_ = false;
  absl::Duration next_renewal_;
  // By id: workers whose lease ran out.
  std::map<std::string, WorkerView, std::less<>> lost_workers_;
  std::map<std::string, absl::StatusOr<Preview>, std::less<>> previews_;
  // Sessions that rows are read on.
  std::set<std::string, std::less<>> reading_sessions_;
  // By leased task: since when (monotonic), and how many heartbeats in a row did not list it.
  struct Receipt {
    absl::Duration leased_at;
    int missing = 0;
  };
  std::map<std::string, Receipt, std::less<>> receipts_;
  // By replica: monotonic time until which it is left alone.
  std::map<std::string, absl::Duration, std::less<>> unfit_until_;
  // Cancelled attempts that heartbeats have shown to be over.
  int64_t drained_ = 0;
  // Runs whose new epoch could not be had yet; they wait for it. Run id to the epoch to surpass.
  std::map<std::string, int64_t, std::less<>> raises_;
};

// Identity of a worker's incarnation in the rate budget.
std::string RateKey(std::string_view worker_id, std::string_view incarnation);

// RunRecord::run_key of a run that was asked for, and of one of the schedule. No request id makes the key of a fire.
std::string RequestKey(std::string_view job_uid, std::string_view request_id);
std::string FireKey(std::string_view job_uid, absl::Time fire_time);

// InvalidArgument if it is longer than every store can look up.
absl::Status CheckRequestId(std::string_view request_id);

}  // namespace tidemark::coordinator
