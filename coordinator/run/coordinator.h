#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/rng.h"
#include "common/model/source_settings.h"
#include "coordinator/plan/partition_planner.h"
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
  // False: the runs that an earlier process left stay as they are, for another to take up, and none is started: such a
  // coordinator makes previews.
  bool resume = true;
  PlanLimits plan_limits;
};

struct RunRequest {
  // Makes StartRun idempotent: the same job and request id name one run. Empty: a new run every time.
  std::string request_id;
  // Replaces the target by what the source holds, and starts the job's chain anew.
  bool full_refresh = false;
  // A backfill of from < watermark <= to: both or neither. As a user writes them; the source reads them as its
  // watermark's type.
  std::optional<std::string> from;
  std::optional<std::string> to;
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
// it will not answer before someone has mended it. FailedPrecondition "leadership lost" means another coordinator has
// taken over: this one can change nothing any more.
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

  // Creates a run and returns its id; it starts at once, or when the job's earlier runs have ended (a job never runs
  // twice at the same time). NotFound: no such job. FailedPrecondition: the job has changed so that its chain cannot go
  // on; the message says what does (mostly --full-refresh).
  absl::StatusOr<std::string> StartRun(std::string_view job, const RunRequest& request);

  // Asks a worker what a run would do. Stores no run and no task; needs a permit of the source like any describe. The
  // preview is forgotten when WaitPreview has returned it.
  absl::StatusOr<std::string> StartPreview(std::string_view job, const RunRequest& request);
  // The preview, or why a run would fail, with the code of what went wrong (Unavailable: source or target cannot be
  // reached); DeadlineExceeded if `timeout` passed first.
  absl::StatusOr<Preview> WaitPreview(std::string_view preview_id, absl::Duration timeout);

  // Lets a worker connect, under the connection's limit, and ask the server who it is. NotFound: no such connection.
  // Unavailable: it cannot be reached; DeadlineExceeded: no worker has answered within `timeout`.
  absl::StatusOr<v1::TestResult> TestConnection(std::string_view connection, absl::Duration timeout);

  absl::StatusOr<RunRecord> GetRun(std::string_view id) const;
  absl::StatusOr<RunProgress> GetProgress(std::string_view id) const;
  // Ids of the job's runs that have not ended, oldest first; of all jobs if `job` is empty.
  std::vector<std::string> UnfinishedRuns(std::string_view job) const;

  // Stops the run's tasks and drops its staging; the run ends as cancelled soon after. FailedPrecondition: it has
  // ended, or its commit is under way. Idempotent.
  absl::Status CancelRun(std::string_view id);

  // How the store fails now; nothing while it takes what is written. A failure ends with the next write that succeeds,
  // and one is tried every third of the leader's lease at the least.
  std::optional<StoreFailure> store_failure() const;

  // Grows with every change. WaitForChange returns when it differs from `seen`, or after `timeout`.
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

 private:
  Coordinator(const Clock* clock, std::unique_ptr<CoordinatorCore> core);

  // Before every change: Unavailable after Shutdown, and for a moment after a store that took long to fail. All the
  // others who would write wait behind the one who does; they must have their turn to read, and to give up.
  absl::Status Ready() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Tells waiters; called after every change.
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
