#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "tidemark/v1/spec.pb.h"
#include "tidemark/v1/values.pb.h"
#include "tidemark/v1/worker_control.pb.h"

namespace tidemark::coordinator {

// Rows of the metadata store. `revision` counts the writes of a row: 0 in a record that is not stored yet; a write
// names the revision it read and loses against any write in between. Times and durations are kept to the microsecond.

struct JobRecord {
  int64_t id = 0;  // Surrogate, given by the store.
  std::string uid;
  v1::JobSpec spec;
  std::optional<v1::Watermark> last_watermark;
  bool enabled = true;
  // Sequence of the newest run in the job's ledger chain.
  int64_t last_sequence = 0;
  // Identity of the source when last_watermark was committed.
  std::string source_identity;
  absl::Time created;
  absl::Time updated;
  // The schedule's fires before it are nobody's business. Set at creation, at resume and when the schedule changes.
  absl::Time scheduled_from = absl::InfinitePast();
  // Of the request that created it; may be empty.
  std::string request_id;
  // The next run takes the target over as it stands, and goes on from its ledger.
  bool adopting = false;
  int64_t revision = 0;
};

struct ConnectionRecord {
  std::string name;
  // dsn and replicas are sealed text.
  v1::ConnectionSpec spec;
  // For people.
  std::string redacted_dsn;
  // Of the request that created it; may be empty.
  std::string request_id;
  absl::Time created;
  absl::Time updated;
  int64_t revision = 0;
};

enum class RunStatus { kRunning, kSuccess, kFailed, kSkipped };

// The detail of RunStatus. Queued to Committing are kRunning.
enum class RunPhase {
  kQueued,
  kDescribing,
  kWaiting,  // for the horizon to pass the trigger
  kMoving,
  kCommitting,
  kAborting,  // failed or cancelled; staging is being dropped
  kDone,
  kFailed,
  kCancelled,
  kSuperseded,
  kSkipped,
};

struct RunRecord {
  std::string id;
  std::string job_uid;
  std::string job_name;
  // Unique: (job, fire time) or (job, request id).
  std::string run_key;
  // When the schedule asked for it; absent: a request did.
  std::optional<absl::Time> fire_time;
  // Id of the run it tries again; may be empty.
  std::string retry_of;
  RunStatus status = RunStatus::kRunning;
  RunPhase phase = RunPhase::kQueued;
  absl::Time created;
  std::optional<absl::Time> started;
  std::optional<absl::Time> ended;
  // kind and low from the start; high is watermark_snapshot, stored before any row is read.
  v1::Window window;
  // The job as it was when the run was created.
  v1::JobSpec spec;
  int64_t sequence = 0;
  std::optional<v1::DescribeResult> description;
  v1::RowCounts counts;
  int partitions = 0;
  // Most source sessions the run held at once.
  int peak_source_connections = 0;
  absl::Duration describe_time = absl::ZeroDuration();
  absl::Duration wait_time = absl::ZeroDuration();
  absl::Duration move_time = absl::ZeroDuration();
  absl::Duration commit_time = absl::ZeroDuration();
  std::string error;
  int64_t revision = 0;
};

// The run has moved its job's chain: a success that wrote a window or a full load into the target's ledger. A window
// that was empty wrote nothing, and a backfill stands apart.
bool MovedChain(const RunRecord& run);

enum class TaskState { kQueued, kLeased, kSucceeded, kFailed, kCancelled };

struct TaskRecord {
  std::string id;
  std::string run_id;
  v1::TaskKind kind = v1::TASK_KIND_UNSPECIFIED;
  // MOVE: the partition and its range.
  int partition = -1;
  v1::KeyRange range;
  TaskState state = TaskState::kQueued;
  // Counts leases; 0 before the first.
  int64_t attempt = 0;
  // Attempts that failed for a reason that counts against the job's retry budget.
  int failures = 0;
  absl::Time not_before = absl::InfinitePast();
  std::string worker_id;
  std::string incarnation;
  std::string session_id;
  // The last row is in the worker's spill.
  bool extracted = false;
  v1::RowCounts counts;
  std::string error;
  int64_t revision = 0;
};

// One source session, granted: it counts against its connection's limit from the grant until it is known gone.
struct PermitRecord {
  std::string session_id;
  std::string connection;
  // Of the server and database it was granted for, wherever the connection leads now; empty, then those of its
  // connection, in permits that were stored before this was.
  std::string identity;
  std::string run_id;
  std::string worker_id;
  std::string incarnation;
  // The session is inside its run's snapshot.
  bool in_snapshot = false;
  absl::Time granted;
  int64_t revision = 0;
};

// A request for a run that any process, or a person with SQL, leaves in the store. The leader takes it up and drops it.
struct TriggerRecord {
  std::string id;
  std::string job_name;
  // May be empty.
  std::string request_id;
  bool full_refresh = false;
  // Both: a backfill of the rows low < watermark <= high.
  std::optional<std::string> low;
  std::optional<std::string> high;
  // By the asker's clock; InfinitePast if what stands in the table is no time.
  absl::Time requested;
};

// Moves a job's watermark from `low` (absent: none yet) to `high` for a run that the target's ledger holds. Aborted if
// the job's last watermark is not `low`: the watermark only rises, one run at a time.
struct WatermarkAdvance {
  std::string job_uid = {};
  std::string run_id = {};
  std::optional<v1::Watermark> low = {};
  // Absent: the job has none from now on.
  std::optional<v1::Watermark> high = {};
  int64_t sequence = 0;
  std::string source_identity = {};
};

struct AuditEvent {
  absl::Time time = {};
  std::string actor = {};
  std::string action = {};
  std::string subject = {};
  std::string detail = {};
  // Rises with every event; given by the store.
  int64_t id = 0;
};

// Lower-case names, as users and the database see them ("running", "describing", ...), and back (nullopt for others).
std::string_view Name(RunStatus status);
std::string_view Name(RunPhase phase);
std::string_view Name(TaskState state);
std::optional<RunStatus> ParseRunStatus(std::string_view name);
std::optional<RunPhase> ParseRunPhase(std::string_view name);
std::optional<TaskState> ParseTaskState(std::string_view name);

}  // namespace tidemark::coordinator
