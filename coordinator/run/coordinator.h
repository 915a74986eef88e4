#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/rng.h"
#include "common/model/source_settings.h"
#include "common/secret/sealing.h"
#include "coordinator/plan/partition_planner.h"
#include "coordinator/run/coordinator_observer.h"
#include "coordinator/store/metadata_store.h"
#include "coordinator/store/records.h"
#include "tidemark/v1/spec.pb.h"
#include "tidemark/v1/worker_control.pb.h"

namespace tidemark::coordinator {

class CoordinatorCore;

struct CoordinatorOptions {
  // Not owned; must outlive the coordinator.
  MetadataStore* store = nullptr;
  const Clock* clock = nullptr;
  Rng* rng = nullptr;
  // Name of this process in the leader's lease.
  std::string holder;
  // A worker that sends no heartbeat for this long has lost its tasks.
  absl::Duration lease = absl::Seconds(15);
  // The leader's own lease in the store, renewed at a third of it.
  absl::Duration leader_lease = absl::Seconds(15);
  // After its lease, a silent worker's sessions may live on in the source until the server-side timeouts set at opening
  // end them.
  absl::Duration server_side_timeouts = kServerSideTimeouts;
  // The workers live in this process (embedded cluster): what an earlier process left leased died with it, and its
  // sessions end within `dead_process_grace` (the server's client_connection_check_interval).
  bool workers_died_with_us = false;
  absl::Duration dead_process_grace = absl::Seconds(2);
  // Runs what the jobs' schedules ask for.
  bool schedule = false;
  // Seals the DSNs of connections, which then live in the store. Null: they live in memory alone, see ApplyProject.
  const Sealer* sealer = nullptr;
  // Null: nobody listens. Must outlive the coordinator.
  CoordinatorObserver* observer = nullptr;
  // False: the runs that an earlier process left stay as they are, for another to take up, and none is started: such a
  // coordinator makes previews.
  bool resume = true;
  PlanLimits plan_limits;
};

struct RunRequest {
  // Makes StartRun idempotent: the same job and request id name one run. Empty: a new run every time.
  std::string request_id = {};
  // Replaces the target by what the source holds, and starts the job's chain anew.
  bool full_refresh = false;
  // A backfill of from < watermark <= to: both or neither. As a user writes them; the source reads them as its
  // watermark's type.
  std::optional<std::string> from = {};
  std::optional<std::string> to = {};
  // For the audit; empty: not audited.
  std::string actor = {};
};

// What becomes of a job.
struct JobChange {
  v1::JobSpec spec = {};
  // Of the record that the change rests on; 0: whatever it is now.
  int64_t revision = 0;
  // Creates what is not there.
  bool allow_missing = false;
  // Says what would come of it, and changes nothing.
  bool validate_only = false;
  // Of a creation: asked for again, it returns what the first call made.
  std::string request_id = {};
  // For the audit.
  std::string actor = {};
};

// What becomes of a connection.
struct ConnectionChange {
  // A dsn that is empty stays what it is.
  v1::ConnectionSpec spec = {};
  // As in JobChange.
  int64_t revision = 0;
  bool allow_missing = false;
  bool validate_only = false;
  std::string request_id = {};
  std::string actor = {};
};

// How busy a connection is, over the whole cluster.
struct ConnectionUse {
  std::string name;
  int open_sessions = 0;
  int max_connections = 0;
  // 0: no limit.
  int64_t max_rows_per_second = 0;
};

// Where a job stands: what its runs change.
struct JobPosition {
  std::optional<v1::Watermark> last_watermark;
  bool adopting = false;
  int64_t revision = 0;
  // nullopt if the job is not scheduled.
  std::optional<absl::Time> next_fire;
};

// A job, for whoever shows how it stands.
struct JobView {
  std::string name;
  std::string uid;
  // The last watermark, where it is one.
  std::optional<absl::Time> watermark;
  // nullopt if the job is not scheduled.
  std::optional<absl::Time> next_fire;
};

struct WorkerView {
  enum class State { kReady, kDraining, kDrained, kLost };
  std::string id;
  State state = State::kReady;
  int slots = 0;
  int free_slots = 0;
  std::string version;
  int64_t memory_bytes = 0;
  int64_t spill_bytes = 0;
  absl::Time last_heartbeat;
};

struct ClusterView {
  int64_t epoch = 0;
  // That are neither lost nor drained.
  int workers = 0;
  int slots = 0;
  int free_slots = 0;
  int running_runs = 0;
  int queued_tasks = 0;
};

// What a run has done so far, tasks under way included.
struct RunProgress {
  std::string id;
  std::string job_name;
  RunStatus status = RunStatus::kRunning;
  RunPhase phase = RunPhase::kQueued;
  // 0 until the window is cut.
  int partitions = 0;
  int partitions_done = 0;
  int64_t rows_read = 0;
  // In staging or, once the run is done, in the target.
  int64_t rows_loaded = 0;
  int64_t bytes_read = 0;
  // -1: unknown.
  int64_t estimated_rows = -1;
  // Source sessions held now.
  int source_connections = 0;
  // Of the last failed attempt while it is retried, of the run once it failed.
  std::string error;
};

// The store has failed, and has not taken a write since.
struct StoreFailure {
  // Of the last attempt, whatever it was.
  absl::Status error;
  // Monotonic: when the first attempt failed.
  absl::Duration since;

