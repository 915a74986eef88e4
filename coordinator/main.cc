// tidemark-coordinator: wiring only.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/base/clock.h"
#include "common/base/rng.h"
#include "common/base/status_macros.h"
#include "common/base/termination.h"
#include "common/base/version.h"
#include "common/config/daemon_command_line.h"
#include "common/config/settings.h"
#include "common/secret/redactor.h"
#include "common/secret/sealing.h"
#include "common/telemetry/event_log.h"
#include "common/telemetry/metric_registry.h"
#include "common/telemetry/metrics.h"
#include "coordinator/server/coordinator_server.h"
#include "coordinator/store/open_store.h"

namespace tidemark::coordinator {
namespace {

// How often a coordinator that another one leads, or whose store is away, tries again.
constexpr absl::Duration kTryAgain = absl::Seconds(1);
// How often it looks whether it still leads.
constexpr absl::Duration kLook = absl::Milliseconds(500);
constexpr absl::Duration kGrace = absl::Seconds(5);

// What is printed on stdout, for those who start the process.
void Print(const std::string& line) {
  printf("%s\n", line.c_str());
  fflush(stdout);
}

std::string HolderName(Rng& rng, absl::Time now) {
  char host[256] = "";
  gethostname(host, sizeof(host) - 1);
  return absl::StrCat(host, " (process ", getpid(), ", ", NewId(now, rng), ")");
}

// Where the keys are if nobody says.
std::string DefaultKeyFile() {
  if (geteuid() == 0) return "/var/lib/tidemark/coordinator.keys";
  const char* home = getenv("HOME");
  return absl::StrCat(home == nullptr ? "." : home, "/.tidemark/coordinator.keys");
}

// The life of one coordinator, on a thread of its own.
class Daemon {
 public:
  explicit Daemon(const v1::CoordinatorSettings& settings)
      : settings_(settings), rng_(Rng::EntropySeed()), log_(STDERR_FILENO, &clock_) {
    redactor_.AddDsn(settings.store());
    redactor_.AddDsn(settings.redis());
    registry_.Get(metrics::kBuildInfo, Version()).Set(1);
  }

  // Serves until `stop` is notified: OK; or until it cannot go on.
  absl::Status Run(const absl::Notification& stop) {
    TM_ASSIGN_OR_RETURN(const std::unique_ptr<MetadataStore> store, Open(stop));
    if (store == nullptr) return absl::OkStatus();
    TM_ASSIGN_OR_RETURN(const Sealer sealer, OpenKeys());
    CoordinatorServerOptions options;
    options.store = store.get();
    options.clock = &clock_;
    options.registry = &registry_;
    options.coordinator.rng = &rng_;
    options.coordinator.holder = HolderName(rng_, clock_.Now());
    options.coordinator.lease = absl::Seconds(settings_.lease_seconds());
    // A successor must be there before workers give up their sessions, at 2/3 of their lease.
    options.coordinator.leader_lease = absl::Seconds(settings_.lease_seconds()) / 3;
    options.coordinator.schedule = true;
    options.coordinator.sealer = &sealer;
    options.redis = settings_.redis();
    options.admin_listen = settings_.admin_listen();
    options.worker_listen = settings_.worker_listen();
    options.metrics_listen = settings_.metrics_listen();
    options.tls = {settings_.tls().cert(), settings_.tls().key(), settings_.tls().ca()};
    options.version = Version();
    options.log = [this](const std::string& line) { Log(line); };
    TM_ASSIGN_OR_RETURN(const std::unique_ptr<CoordinatorServer> server, Lead(options, stop));
    if (server == nullptr) return absl::OkStatus();
    Log(absl::StrCat("coordinator ", Version(), " leads cluster ", server->coordinator().cluster_id(), " in epoch ",
                     server->coordinator().epoch()));
    Print(absl::StrCat("listening admin ", server->admin_address()));
    Print(absl::StrCat("listening worker ", server->worker_address()));
    Print(absl::StrCat("listening metrics ", server->metrics_address()));
    Print("ready");
    return Watch(*server, stop);
  }

 private:
  void Log(const std::string& line) { log_.Write(redactor_.Redact(line)); }

