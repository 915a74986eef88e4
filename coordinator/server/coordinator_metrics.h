#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/telemetry/metric_registry.h"
#include "coordinator/cache/job_cache.h"
#include "coordinator/run/coordinator.h"
#include "coordinator/run/coordinator_observer.h"

namespace tidemark::coordinator {

// What a coordinator counts, and says in its log, of the runs it sees. Thread-safe.
class CoordinatorMetrics final : public CoordinatorObserver {
 public:
  // `registry` must outlive it. `run_ended`, unless it is empty, hears of every run's end instead of the log.
  CoordinatorMetrics(MetricRegistry* registry, std::function<void(const std::string& line)> log,
                     std::function<void(const RunRecord& run)> run_ended);

  void RunFired(const RunRecord& run, absl::Duration lag) override;
  void FiresMissed(std::string_view job, std::string_view reason, int64_t count) override;
  void RunEnded(const RunRecord& run) override;
  void TaskLeased(v1::TaskKind kind, absl::Duration waited) override;
  void ReplicaAwaited(const std::string& connection, int replica, absl::Duration lag) override;
  void AttemptLost(v1::TaskKind kind) override;
  void StoreFailed(const absl::Status& error) override;
  void StoreAnswers(absl::Duration after) override;
  void TriggerRefused(const TriggerRecord& trigger, std::string_view why) override;

  void CacheAsked(JobCacheResult result);
  void RedisFailed(const absl::Status& error);
  void RedisAnswers(absl::Duration after);

  // When each job last succeeded before this process began, by uid. Once.
  void Recall(std::vector<std::pair<std::string, absl::Time>> last_successes);

  // Shows how `coordinator` stands at every scrape, until the hook is destroyed, which must be before the coordinator.
  [[nodiscard]] MetricRegistry::CollectHook Watch(const Coordinator* coordinator);

 private:
  void Log(const std::string& line) const {
    if (log_) log_(line);
  }
  void Collect(const Coordinator& coordinator);
  void CollectJobs(const Coordinator& coordinator) ABSL_EXCLUSIVE_LOCKS_REQUIRED(collecting_);
  void CollectConnections(const Coordinator& coordinator) ABSL_EXCLUSIVE_LOCKS_REQUIRED(collecting_);
  std::map<std::string, absl::Time> LastSuccessesOf(const std::vector<JobView>& jobs);

  MetricRegistry& registry_;
  const std::function<void(const std::string& line)> log_;
  const std::function<void(const RunRecord& run)> run_ended_;
  const Histogram lag_;
  const Histogram queue_wait_;

  // Held while the coordinator is asked, and so never by what it calls.
  absl::Mutex collecting_;
  // Labels of the metrics that go with what the coordinator holds.
  std::set<std::string> jobs_ ABSL_GUARDED_BY(collecting_);
  std::set<std::string> connections_ ABSL_GUARDED_BY(collecting_);

  absl::Mutex mutex_;
  // By uid of the job.
  std::map<std::string, absl::Time> last_successes_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tidemark::coordinator
