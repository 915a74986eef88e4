#include "coordinator/server/coordinator_metrics.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/absl_view.h"
#include "common/model/enum_names.h"
#include "common/model/watermark.h"
#include "common/telemetry/metrics.h"

namespace tidemark::coordinator {
namespace {

std::string KindName(v1::TaskKind kind) {
  for (const std::string& name : EnumNames(*v1::TaskKind_descriptor())) {
    if (EnumNumber(*v1::TaskKind_descriptor(), name) == static_cast<int>(kind)) return name;
  }
  return "unknown";
}

std::string_view Name(WorkerView::State state) {
  switch (state) {
    case WorkerView::State::kReady:
      return "ready";
    case WorkerView::State::kDraining:
      return "draining";
    case WorkerView::State::kDrained:
      return "drained";
    case WorkerView::State::kLost:
      return "lost";
  }
  return "";
}

double UnixSeconds(absl::Time time) { return absl::ToDoubleSeconds(time - absl::UnixEpoch()); }

}  // namespace

CoordinatorMetrics::CoordinatorMetrics(MetricRegistry* registry, std::function<void(const std::string& line)> log,
                                       std::function<void(const RunRecord& run)> run_ended)
    : registry_(*registry),
      log_(std::move(log)),
      run_ended_(std::move(run_ended)),
      fires_superseded_(registry->Get(metrics::kScheduleMissed, "superseded")),
      fires_too_late_(registry->Get(metrics::kScheduleMissed, "too_late")),
      fires_skipped_(registry->Get(metrics::kScheduleMissed, "skipped")),
      lag_(registry->Get(metrics::kScheduleLag)),
      queue_wait_(registry->Get(metrics::kTaskQueueWait)) {
  registry->Get(metrics::kIsLeader).Set(1);
}

void CoordinatorMetrics::RunFired(const RunRecord& run, absl::Duration lag) {
  lag_.Observe(absl::ToDoubleSeconds(lag));
}

void CoordinatorMetrics::FiresMissed(std::string_view job, std::string_view reason, int64_t count) {
  const Counter& counter = reason == "superseded" ? fires_superseded_
                           : reason == "skipped"  ? fires_skipped_
                                                  : fires_too_late_;
  counter.Add(static_cast<double>(count));
  // A skipped fire has a run that says so.
  if (log_ && reason != "skipped") {
    log_(absl::StrCat("job ", Abs(job), ": ", count, count == 1 ? " fire time" : " fire times", " missed (",
                      Abs(reason), ")"));
  }
}

void CoordinatorMetrics::RunEnded(const RunRecord& run) {
  if (run_ended_) run_ended_(run);
  const std::string& job = run.job_name;
  registry_.Get(metrics::kRuns, job, coordinator::Name(run.status)).Add();
  if (run.status == RunStatus::kSkipped) return;
  if (run.started.has_value() && run.ended.has_value()) {
    registry_.Get(metrics::kRunDuration, job).Observe(absl::ToDoubleSeconds(*run.ended - *run.started));
  }
  for (const auto& [stage, time] : {std::pair("describe", run.describe_time), std::pair("wait", run.wait_time),
                                    std::pair("move", run.move_time), std::pair("commit", run.commit_time)}) {
    if (time > absl::ZeroDuration()) {
      registry_.Get(metrics::kStageDuration, stage).Observe(absl::ToDoubleSeconds(time));
    }
  }
  if (run.description.has_value()) {
    registry_.Get(metrics::kHorizonHold, run.spec.source().connection()).Set(run.description->horizon_hold_seconds());
  }
  if (run.status == RunStatus::kSuccess) {
    registry_.Get(metrics::kJobLastSuccess, job).Set(UnixSeconds(run.ended.value_or(run.created)));
    const std::optional<absl::Time> high = run.window.has_high() ? InstantOf(run.window.high()) : std::nullopt;
    if (high.has_value() && run.window.kind() != v1::WINDOW_KIND_RANGE) {
      registry_.Get(metrics::kWatermark, job).Set(UnixSeconds(*high));
    }
  } else if (log_ && !run_ended_) {
    log_(absl::StrCat("run ", run.id, " of job ", job, " ended as ", std::string(coordinator::Name(run.phase)), ": ",
                      run.error));
  }
}

void CoordinatorMetrics::TaskLeased(v1::TaskKind kind, absl::Duration waited) {
  queue_wait_.Observe(absl::ToDoubleSeconds(waited));
}

void CoordinatorMetrics::AttemptEnded(v1::TaskKind kind, std::string_view result) {
  // Those that a worker has lived to report, it counts itself; so it does with rows and bytes.
  if (result != "lost") return;
  registry_.Get(metrics::kTaskAttempts, KindName(kind), result).Add();
}

void CoordinatorMetrics::TriggerRefused(const TriggerRecord& trigger, std::string_view why) {
  if (log_) log_(absl::StrCat("trigger ", trigger.id, " for job ", trigger.job_name, " is refused: ", Abs(why)));
}

void CoordinatorMetrics::CacheAsked(JobCacheResult result) {
  registry_.Get(metrics::kJobCacheRequests, coordinator::Name(result)).Add();
}

MetricRegistry::CollectHook CoordinatorMetrics::Watch(const Coordinator* coordinator) {
  return registry_.OnCollect([this, coordinator] { Collect(*coordinator); });
}

void CoordinatorMetrics::Forget(std::set<std::string>& shown, const std::set<std::string>& now, std::string_view what) {
  for (const std::string& label : shown) {
    if (now.contains(label)) continue;
    if (what == "job") {
      registry_.Remove(metrics::kJobNextRun, label);
    } else {
      registry_.Remove(metrics::kSourceConnections, label);
      registry_.Remove(metrics::kSourceConnectionsLimit, label);
      registry_.Remove(metrics::kSourceRateLimit, label);
    }
  }
  shown = now;
}

void CoordinatorMetrics::Collect(const Coordinator& coordinator) {
  registry_.Get(metrics::kIsLeader).Set(coordinator.deposed() ? 0 : 1);
  const ClusterView cluster = coordinator.Cluster();
  registry_.Get(metrics::kRunsActive).Set(cluster.running_runs);
  registry_.Get(metrics::kTasksQueued).Set(cluster.queued_tasks);
  std::map<WorkerView::State, int> workers = {{WorkerView::State::kReady, 0},
                                              {WorkerView::State::kDraining, 0},
                                              {WorkerView::State::kDrained, 0},
                                              {WorkerView::State::kLost, 0}};
  for (const WorkerView& worker : coordinator.Workers()) ++workers[worker.state];
  for (const auto& [state, count] : workers) registry_.Get(metrics::kWorkers, Name(state)).Set(count);

  absl::MutexLock lock(&mutex_);
  std::set<std::string> connections;
  for (const ConnectionUse& use : coordinator.Connections()) {
    connections.insert(use.name);
    registry_.Get(metrics::kSourceConnections, use.name).Set(use.open_sessions);
    registry_.Get(metrics::kSourceConnectionsLimit, use.name).Set(use.max_connections);
    registry_.Get(metrics::kSourceRateLimit, use.name).Set(static_cast<double>(use.max_rows_per_second));
  }
  Forget(connections_, connections, "connection");
  std::set<std::string> jobs;
  for (const auto& [job, time] : coordinator.NextFires()) {
    jobs.insert(job);
    registry_.Get(metrics::kJobNextRun, job).Set(UnixSeconds(time));
  }
  Forget(scheduled_jobs_, jobs, "job");
}

}  // namespace tidemark::coordinator
