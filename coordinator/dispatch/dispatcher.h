#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/dispatch/connection_budget.h"

namespace tidemark::coordinator {

// A task that could run now, if a worker has a slot and, where it reads a source, a session.
struct TaskOffer {
  std::string job_uid;
  std::string run_id;
  std::string task_id;
  // The source it needs a session on; empty: none.
  std::string connection;
  // Servers of the connection that a new session may be opened on, each as good as the other.
  std::vector<std::string> servers;
  // Sessions the run holds that may serve it; they live on one worker each.
  std::vector<std::string> idle_sessions;
  // Whether a new session would do: not if only a snapshot that cannot be imported holds its rows.
  bool may_open = true;
  // It reads rows, at a rate.
  bool reads_rows = false;
  // Local files are opened by the workers named for them alone; empty: any.
  std::string only_worker;
};

struct Assignment {
  size_t offer = 0;
  // An idle session of the run; empty with `open` false: the task needs none.
  std::string session_id;
  bool open = false;
  // Where to open it.
  std::string server;
};

// Chooses the next task of a worker with a free slot: slot and session together, or nothing. Fair between jobs: who
// holds the fewest sessions on the source goes first, then who was served longest ago; so no job takes a second session
// while another waits for its first. Pure; not thread-safe.
class Dispatcher {
 public:
  // Whether the worker's rate share admits reading from the connection.
  using Admission = std::function<bool(std::string_view connection)>;

  // `offers` are in order of age. Offers to a worker that `admit` turns down wait.
  std::optional<Assignment> Choose(std::string_view worker_id, std::string_view incarnation,
                                   const std::vector<TaskOffer>& offers, const ConnectionBudget& budget,
                                   const Admission& admit);

  // Whether a run that holds `held` sessions on the server should give one back: there is none to spare, and another
  // job waits that would still hold fewer with it.
  static bool ShouldYield(std::string_view job_uid, std::string_view server, int held,
                          const std::vector<TaskOffer>& offers, const ConnectionBudget& budget);

 private:
  // By job: when it was last given a session, on a counter.
  std::map<std::string, uint64_t, std::less<>> last_served_;
  uint64_t served_ = 0;
};

}  // namespace tidemark::coordinator