  bool operator==(const StoreFailure&) const = default;
};

// What a run would do, found by a describe that changes nothing in source, target or the job's history.
struct Preview {
  v1::Window window;
  v1::DescribeResult description;
  // No ranges if the window is empty.
  Plan plan;
  // Of a connection's test: all there is.
  v1::TestResult test;
};

// Whether a worker that polls has to do anything about the answer; an empty one may be held back until it has.
bool SaysSomething(const v1::LeaseTasksResponse& response);

// The coordinator of a cluster: decides what runs, where, and on which source session; never touches data. Owns no
// thread: an adapter calls Tick at NextWake (see Ticker). Thread-safe.
//
// Everything is written to the store before it takes effect outside. Unavailable from any method means that the store
// did not answer and the call may be repeated; ResourceExhausted (the disk is full), PermissionDenied or DataLoss that
// it will not answer before someone has mended it. IsNotLeader means another coordinator has taken over: this one
// can change nothing any more.
class Coordinator {
 public:
  // Takes the leader's lease, then recovers what earlier leaders left unfinished. FailedPrecondition names the living
  // leader. Recovered runs go on as soon as ApplyProject has named their connections.
  static absl::StatusOr<std::unique_ptr<Coordinator>> Start(const CoordinatorOptions& options);
  ~Coordinator();

  const Clock& clock() const { return *clock_; }
  int64_t epoch() const;
  std::string cluster_id() const;

  // Replaces the connections, which are kept in memory alone since they hold secrets, and inserts or updates the jobs
  // by name; a job keeps its uid and watermark. Jobs that are not named stay as they are. InvalidArgument: a job names
  // an unknown connection, or two jobs name one target table.
  absl::Status ApplyProject(const std::vector<v1::ConnectionSpec>& connections, const std::vector<v1::JobSpec>& jobs);
  // Disables the jobs that are not among `jobs`, as their specifications would; returns the names of those that were
  // enabled. Named by ApplyProject again, they are what it says.
  absl::StatusOr<std::vector<std::string>> DisableOthers(const std::vector<v1::JobSpec>& jobs);

