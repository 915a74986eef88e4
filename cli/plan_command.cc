#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/commands.h"
#include "cli/embedded_cluster.h"
#include "cli/plan_report.h"
#include "cli/print.h"
#include "cli/project_loading.h"
#include "cli/signal_watcher.h"
#include "common/base/status_macros.h"
#include "coordinator/schedule/schedule_spec.h"
#include "worker/connectors/builtin.h"

namespace tidemark::cli {
namespace {

// A describe waits in line for a permit of its source like any other.
constexpr absl::Duration kPatience = absl::Minutes(5);
constexpr int kFireTimes = 5;

absl::StatusOr<coordinator::Preview> PreviewJob(EmbeddedCluster& cluster, const std::string& job) {
  TM_ASSIGN_OR_RETURN(const std::string id, cluster.coordinator().StartPreview(job, coordinator::RunRequest()));
  return cluster.coordinator().WaitPreview(id, kPatience);
}

}  // namespace

ExitCode Execute(const PlanCommand& command, const CommandContext& context) {
  ExitOnSignals();
  const ConnectorRegistry connectors = BuiltinConnectors({.folder = "", .any_path = true});
  const absl::StatusOr<Project> project = OpenProject(command.file, connectors, context.console);
  if (!project.ok()) return Fail(context, project.status());
  const absl::StatusOr<std::vector<v1::JobSpec>> jobs = SelectJobs(*project, command.jobs);
  if (!jobs.ok()) return Fail(context, jobs.status());
  EmbeddedCluster::Options options;
  options.resume = false;
  absl::StatusOr<std::unique_ptr<EmbeddedCluster>> cluster = EmbeddedCluster::Start(*project, &connectors, options);
  if (!cluster.ok()) return Fail(context, cluster.status());
  for (const coordinator::RunRecord& run : (*cluster)->unfinished_runs()) {
    context.console->Say(absl::StrCat("run ", run.id, " of the job ", run.job_name, " was left unfinished (",
                                      std::string(coordinator::Name(run.phase)),
                                      ") by an earlier process: the next `tidemark run` goes on with it"));
  }

  const SystemClock clock;
  ExitCode exit_code = kDone;
  for (const v1::JobSpec& job : *jobs) {
    const absl::StatusOr<coordinator::Preview> preview = PreviewJob(**cluster, job.name());
    if (!preview.ok()) {
      context.console->Say(absl::StrCat(job.name(), ": ", preview.status().message()));
      exit_code = ExitCodeOf(preview.status());
      if (exit_code == kUnreachable || absl::IsUnauthenticated(preview.status())) {
        context.console->Say(absl::StrCat("Try `tidemark connections test --project ", command.file,
                                          "`: it tries each connection by itself."));
      }
      continue;
    }
    const std::vector<absl::Time> fire_times = coordinator::NextFireTimes(job.schedule(), clock.Now(), kFireTimes);
    PrintObject(context, PlanObject(job, *preview, fire_times), [&] { return PlanText(job, *preview, fire_times); });
  }
  if (exit_code == kDone) {
    context.console->Say(absl::StrCat("nothing was changed: `tidemark run ", command.file, "` does what is planned"));
  }
  return exit_code;
}

}  // namespace tidemark::cli
