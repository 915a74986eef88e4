#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/rng.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/agent/coordinator_client.h"
#include "worker/connector/connector.h"

namespace tidemark {

// A worker: registers with its coordinator, leases tasks, runs them on threads of its own, holds source sessions as
// long as it is told to, and gives up all it holds when it hears nothing from the coordinator for 2/3 of a lease.
//
// Start, Drain and Stop are called by one thread.
class WorkerAgent {
 public:
  struct Options {
    // Stable over restarts of the process, unique in the cluster; safe in a file name.
    std::string worker_id;
    // Tasks at once.
    int slots = 4;
    // What the process may hold resident because of this worker: the program itself, chunks on their way, and spills'
    // memory.
    int64_t memory_bytes = int64_t{1} << 30;
    // Part of it that one task's spill may hold before it goes to disk.
    int64_t task_memory_bytes = 100 << 20;
    // Spills go to a folder named after the worker in here, made if missing. Left-overs of an earlier process are
    // removed.
    std::string spill_dir;
    // Shown by the coordinator.
    std::string version;
    absl::Duration connect_timeout = absl::Seconds(10);
    // Gets one line per event worth a person's attention: failed tasks, a coordinator out of reach. From any thread;
    // may be empty.
    std::function<void(const std::string& line)> log;
    // Gets every attempt that ran, when it ends: the task, what the coordinator is told of it, and how far it came.
    // From any thread, which it must not hold up; may be empty.
    std::function<void(const v1::Task& task, const v1::CompleteTaskRequest& outcome, const v1::TaskProgress& progress)>
        attempt_ended;
    // What connectors are given for the DSN of a task: references in it are this worker's to resolve. An error fails
    // the task, so it must hold no secret. From any thread; empty: DSNs are taken as they are.
    std::function<absl::StatusOr<std::string>(const std::string& dsn)> resolve_dsn;
    // Takes secrets out of what the coordinator and the log are told. From any thread; empty: nothing is taken out.
    std::function<std::string(std::string_view text)> redact;
  };

  struct Usage {
    // Of chunks that are kept in memory.
    int64_t memory_bytes = 0;
    // On disk, by the tasks under way.
    int64_t spill_bytes = 0;
  };

  // The pointers must outlive the agent. `rng` gives the incarnation and the jitter of retries.
  WorkerAgent(Options options, const ConnectorRegistry* connectors, CoordinatorClient* coordinator, const Clock* clock,
              Rng* rng);
  // Stops.
  ~WorkerAgent();
  WorkerAgent(const WorkerAgent&) = delete;
  WorkerAgent& operator=(const WorkerAgent&) = delete;

  // Returns at once: registering is tried until it succeeds. InvalidArgument for options that cannot work; an error
  // that names spill_dir if it cannot be made or written.
  absl::Status Start();

  // From any thread, after Start.
  Usage usage() const;

  // Takes no new task, finishes those leased and closes every session; then stops. DeadlineExceeded, stopped all the
  // same with the rest cancelled, if that took longer than `deadline`. What a worker does on SIGTERM.
  absl::Status Drain(absl::Duration deadline);

  // Cancels what runs, closes every session, joins the threads; within a second unless a driver hangs. The coordinator
  // learns of it when the lease ends. The CoordinatorClient is shut down by it.
  void Stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tidemark