  // Jobs, one by one. Each returns the job as it is then. NotFound: no such job, unless it may be missing. Aborted: its
  // revision is another. AlreadyExists: from CreateJob, unless this very request made it. InvalidArgument: it cannot
  // live with the connections and jobs there are.
  absl::StatusOr<JobRecord> CreateJob(const JobChange& change);
  absl::StatusOr<JobRecord> UpdateJob(const JobChange& change);
  // The runs stay, and the target. FailedPrecondition while a run of it goes on; with `force` that is cancelled, and
  // DeadlineExceeded says that it has not ended in time: call again.
  absl::Status DeleteJob(std::string_view name, int64_t revision, bool force, const std::string& actor);
  // Pauses or resumes its schedule. Idempotent.
  absl::StatusOr<JobRecord> SetJobEnabled(std::string_view name, bool enabled, const std::string& actor);
  // Its next run takes the target over. FailedPrecondition while a run of it goes on.
  absl::StatusOr<JobRecord> AdoptJob(std::string_view name, const std::string& actor);

  // Connections, where they live in the store (FailedPrecondition elsewhere); as for jobs. FailedPrecondition from
  // DeleteConnection names the job that uses it.
  absl::StatusOr<ConnectionRecord> CreateConnection(const ConnectionChange& change);
  absl::StatusOr<ConnectionRecord> UpdateConnection(const ConnectionChange& change);
  // `spec` with the secrets that it leaves out, as UpdateConnection would take it: without a dsn it has that of the
  // connection of its name, and its replicas where it has none itself; an empty replica stands for the one in its
  // place. InvalidArgument: there is none in its place.
  absl::StatusOr<v1::ConnectionSpec> WithKnownSecrets(v1::ConnectionSpec spec) const;
  absl::Status DeleteConnection(std::string_view name, int64_t revision, const std::string& actor);
  // By name: how busy each is.
  std::vector<ConnectionUse> Connections() const;
  // The connections with their secrets unsealed, for whoever must judge a specification by them; by name.
  std::vector<v1::ConnectionSpec> ConnectionSpecs() const;

  // Creates a run and returns its id; it starts at once, or when the job's earlier runs have ended (a job never runs
  // twice at the same time). NotFound: no such job. FailedPrecondition: the job has changed so that its chain cannot go
  // on; the message says what does (mostly --full-refresh).
  absl::StatusOr<std::string> StartRun(std::string_view job, const RunRequest& request);

  // A new run over the window of one that failed. FailedPrecondition: it has not failed, or the job's watermark has
  // passed its window.
  absl::StatusOr<std::string> RetryRun(std::string_view id, const std::string& request_id, const std::string& actor);

  // Starts runs that triggers in the store ask for. Call it when the store has told of some, and until it says that
  // none are left: it takes a few at a time, lest workers wait for an answer. A trigger whose job is in trouble stays,
  // and its error is returned.
  absl::StatusOr<bool> TakeTriggers();

  // Asks a worker what a run would do. Stores no run and no task; needs a permit of the source like any describe. The
  // preview is forgotten when WaitPreview has returned it.
  absl::StatusOr<std::string> StartPreview(std::string_view job, const RunRequest& request);
  // The preview, or why a run would fail, with the code of what went wrong (Unavailable: source or target cannot be
  // reached); DeadlineExceeded if `timeout` passed first, Cancelled if `gone` said that nobody waits any more. It is
  // asked a few times a second and must call no coordinator.
  absl::StatusOr<Preview> WaitPreview(std::string_view preview_id, absl::Duration timeout,
                                      const std::function<bool()>& gone = {});

  // Lets a worker connect, under the connection's limit, and ask the server who it is. NotFound: no such connection.
  // Unavailable: it cannot be reached; DeadlineExceeded: no worker has answered within `timeout`. `gone` as for
  // WaitPreview.
  absl::StatusOr<v1::TestResult> TestConnection(std::string_view connection, absl::Duration timeout,
                                                const std::function<bool()>& gone = {});

  absl::StatusOr<RunRecord> GetRun(std::string_view id) const;
  absl::StatusOr<RunProgress> GetProgress(std::string_view id) const;
  // Ids of the job's runs that have not ended, oldest first; of all jobs if `job` is empty.
  std::vector<std::string> UnfinishedRuns(std::string_view job) const;

  // Stops the run's tasks and drops its staging; the run ends as cancelled soon after. FailedPrecondition: it has
  // ended, or its commit is under way. Idempotent.
  absl::Status CancelRun(std::string_view id, const std::string& actor = "");