  absl::StatusOr<Sealer> OpenKeys() {
    std::string path = settings_.key_file();
    if (path.empty()) {
      path = DefaultKeyFile();
      std::error_code ignored;
      std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
      const absl::Status made = CreateKeyFile(path);
      if (made.ok()) {
        Log(absl::StrCat("no key_file is set: a key was made in ", path,
                         "; keep it, and give it to every coordinator of this store"));
      } else if (!absl::IsAlreadyExists(made)) {
        return absl::InvalidArgumentError(absl::StrCat("key_file is not set, and ", made.message()));
      }
    }
    if (const absl::Status mode = CheckKeyFileMode(path); absl::IsFailedPrecondition(mode)) {
      Log(std::string(mode.message()));
    }
    return Sealer::FromKeyFile(path);
  }

  // Says what stands in the way, once for each new reason. While another leads that is one reason: the message names
  // the end of its lease, which it renews all the time.
  void LogOnce(const absl::Status& status) {
    std::string reason(IsLedByAnother(status) ? "led by another" : status.message());
    if (reason == said_) return;
    Log(std::string(status.message()));
    said_ = std::move(reason);
  }

  // Null if it was stopped meanwhile.
  absl::StatusOr<std::unique_ptr<MetadataStore>> Open(const absl::Notification& stop) {
    while (!stop.HasBeenNotified()) {
      absl::StatusOr<std::unique_ptr<MetadataStore>> store = OpenStore(settings_.store(), &clock_);
      if (store.ok() || !absl::IsUnavailable(store.status())) return store;
      LogOnce(store.status());
      stop.WaitForNotificationWithTimeout(kTryAgain);
    }
    return std::unique_ptr<MetadataStore>();
  }

  // Waits for its turn to lead. Null if it was stopped meanwhile.
  absl::StatusOr<std::unique_ptr<CoordinatorServer>> Lead(const CoordinatorServerOptions& options,
                                                          const absl::Notification& stop) {
    while (!stop.HasBeenNotified()) {
      absl::StatusOr<std::unique_ptr<CoordinatorServer>> server = CoordinatorServer::Start(options);
      const bool wait = IsLedByAnother(server.status()) || absl::IsUnavailable(server.status());
      if (server.ok() || !wait) return server;
      LogOnce(server.status());
      stop.WaitForNotificationWithTimeout(kTryAgain);
    }
    return std::unique_ptr<CoordinatorServer>();
  }

  absl::Status Watch(CoordinatorServer& server, const absl::Notification& stop) {
    while (!stop.WaitForNotificationWithTimeout(kLook)) {
      if (server.coordinator().deposed()) {
        return absl::UnavailableError("another coordinator has taken over: this one ends, to be started anew");
      }
    }
    Log("a signal came: calls under way are let end, the lease is given back");
    server.Stop(kGrace);
    Log("done");
    return absl::OkStatus();
  }

  const v1::CoordinatorSettings settings_;
  const SystemClock clock_;
  Rng rng_;
  EventLog log_;
  Redactor redactor_;
  MetricRegistry registry_;
  std::string said_;
};

int Main(int argc, char** argv) {
  Termination termination;
  const DaemonCommandLine line =
      ParseDaemonCommandLine(argc, argv,
                             {"tidemark-coordinator", "Decides what a Tidemark cluster's workers run, and when.",
                              Version(), CoordinatorSettingsText()});
  fputs(line.output.c_str(), stdout);
  fputs(line.error.c_str(), stderr);
  if (line.exit_code) return *line.exit_code;
  const auto settings = LoadCoordinatorSettings(line.config);
  absl::Status served = settings.status();
  if (settings.ok()) {
    Daemon daemon(*settings);
    absl::Notification stop;
    std::thread life([&] {
      served = daemon.Run(stop);
      // Wakes the wait below, if it was not a signal that ended it.
      if (!stop.HasBeenNotified()) kill(getpid(), SIGTERM);
    });
    termination.Wait();
    stop.Notify();
    life.join();
  }
  if (served.ok()) return 0;
  fprintf(stderr, "%s\n", std::string(served.message()).c_str());
  // Bad configuration, and what stands in the way of it.
  const bool configuration =
      absl::IsInvalidArgument(served) || absl::IsNotFound(served) || absl::IsFailedPrecondition(served);
  return configuration ? 2 : 1;
}

}  // namespace
}  // namespace tidemark::coordinator

int main(int argc, char** argv) { return tidemark::coordinator::Main(argc, argv); }
