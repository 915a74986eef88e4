#include "worker/agent/worker_metrics.h"

#include <string_view>
#include <utility>

#include "absl/time/time.h"
#include "common/model/duration.h"
#include "common/telemetry/metrics.h"

namespace tidemark {
namespace {

// The name its work has in the contract: "describe", "move", ...
std::string KindOf(const v1::Task& task) {
  const google::protobuf::OneofDescriptor* work = v1::Task::descriptor()->FindOneofByName("work");
  const google::protobuf::FieldDescriptor* set = v1::Task::GetReflection()->GetOneofFieldDescriptor(task, work);
  return set == nullptr ? "unknown" : set->name();
}

std::string_view ResultOf(const v1::CompleteTaskRequest& outcome) {
  if (!outcome.has_error()) return "success";
  if (outcome.error().code() == static_cast<int>(absl::StatusCode::kCancelled)) return "cancelled";
  return outcome.error().retryable() ? "retryable" : "failed";
}

}  // namespace

WorkerMetrics::WorkerMetrics(MetricRegistry* registry) : registry_(registry) {}

void WorkerMetrics::AttemptEnded(const v1::Task& task, const v1::CompleteTaskRequest& outcome,
                                 const v1::TaskProgress& progress) {
  registry_->Get(metrics::kTaskAttempts, KindOf(task), ResultOf(outcome)).Add();
  const std::string& job = task.job().name();
  if (task.has_move()) {
    registry_->Get(metrics::kRows, job, "read").Add(static_cast<double>(progress.rows_read()));
    registry_->Get(metrics::kBytes, "read").Add(static_cast<double>(progress.bytes_read()));
  }
  if (outcome.has_move()) {
    const v1::MoveResult& move = outcome.move();
    registry_->Get(metrics::kBytes, "spilled").Add(static_cast<double>(move.spilled_bytes()));
    registry_->Get(metrics::kStageDuration, "extract").Observe(absl::ToDoubleSeconds(FromProto(move.extract_time())));
    registry_->Get(metrics::kStageDuration, "load").Observe(absl::ToDoubleSeconds(FromProto(move.load_time())));
  }
  if (outcome.has_commit() && !outcome.commit().already_done()) {
    const v1::RowCounts& counts = outcome.commit().counts();
    registry_->Get(metrics::kRows, job, "loaded").Add(static_cast<double>(counts.loaded()));
    registry_->Get(metrics::kRows, job, "filtered").Add(static_cast<double>(counts.filtered()));
    registry_->Get(metrics::kRows, job, "quarantined").Add(static_cast<double>(counts.quarantined()));
  }
}

MetricRegistry::CollectHook WorkerMetrics::Watch(std::vector<const WorkerAgent*> agents) {
  return registry_->OnCollect([agents = std::move(agents), memory = registry_->Get(metrics::kWorkerMemory),
                               spill = registry_->Get(metrics::kSpill)] {
    WorkerAgent::Usage sum;
    for (const WorkerAgent* agent : agents) {
      const WorkerAgent::Usage usage = agent->usage();
      sum.memory_bytes += usage.memory_bytes;
      sum.spill_bytes += usage.spill_bytes;
    }
    memory.Set(static_cast<double>(sum.memory_bytes));
    spill.Set(static_cast<double>(sum.spill_bytes));
  });
}

}  // namespace tidemark
