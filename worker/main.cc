// tidemark-worker: wiring only.
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/rng.h"
#include "common/base/status_macros.h"
#include "common/base/termination.h"
#include "common/base/version.h"
#include "common/config/daemon_command_line.h"
#include "common/config/reference.h"
#include "common/config/settings.h"
#include "common/rpc/grpc_channel.h"
#include "common/secret/redactor.h"
#include "common/telemetry/event_log.h"
#include "common/telemetry/metric_registry.h"
#include "common/telemetry/metrics.h"
#include "common/telemetry/metrics_server.h"
#include "worker/agent/failover_coordinator_client.h"
#include "worker/agent/grpc_coordinator_client.h"
#include "worker/agent/worker_agent.h"
#include "worker/agent/worker_metrics.h"
#include "worker/connectors/builtin.h"

namespace tidemark {
namespace {

constexpr absl::Duration kDrainTime = absl::Seconds(25);

// What is printed on stdout, for those who start the process.
void Print(const std::string& line) {
  printf("%s\n", line.c_str());
  fflush(stdout);
}

// Keeps connection strings, resolved, out of sight.
class DsnResolver {
 public:
  DsnResolver(const v1::WorkerSettings& settings, Redactor* redactor) : redactor_(redactor) {
    limits_.environment.insert(settings.allow_env().begin(), settings.allow_env().end());
    limits_.directory = settings.secrets_dir();
  }

  absl::StatusOr<std::string> operator()(const std::string& dsn) const {
    TM_ASSIGN_OR_RETURN(ResolvedText resolved, ResolveReferencesWithin(dsn, limits_, ProcessEnvironment));
    redactor_->AddDsn(resolved.text);
    return std::move(resolved.text);
  }

 private:
  ReferenceLimits limits_;
  Redactor* redactor_;
};

absl::StatusOr<std::unique_ptr<CoordinatorClient>> ConnectTo(const v1::WorkerSettings& settings) {
  const TlsFiles tls = {settings.tls().cert(), settings.tls().key(), settings.tls().ca()};
  std::vector<std::unique_ptr<CoordinatorClient>> clients;
  for (const std::string& address : settings.coordinators()) {
    TM_ASSIGN_OR_RETURN(std::shared_ptr<grpc::ChannelInterface> channel, NewChannel(address, tls));
    clients.push_back(NewGrpcCoordinatorClient(std::move(channel)));
  }
  return std::make_unique<FailoverCoordinatorClient>(std::move(clients));
}

// Runs until a signal has come and the worker is drained.
absl::Status Serve(const v1::WorkerSettings& settings, Termination& termination) {
  const SystemClock clock;
  Rng rng(Rng::EntropySeed());
  EventLog log(STDERR_FILENO, &clock);
  Redactor redactor;
  MetricRegistry registry;
  registry.Get(metrics::kBuildInfo, Version()).Set(1);
  WorkerMetrics counted(&registry);
  const ConnectorRegistry connectors = BuiltinConnectors({.folder = settings.adbc_drivers_dir(), .any_path = false});
  TM_ASSIGN_OR_RETURN(const std::unique_ptr<CoordinatorClient> coordinators, ConnectTo(settings));
  TM_ASSIGN_OR_RETURN(const std::unique_ptr<MetricsServer> metrics_server,
                      MetricsServer::Start(settings.metrics_listen(), registry));

  WorkerAgent::Options options;
  options.worker_id = settings.id();
  options.slots = settings.slots();
  options.memory_bytes = settings.memory_bytes();
  options.spill_dir = settings.spill_dir();
  options.version = Version();
  options.log = [&](const std::string& line) { log.Write(line); };
  options.attempt_ended = [&](const v1::Task& task, const v1::CompleteTaskRequest& outcome,
                              const v1::TaskProgress& progress) { counted.AttemptEnded(task, outcome, progress); };
  options.resolve_dsn = DsnResolver(settings, &redactor);
  options.redact = [&](std::string_view text) { return redactor.Redact(text); };
  WorkerAgent agent(options, &connectors, coordinators.get(), &clock, &rng);
  TM_RETURN_IF_ERROR(agent.Start());
  const auto watch = counted.Watch({&agent});
  log.Write(absl::StrCat("worker ", settings.id(), " ", Version(), " serves ", settings.slots(), " slots"));
  Print(absl::StrCat("listening metrics ", metrics_server->address()));
  Print("ready");

  termination.Wait();
  log.Write("a signal came: the tasks under way are finished, no new one is taken");
  if (const absl::Status drained = agent.Drain(kDrainTime); !drained.ok()) {
    log.Write(std::string(drained.message()));
  }
  log.Write("done");
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  Termination termination;
  const DaemonCommandLine line =
      ParseDaemonCommandLine(argc, argv,
                             {"tidemark-worker", "Leases tasks from a Tidemark coordinator and moves their data.",
                              Version(), WorkerSettingsText()});
  fputs(line.output.c_str(), stdout);
  fputs(line.error.c_str(), stderr);
  if (line.exit_code) return *line.exit_code;
  const auto settings = LoadWorkerSettings(line.config);
  const absl::Status served = settings.ok() ? Serve(*settings, termination) : settings.status();
  if (served.ok()) return 0;
  fprintf(stderr, "%s\n", std::string(served.message()).c_str());
  // Bad configuration, and what stands in the way of it.
  return absl::IsInvalidArgument(served) || absl::IsNotFound(served) ? 2 : 1;
}

}  // namespace
}  // namespace tidemark

int main(int argc, char** argv) { return tidemark::Main(argc, argv); }
