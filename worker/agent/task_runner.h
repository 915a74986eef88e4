#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "common/base/rng.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/batch/memory_budget.h"
#include "worker/batch/spill.h"
#include "worker/connector/connector.h"
#include "worker/task/move.h"
#include "worker/task/rate_limiter.h"
#include "worker/task/session_slot.h"

namespace tidemark {

// Where a task gets the source session of its grant, and leaves it. Thread-safe.
class SessionKeeper {
 public:
  virtual ~SessionKeeper() = default;
  // The idle session of that id; null if it is yet to be opened.
  virtual std::unique_ptr<SourceSession> Borrow(const std::string& session_id) = 0;
  // The task reads no more. `session` is null if it is closed, or never was opened; it is kept if `keep` and nobody
  // wants it gone.
  virtual void Return(const std::string& session_id, std::unique_ptr<SourceSession> session, bool keep) = 0;
};

// Runs one leased task with threads: the caller's and, for a move's extract, one more.
class TaskRunner {
 public:
  struct Environment {
    const ConnectorRegistry* connectors = nullptr;
    const Clock* clock = nullptr;
    Rng* rng = nullptr;
    MemoryBudget* budget = nullptr;
    SessionKeeper* sessions = nullptr;
    // The one of the task's source.
    RateLimiter* rate = nullptr;
    std::string spill_dir;
    int64_t task_memory_bytes = 0;
    absl::Duration connect_timeout;
    // As in WorkerAgent::Options.
    std::function<absl::StatusOr<std::string>(const std::string& dsn)> resolve_dsn;
    std::function<std::string(std::string_view text)> redact;
  };

  TaskRunner(v1::Task task, Environment environment);

  // The task's outcome: everything of the request but who sends it. Its session is returned before. Once.
  v1::CompleteTaskRequest Run();

  // From any thread; neither waits. Repeat them until Run has returned: a request that meets a driver between two
  // statements is lost. Cancel ends the task with CANCELLED.
  void Cancel();
  // Ends its reading, since its session must go; a load whose rows are all in the spill goes on.
  void InterruptSource();

  const v1::Task& task() const { return task_; }
  v1::TaskProgress progress() const;
  int64_t spilled_bytes() const;

 private:
  absl::Status RunInto(v1::CompleteTaskRequest& outcome);
  // Makes source_connection_ and target_connection_.
  absl::Status ResolveConnections();
  absl::StatusOr<v1::DescribeResult> RunDescribe();
  absl::StatusOr<v1::MoveResult> RunMove();
  absl::StatusOr<v1::HorizonResult> RunHorizon();
  absl::StatusOr<v1::ReadPoint> RunReadPoint();
  absl::StatusOr<v1::TestResult> RunTest();
  // Opens a target session, runs the task on it, closes it.
  template <class Result>
  absl::StatusOr<Result> OnTarget(absl::StatusOr<Result> (*run)(const v1::Task&, TargetSession&));

  // Puts the session of the grant into source_.
  absl::Status OpenSource();
  // Once: later calls do nothing.
  void ReturnSource(bool keep);
  absl::StatusOr<std::unique_ptr<TargetSession>> OpenTarget();
  // The whole of a move's extract, on a thread of its own. Returns how long it took.
  absl::Duration Extract(Spill& spill);
  absl::StatusOr<v1::MoveResult> Load(Spill& spill);

  bool reading_stopped() const;
  // Returns early when the task is cancelled, or a reader's session must go.
  void Sleep(absl::Duration duration, bool reader);
  // What the coordinator is told of an error that may be of our own making.
  absl::Status Explain(absl::Status error) const;

  const v1::Task task_;
  const Environment environment_;
  // The task's, as connectors see them: written before anything is opened.
  v1::ConnectionSpec source_connection_;
  v1::ConnectionSpec target_connection_;
  SessionSlot<SourceSession> source_;
  SessionSlot<TargetSession> target_;
  MoveProgress progress_;

  mutable absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool interrupted_ ABSL_GUARDED_BY(mutex_) = false;
  bool source_returned_ ABSL_GUARDED_BY(mutex_) = false;
  bool extract_over_ ABSL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<Spill> spill_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tidemark
