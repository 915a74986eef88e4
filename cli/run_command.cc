#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/commands.h"
#include "cli/embedded_cluster.h"
#include "cli/print.h"
#include "cli/project_loading.h"
#include "cli/run_report.h"
#include "cli/run_watch.h"
#include "cli/signal_watcher.h"
#include "common/base/status_macros.h"
#include "coordinator/admin/resources.h"
#include "worker/connectors/builtin.h"

namespace tidemark::cli {
namespace {

using coordinator::RunPhase;
using coordinator::RunRecord;
using coordinator::RunStatus;

constexpr char kNotStarted[] = "not started: the runs that an earlier process left have not all ended";

// One `tidemark run`, from a started cluster to its exit code.
class RunSession {
 public:
  RunSession(const RunCommand& command, const CommandContext& context, EmbeddedCluster* cluster,
             const SignalWatcher* signals)
      : command_(command), context_(context), cluster_(*cluster), signals_(*signals) {}

  ExitCode Execute(const Project& project, const std::vector<v1::JobSpec>& jobs) {
    RunWatch::End end = RunWatch::End::kAllEnded;
    absl::Status status = FinishRecovered(project, &end);
    if (status.ok() && end == RunWatch::End::kAllEnded) {
      status = RunJobs(jobs, &end);
    } else {
      for (const v1::JobSpec& job : jobs) {
        if (Wanted(job)) PrintWithoutRun(job, RunStatus::kSkipped, RunPhase::kSkipped, kNotStarted);
      }
    }
    if (!status.ok()) return Fail(context_, status);
    if (end == RunWatch::End::kStoreFailed) {
      context_.console->Say(
          "giving up: the next `tidemark run` goes on from here, once the metadata store can be written");
      return kRunFailed;
    }
    if (end == RunWatch::End::kDrained) context_.console->Say("drained: the next `tidemark run` goes on from here");
    if (end != RunWatch::End::kAllEnded) return kInterrupted;
    if (worst_ != kDone) return worst_;
    return quarantined_ ? kQuarantined : kDone;
  }

 private:
  // Runs that a killed process left come to their end before new ones begin. Their ends are talk: they were not asked
  // for now.
  absl::Status FinishRecovered(const Project& project, RunWatch::End* end) {
    const std::vector<std::string> runs = SayRecovering(cluster_, project, context_.console);
    return Await(runs, end, [this](const RunRecord& run, std::string_view) {
      context_.console->Say(absl::StrCat("recovered ", RunSummary(coordinator::ToRun(run), *context_.console)));
    });
  }

  bool Wanted(const v1::JobSpec& job) const { return !command_.jobs.empty() || job.enabled(); }

  absl::Status RunJobs(const std::vector<v1::JobSpec>& jobs, RunWatch::End* end) {
    // In the jobs' order; a run that has ended is out.
    std::vector<std::pair<std::string, std::string>> left;
    std::vector<std::string> runs;
    for (const v1::JobSpec& job : jobs) {
      if (!Wanted(job)) {
        context_.console->Say(absl::StrCat(job.name(), ": not enabled, left out; name it to run it"));
        continue;
      }
      coordinator::RunRequest request;
      request.full_refresh = command_.full_refresh;
      request.from = command_.from;
      request.to = command_.to;
      absl::StatusOr<std::string> run = cluster_.coordinator().StartRun(job.name(), request);
      if (run.ok()) {
        runs.push_back(*run);
        left.emplace_back(*std::move(run), job.name());
        continue;
      }
      context_.console->Say(absl::StrCat(job.name(), ": ", run.status().message()));
      PrintWithoutRun(job, RunStatus::kFailed, RunPhase::kFailed, std::string(run.status().message()));
      // The project is sound; this job cannot go on from where it stands.
      Worsen(absl::IsFailedPrecondition(run.status()) ? kRunFailed : ExitCodeOf(run.status()));
    }
    absl::Status status = Await(runs, end, [&](const RunRecord& run, std::string_view said) {
      std::erase_if(left, [&](const auto& entry) { return entry.first == run.id; });
      ReportRun(context_, coordinator::ToRun(run), said);
      if (run.status == RunStatus::kFailed) Worsen(kRunFailed);
      if (run.counts.quarantined() > 0) quarantined_ = true;
    });
    for (const auto& [id, job] : left) PrintUnfinished(id, job);
    return status;
  }

  // Scripts get an object for every job; people have read of it in the talk.
  void PrintWithoutRun(const v1::JobSpec& job, RunStatus status, RunPhase phase, const std::string& error) {
    RunRecord run;
    run.job_name = job.name();
    run.status = status;
    run.phase = phase;
    run.error = error;
    PrintObject(context_, RunObject(coordinator::ToRun(run)), [] { return std::string(); });
  }

  void PrintUnfinished(const std::string& id, const std::string& job) {
    absl::StatusOr<RunRecord> found = cluster_.coordinator().GetRun(id);
    RunRecord run;
    if (found.ok()) {
      run = *std::move(found);
    } else {
      run.id = id;
      run.job_name = job;
      run.error = std::string(found.status().message());
    }
    if (const auto failure = cluster_.coordinator().store_failure(); failure.has_value() && run.error.empty()) {
      run.error = std::string(failure->error.message());
    }
    ReportRun(context_, coordinator::ToRun(run));
  }

  absl::Status Await(const std::vector<std::string>& runs, RunWatch::End* end, const RunWatch::Ended& ended) {
    if (runs.empty()) return absl::OkStatus();
    const SystemClock clock;
    RunWatch watch(&cluster_, context_.console, &signals_, &clock);
    TM_ASSIGN_OR_RETURN(*end, watch.Await(runs, ended));
    return absl::OkStatus();
  }

  // The first code stays, but a failed run is what scripts look for.
  void Worsen(ExitCode code) {
    if (worst_ == kDone || code == kRunFailed) worst_ = code;
  }

  const RunCommand& command_;
  const CommandContext& context_;
  EmbeddedCluster& cluster_;
  const SignalWatcher& signals_;
  ExitCode worst_ = kDone;
  bool quarantined_ = false;
};

}  // namespace

ExitCode Execute(const RunCommand& command, const CommandContext& context) {
  const ConnectorRegistry connectors = BuiltinConnectors({.folder = "", .any_path = true});
  const absl::StatusOr<Project> project = OpenProject(command.file, connectors, context.console);
  if (!project.ok()) return Fail(context, project.status());
  const absl::StatusOr<std::vector<v1::JobSpec>> jobs = SelectJobs(*project, command.jobs);
  if (!jobs.ok()) return Fail(context, jobs.status());

  const SignalWatcher signals;
  EmbeddedCluster::Options options;
  options.workers = command.process.workers;
  options.slots = command.process.slots;
  options.memory_bytes = command.process.memory_bytes;
  absl::StatusOr<std::unique_ptr<EmbeddedCluster>> cluster = EmbeddedCluster::Start(*project, &connectors, options);
  if (!cluster.ok()) return Fail(context, cluster.status());
  return RunSession(command, context, cluster->get(), &signals).Execute(*project, *jobs);
}

}  // namespace tidemark::cli
