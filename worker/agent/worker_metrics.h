#pragma once

#include <vector>

#include "common/telemetry/metric_registry.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/agent/worker_agent.h"

namespace tidemark {

// What a worker counts of its tasks. Thread-safe.
class WorkerMetrics {
 public:
  // `registry` must outlive it.
  explicit WorkerMetrics(MetricRegistry* registry);

  // For WorkerAgent::Options. Rows and bytes read count at the end of every move, one that failed too: they were read.
  // What became of a run's rows counts with the commit that made it so.
  void AttemptEnded(const v1::Task& task, const v1::CompleteTaskRequest& outcome, const v1::TaskProgress& progress);

  // Shows what `agents` use together at every scrape, until the hook is destroyed, which must be before the agents.
  [[nodiscard]] MetricRegistry::CollectHook Watch(std::vector<const WorkerAgent*> agents);

 private:
  MetricRegistry* const registry_;
};

}  // namespace tidemark
