#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "absl/time/time.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace tidemark::test {

// Far beyond what any step of a test takes on a machine that is busy.
inline constexpr absl::Duration kClusterPatience = absl::Minutes(4);

// Whether `holds` came true, asked every 50 ms.
bool Eventually(const std::function<bool()>& holds, absl::Duration patience = kClusterPatience);

// Real processes of tidemark-coordinator and tidemark-worker over one metadata store, driven by the real `tidemark`,
// all built beside this test program or in the folder of TIDEMARK_BIN. What cannot be started aborts the test with what
// it said. Belongs to one thread.
class Cluster {
 public:
  struct Options {
    // A fresh database; `tidemark migrate` is run on it.
    std::string store;
    // Empty: none.
    std::string redis = {};
    int workers = 3;
    int lease_seconds = 3;
    // How many coordinators the workers are told of.
    int coordinators = 1;
    std::map<std::string, std::string> worker_environment = {};
  };

  // Starts the first coordinator and the workers, and waits until they are ready.
  explicit Cluster(Options options);

  // Starts coordinator `at`, on the same ports each time, without waiting for it: it may have to wait for its turn.
  void StartCoordinator(int at);
  // Waits until it leads. Commands go to it from then on.
  void AwaitLeader(int at);
  Process& coordinator(int at = 0) { return *coordinators_[at].process; }
  // Named w0, w1, …
  void StartWorker(int at);
  Process& worker(int at) { return *workers_[at]; }
  Process& worker(const std::string& id) { return worker(std::stoi(id.substr(1))); }
  int workers() const { return options_.workers; }

  // HOST:PORT.
  std::string admin_address(int at = 0) const;
  // What GET /metrics says of a daemon.
  static std::string Metrics(const Process& daemon);

  // tidemark WORDS… --server …
  ProcessResult Command(std::vector<std::string> words);
  // tidemark apply, of a project file of this text.
  void Apply(const std::string& yaml);
  // tidemark jobs run JOB: the run's id.
  std::string StartRun(const std::string& job);
  // The run once it has ended, as `tidemark runs get` prints it.
  nlohmann::json FinishRun(const std::string& run);

  const std::string& store() const { return options_.store; }
  // Where its processes run: the spills of wN are in spill-wN.
  const std::string& directory() const { return directory_.path(); }
  // All that any process of it has written, those that are gone included.
  std::string Output() const;

 private:
  struct Coordinator {
    int admin_port = 0;
    int worker_port = 0;
    std::unique_ptr<Process> process;
  };

  // Keeps what it wrote.
  void Retire(std::unique_ptr<Process>& process);

  const Options options_;
  TempDir directory_;
  std::vector<Coordinator> coordinators_;
  std::vector<std::unique_ptr<Process>> workers_;
  int leader_ = 0;
  std::string output_;
};

}  // namespace tidemark::test
