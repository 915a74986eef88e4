#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/rng.h"
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
