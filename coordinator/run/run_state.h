#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/plan/partition_planner.h"
#include "coordinator/store/metadata_store.h"
#include "coordinator/store/records.h"
#include "tidemark/v1/worker_control.pb.h"

namespace tidemark::coordinator {

// One attempt of a task on one life of a worker.
struct LeasedAttempt {
  std::string task_id;
  int64_t attempt = 0;
  std::string worker_id;
  std::string incarnation;

  auto operator<=>(const LeasedAttempt&) const = default;
};

// A run that has not ended, as the store has it, and what is known of it beyond the store.
struct RunState {
  RunRecord run;
  std::map<std::string, TaskRecord, std::less<>> tasks;  // By id.

  // A preview is never stored and ends with its description, or with the answer of a server that was asked who it is.
  bool preview = false;
  // Of a preview: it has no job, and tests its source's connection.
  bool tests_connection = false;
  Plan plan;
  v1::TestResult test;
  // If it fails: of what kind.
  absl::StatusCode failure = absl::StatusCode::kFailedPrecondition;

  // What the tasks' epoch is: raised when the run starts again, so that the target's fence stops what is left of its
  // former tasks.
  int64_t fence_epoch = 0;
  // Monotonic: since when the run is in its phase.
  absl::Duration phase_since;
  // Monotonic, by queued task: since when.
  std::map<std::string, absl::Duration, std::less<>> queued_since;
  // By task: of the attempt under way, as last reported.
  std::map<std::string, v1::TaskProgress, std::less<>> progress;
  // Attempts that were cancelled and whose workers may still be at it.
  std::set<LeasedAttempt> draining;
  // By task: the server that its attempt's session was granted on.
  std::map<std::string, std::string, std::less<>> servers;
  // By server: how often reading there has failed.
  std::map<std::string, int, std::less<>> failures_on;
  // The snapshot can no longer be imported: its exporter is gone.
  bool snapshot_closed = false;
};

// Changes to one run that are not stored yet. Copies what it changes, so that a refused write leaves nothing behind.
class RunDraft {
 public:
  // `base` must outlive the draft.
  explicit RunDraft(RunState* base) : base_(base) {}

  const RunState& base() const { return *base_; }
  RunState* mutable_base() { return base_; }
  const RunRecord& run() const { return run_changed_ ? run_ : base_->run; }
  RunRecord& mutable_run();

  // Null if the run has no such task. Valid until the task is changed.
  const TaskRecord* FindTask(std::string_view id) const;
  // The task must exist.
  TaskRecord& mutable_task(std::string_view id);
  void AddTask(TaskRecord task);
  // In order of their ids.
  std::vector<const TaskRecord*> Tasks() const;

  // Takes effect with the draft.
  void Drain(LeasedAttempt attempt) { drained_.push_back(std::move(attempt)); }

  // A preview adds nothing.
  void AddTo(WriteBatch& batch) const;
  // The batch is stored: `base` becomes what the draft says. `now` is monotonic.
  void Publish(absl::Duration now);

 private:
  RunState* const base_;
  bool run_changed_ = false;
  RunRecord run_;
  std::map<std::string, TaskRecord, std::less<>> tasks_;
  std::vector<LeasedAttempt> drained_;
};

// Tasks that count: those of an earlier life of the run (its snapshot was lost) are cancelled.
std::vector<const TaskRecord*> CurrentTasks(const RunDraft& draft, v1::TaskKind kind);
int CountTasks(const RunDraft& draft, v1::TaskKind kind);

bool Ended(RunPhase phase);
// The run reads everything of its source as of one moment.
bool NeedsSnapshot(const RunRecord& run);
// The run's sessions are inside one snapshot.
bool InSnapshot(const RunRecord& run);
bool ReadsSource(v1::TaskKind kind);
// A worker has the task, and for all that is known not yet the last of its rows.
bool Reading(const RunState& state, const TaskRecord& task);

}  // namespace tidemark::coordinator
