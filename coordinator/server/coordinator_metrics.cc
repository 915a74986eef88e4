#include "coordinator/server/coordinator_metrics.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "common/model/duration.h"
#include "common/model/enum_names.h"
#include "common/telemetry/metrics.h"

namespace tidemark::coordinator {
namespace {

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

// Calls `forget` with what was shown and is there no more.
template <typename Forget>
void ShowOnly(std::set<std::string> now, std::set<std::string>& shown, const Forget& forget) {
  for (const std::string& label : shown) {
    if (!now.contains(label)) forget(label);
  }
  shown = std::move(now);
}

double UnixSeconds(absl::Time time) { return absl::ToDoubleSeconds(time - absl::UnixEpoch()); }

}  // namespace

CoordinatorMetrics::CoordinatorMetrics(MetricRegistry* registry, std::function<void(const std::string& line)> log,
                                       std::function<void(const RunRecord& run)> run_ended)
    : registry_(*registry),
      log_(std::move(log)),
      run_ended_(std::move(run_ended)),
      lag_(registry->Get(metrics::kScheduleLag)),
      queue_wait_(registry->Get(metrics::kTaskQueueWait)) {
  registry->Get(metrics::kIsLeader).Set(1);
  // Shown from the start: that none was missed is worth knowing.
  for (const char* reason : {"superseded", "too_late", "skipped"}) registry->Get(metrics::kScheduleMissed, reason);
}

void CoordinatorMetrics::RunFired(const RunRecord& run, absl::Duration lag) {
  lag_.Observe(absl::ToDoubleSeconds(lag));
}

void CoordinatorMetrics::FiresMissed(std::string_view job, std::string_view reason, int64_t count) {
  registry_.Get(metrics::kScheduleMissed, reason).Add(static_cast<double>(count));
  // A skipped fire has a run that says so.
  if (reason != "skipped") {
    Log(absl::StrCat("job ", Abs(job), ": ", count, count == 1 ? " fire time" : " fire times", " missed (", Abs(reason),
                     ")"));
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
    absl::MutexLock lock(&mutex_);
    last_successes_[run.job_uid] = run.ended.value_or(run.created);
  } else if (!run_ended_) {
    Log(absl::StrCat("run ", run.id, " of job ", job, " ended as ", std::string(coordinator::Name(run.phase)), ": ",
                     run.error));
  }
}

void CoordinatorMetrics::TaskLeased(v1::TaskKind kind, absl::Duration waited) {
  queue_wait_.Observe(absl::ToDoubleSeconds(waited));
}

void CoordinatorMetrics::ReplicaAwaited(const std::string& connection, int replica, absl::Duration lag) {
  registry_.Get(metrics::kReplicaLag, connection, absl::StrCat(replica)).Set(absl::ToDoubleSeconds(lag));
}

void CoordinatorMetrics::AttemptLost(v1::TaskKind kind) {
  registry_.Get(metrics::kTaskAttempts, EnumName(kind), "lost").Add();
}

void CoordinatorMetrics::StoreFailed(const absl::Status& error) {
  Log(absl::StrCat("the metadata store fails: ", error.message(), "; no run begins or ends until it takes changes"));
}

void CoordinatorMetrics::StoreAnswers(absl::Duration after) {
  Log(absl::StrCat("the metadata store takes changes again, after ", ElapsedText(after)));
}

void CoordinatorMetrics::TriggerRefused(const TriggerRecord& trigger, std::string_view why) {
  Log(absl::StrCat("trigger ", trigger.id, " for job ", trigger.job_name, " is refused: ", Abs(why)));
}

void CoordinatorMetrics::CacheAsked(JobCacheResult result) {
  registry_.Get(metrics::kJobCacheRequests, coordinator::Name(result)).Add();
}

void CoordinatorMetrics::RedisFailed(const absl::Status& error) {
  Log(absl::StrCat("the job cache does without Redis: ", error.message(),
                   "; jobs are listed from the store meanwhile"));
}

void CoordinatorMetrics::RedisAnswers(absl::Duration after) {
  Log(absl::StrCat("the job cache has Redis again, after ", ElapsedText(after)));
}

void CoordinatorMetrics::Recall(std::vector<std::pair<std::string, absl::Time>> last_successes) {
  absl::MutexLock lock(&mutex_);
  // What was heard since then is newer.
  for (auto& success : last_successes) last_successes_.insert(std::move(success));
}

MetricRegistry::CollectHook CoordinatorMetrics::Watch(const Coordinator* coordinator) {
  return registry_.OnCollect([this, coordinator] { Collect(*coordinator); });
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

  absl::MutexLock lock(&collecting_);
  CollectConnections(coordinator);
  CollectJobs(coordinator);
}

void CoordinatorMetrics::CollectConnections(const Coordinator& coordinator) {
  std::set<std::string> names;
  for (const ConnectionUse& use : coordinator.Connections()) {
    names.insert(use.name);
    registry_.Get(metrics::kSourceConnections, use.name).Set(use.open_sessions);
    registry_.Get(metrics::kSourceConnectionsLimit, use.name).Set(use.max_connections);
    registry_.Get(metrics::kSourceRateLimit, use.name).Set(static_cast<double>(use.max_rows_per_second));
  }
  ShowOnly(std::move(names), connections_, [this](const std::string& connection) {
    registry_.Remove(metrics::kSourceConnections, connection);
    registry_.Remove(metrics::kSourceConnectionsLimit, connection);
    registry_.Remove(metrics::kSourceRateLimit, connection);
    registry_.Remove(metrics::kHorizonHold, connection);
  });
}

void CoordinatorMetrics::CollectJobs(const Coordinator& coordinator) {
  const std::vector<JobView> jobs = coordinator.Jobs();
  const std::map<std::string, absl::Time> last_successes = LastSuccessesOf(jobs);
  const auto show = [this](const GaugeFamily<1>& family, const std::string& job, std::optional<absl::Time> time) {
    time.has_value() ? registry_.Get(family, job).Set(UnixSeconds(*time)) : registry_.Remove(family, job);
  };
  std::set<std::string> names;
  for (const JobView& job : jobs) {
    names.insert(job.name);
    const auto success = last_successes.find(job.uid);
    show(metrics::kJobLastSuccess, job.name,
         success == last_successes.end() ? std::nullopt : std::optional(success->second));
    show(metrics::kWatermark, job.name, job.watermark);
    show(metrics::kJobNextRun, job.name, job.next_fire);
  }
  ShowOnly(std::move(names), jobs_, [&](const std::string& job) {
    show(metrics::kJobLastSuccess, job, std::nullopt);
    show(metrics::kWatermark, job, std::nullopt);
    show(metrics::kJobNextRun, job, std::nullopt);
    for (const RunStatus status : {RunStatus::kSuccess, RunStatus::kFailed, RunStatus::kSkipped}) {
      registry_.Remove(metrics::kRuns, job, coordinator::Name(status));
    }
    registry_.Remove(metrics::kRunDuration, job);
  });
}

// Of others nothing is remembered.
std::map<std::string, absl::Time> CoordinatorMetrics::LastSuccessesOf(const std::vector<JobView>& jobs) {
  std::set<std::string_view> uids;
  for (const JobView& job : jobs) uids.insert(job.uid);
  absl::MutexLock lock(&mutex_);
  std::erase_if(last_successes_, [&](const auto& success) { return !uids.contains(success.first); });
  return last_successes_;
}

}  // namespace tidemark::coordinator