  // It gets no new task from now on. Idempotent; a worker that starts anew is ready again. NotFound: no such worker.
  absl::StatusOr<WorkerView> DrainWorker(std::string_view id, const std::string& actor);
  // By id, those lost in the last hour included.
  std::vector<WorkerView> Workers() const;
  ClusterView Cluster() const;
  // nullopt if the job is not scheduled.
  std::optional<absl::Time> NextFireOf(std::string_view job_uid) const;
  // In no order.
  std::vector<JobView> Jobs() const;
  // By uid; jobs that are not there are left out.
  std::map<std::string, JobPosition> PositionsOf(const std::vector<std::string>& job_uids) const;

  // How the store fails now; nothing while it takes what is written. A failure ends with the next write that succeeds,
  // and one is tried every third of the leader's lease at the least.
  std::optional<StoreFailure> store_failure() const;

  // Grows with every change but the progress of tasks. WaitForChange returns when it differs from `seen`, or after
  // `timeout`.
  uint64_t version() const;
  uint64_t WaitForChange(uint64_t seen, absl::Duration timeout) const;

  // Does what is due: expired leases, retries, horizon waits, permits known gone, the leader's own lease.
  absl::Status Tick();
  // When Tick has something to do next, from now; never more than the leader's lease allows.
  absl::Duration NextWake() const;

  // WorkerControlService, without its waiting: LeaseTasks answers at once, maybe with nothing. FailedPrecondition from
  // LeaseTasks or CompleteTask: the incarnation is not known (register again), or the attempt is stale.
  absl::StatusOr<v1::RegisterResponse> Register(const v1::RegisterRequest& request);
  absl::StatusOr<v1::LeaseTasksResponse> LeaseTasks(const v1::LeaseTasksRequest& request);
  absl::StatusOr<v1::HeartbeatResponse> Heartbeat(const v1::HeartbeatRequest& request);
  absl::StatusOr<v1::CompleteTaskResponse> CompleteTask(const v1::CompleteTaskRequest& request);

  // Gives the leader's lease back and wakes every waiter. Unfinished runs stay as they are for the next leader. Later
  // calls answer Unavailable.
  void Shutdown();
  bool shut_down() const;
  // Another coordinator has taken over: for good.
  bool deposed() const;

 private:
  Coordinator(const Clock* clock, std::unique_ptr<CoordinatorCore> core);

  // Does `step` of the core, and tells waiters.
  template <class Step>
  auto Change(Step step) -> decltype(step(std::declval<CoordinatorCore&>()));

  // The same for a step that mostly finds nothing to change: it tells waiters only if it did, for it must not wake
  // those who would find nothing either.
  template <class Step>
  auto ChangeIfAny(Step step) -> decltype(step(std::declval<CoordinatorCore&>()));

  // Waits for the end of the job's runs that have been cancelled.
  absl::Status AwaitEndOfRuns(std::string_view job);

  // Before every change: Unavailable after Shutdown, and for a moment after a store that took long to fail. All the
  // others who would write wait behind the one who does; they must have their turn to read, and to give up.
  absl::Status Ready() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Tells waiters.
  void Changed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Waits for the next change. False if `deadline` (monotonic) has passed.
  bool Wait(absl::Duration deadline) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Clock* const clock_;
  mutable absl::Mutex mutex_;
  mutable absl::CondVar changed_;
  const std::unique_ptr<CoordinatorCore> core_ ABSL_PT_GUARDED_BY(mutex_);
  uint64_t version_ ABSL_GUARDED_BY(mutex_) = 1;
  bool shut_down_ ABSL_GUARDED_BY(mutex_) = false;
  // Monotonic: when the change under way began, and until when the store is left alone.
  absl::Duration began_ ABSL_GUARDED_BY(mutex_);
  absl::Duration rest_until_ ABSL_GUARDED_BY(mutex_) = -absl::InfiniteDuration();
};

}  // namespace tidemark::coordinator
