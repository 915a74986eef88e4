#include "tests/integration/cluster.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "common/secret/sealing.h"
#include "tests/integration/project.h"
#include "tests/support/free_port.h"
#include "tests/support/http_get.h"
#include "tests/support/postgres_server.h"

namespace tidemark::test {
namespace {

[[noreturn]] void Die(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  std::abort();
}

std::string Daemon(const char* name) {
  return std::filesystem::path(TidemarkProgram()).replace_filename(name).string();
}

std::unique_ptr<Process> Start(const char* daemon, std::map<std::string, std::string> environment,
                               const std::string& directory) {
  ProcessOptions options;
  options.environment = std::move(environment);
  options.working_directory = directory;
  absl::StatusOr<std::unique_ptr<Process>> process = Process::Start({Daemon(daemon)}, options);
  if (!process.ok()) Die(process.status().ToString());
  return *std::move(process);
}

void AwaitReady(Process& process) {
  const absl::Status ready = process.WaitForOutput("\nready\n", kClusterPatience);
  if (!ready.ok()) Die(std::string(ready.message()));
}

}  // namespace

bool Eventually(const std::function<bool()>& holds, absl::Duration patience) {
  const absl::Time deadline = absl::Now() + patience;
  while (!holds()) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(absl::Milliseconds(50));
  }
  return true;
}

Cluster::Cluster(Options options)
    : options_(std::move(options)), coordinators_(options_.coordinators), workers_(options_.workers) {
  if (!CreateKeyFile(directory_.File("keys")).ok()) Die("no key file could be made");
  const auto migrated = RunProcess({TidemarkProgram(), "migrate", "--store", store()}, kClusterPatience);
  if (!migrated.ok() || migrated->exit_code != 0) Die(absl::StrCat("migrate: ", migrated.ok() ? migrated->err : ""));
  output_ = migrated->out + migrated->err;
  for (Coordinator& coordinator : coordinators_) {
    coordinator.admin_port = FreeFixedPort().value();
    coordinator.worker_port = FreeFixedPort().value();
  }
  StartCoordinator(0);
  AwaitLeader(0);
  for (int at = 0; at < workers(); ++at) StartWorker(at);
  for (int at = 0; at < workers(); ++at) AwaitReady(worker(at));
}

void Cluster::StartCoordinator(int at) {
  Coordinator& coordinator = coordinators_[at];
  Retire(coordinator.process);
  std::map<std::string, std::string> environment = {
      {"TIDEMARK_STORE", options_.store},
      {"TIDEMARK_ADMIN_LISTEN", admin_address(at)},
      {"TIDEMARK_WORKER_LISTEN", absl::StrCat("127.0.0.1:", coordinator.worker_port)},
      {"TIDEMARK_METRICS_LISTEN", "127.0.0.1:0"},
      {"TIDEMARK_LEASE_SECONDS", absl::StrCat(options_.lease_seconds)},
      {"TIDEMARK_KEY_FILE", directory_.File("keys")},
  };
  if (!options_.redis.empty()) environment["TIDEMARK_REDIS"] = options_.redis;
  coordinator.process = Start("tidemark-coordinator", std::move(environment), directory_.path());
}

void Cluster::AwaitLeader(int at) {
  AwaitReady(coordinator(at));
  leader_ = at;
}

void Cluster::StartWorker(int at) {
  Retire(workers_[at]);
  std::vector<std::string> addresses;
  for (const Coordinator& coordinator : coordinators_) {
    addresses.push_back(absl::StrCat("127.0.0.1:", coordinator.worker_port));
  }
  const std::string id = absl::StrCat("w", at);
  std::map<std::string, std::string> environment = options_.worker_environment;
  environment.insert({{"TIDEMARK_COORDINATORS", absl::StrJoin(addresses, ",")},
                      {"TIDEMARK_ID", id},
                      {"TIDEMARK_SPILL_DIR", directory_.File(absl::StrCat("spill-", id))},
                      {"TIDEMARK_MEMORY", "256MiB"},
                      {"TIDEMARK_METRICS_LISTEN", "127.0.0.1:0"}});
  workers_[at] = Start("tidemark-worker", std::move(environment), directory_.path());
}

std::string Cluster::admin_address(int at) const { return absl::StrCat("127.0.0.1:", coordinators_[at].admin_port); }

std::string Cluster::Metrics(const Process& daemon) {
  const std::string out = daemon.out();
  const std::string before = "listening metrics ";
  const size_t at = out.find(before) + before.size();
  const auto response = HttpGet(out.substr(at, out.find('\n', at) - at), "/metrics");
  if (!response.ok() || response->status != 200) Die(absl::StrCat("no metrics: ", response.status().ToString(), out));
  return response->body;
}

ProcessResult Cluster::Command(std::vector<std::string> words) {
  words.insert(words.begin(), TidemarkProgram());
  words.insert(words.end(), {"--server", admin_address(leader_)});
  absl::StatusOr<ProcessResult> result = RunProcess(words, kClusterPatience);
  if (!result.ok()) Die(result.status().ToString());
  absl::StrAppend(&output_, result->out, result->err);
  return *std::move(result);
}

void Cluster::Apply(const std::string& yaml) {
  const ProcessResult applied = Command({"apply", directory_.Write("tidemark.yaml", yaml)});
  if (applied.exit_code != 0) Die(absl::StrCat("apply: ", applied.out, applied.err));
}

std::string Cluster::StartRun(const std::string& job) {
  const ProcessResult run = Command({"jobs", "run", job, "-o", "json"});
  if (run.exit_code != 0) Die(absl::StrCat("jobs run: ", run.out, run.err));
  return nlohmann::json::parse(run.out).at("run_id");
}

nlohmann::json Cluster::FinishRun(const std::string& run) {
  Eventually([&] {
    return Scalar(store(), absl::StrCat("SELECT count(*) FROM etl_runs WHERE id = '", run, "' AND run_end IS NULL")) ==
           "0";
  });
  const ProcessResult got = Command({"runs", "get", run, "-o", "json"});
  if (got.exit_code != 0) Die(absl::StrCat("runs get: ", got.out, got.err));
  return nlohmann::json::parse(got.out);
}

std::string Cluster::Output() const {
  std::string output = output_;
  for (const Coordinator& coordinator : coordinators_) {
    if (coordinator.process != nullptr) {
      absl::StrAppend(&output, coordinator.process->out(), coordinator.process->err());
    }
  }
  for (const auto& worker : workers_) absl::StrAppend(&output, worker->out(), worker->err());
  return output;
}

void Cluster::Retire(std::unique_ptr<Process>& process) {
  if (process == nullptr) return;
  process->KillHard();
  absl::StrAppend(&output_, process->out(), process->err());
  process.reset();
}

}  // namespace tidemark::test
