#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/base/clock.h"
#include "common/telemetry/metric_registry.h"
#include "coordinator/store/metadata_store.h"

namespace tidemark::coordinator {

// Another store, whose every call is timed for tidemark_metadata_query_duration_seconds.
class MeasuredStore final : public MetadataStore {
 public:
  // All three must outlive it.
  MeasuredStore(MetadataStore* store, const Clock* clock, MetricRegistry* registry);
  ~MeasuredStore() override;

  absl::StatusOr<std::string> ClusterId() override;
  absl::StatusOr<int64_t> AcquireLeadership(std::string_view holder, absl::Duration ttl, int64_t at_least) override;
  absl::Status RenewLeadership(int64_t epoch, absl::Duration ttl) override;
  absl::Status ResignLeadership(int64_t epoch) override;
  absl::Status Apply(int64_t epoch, const WriteBatch& batch) override;
  absl::StatusOr<ConnectionRecord> GetConnection(std::string_view name) override;
  absl::StatusOr<std::vector<ConnectionRecord>> ListConnections() override;
  absl::StatusOr<JobRecord> GetJob(std::string_view name) override;
  absl::StatusOr<std::vector<JobRecord>> ListJobs() override;
  absl::StatusOr<int64_t> JobsRevision() override;
  absl::StatusOr<std::vector<std::pair<std::string, absl::Time>>> LastFireTimes() override;
  absl::StatusOr<std::vector<std::pair<std::string, absl::Time>>> LastSuccesses() override;
  absl::StatusOr<RunRecord> GetRun(std::string_view id) override;
  absl::StatusOr<RunRecord> GetRunByKey(std::string_view run_key) override;
  absl::StatusOr<std::vector<RunRecord>> ListRuns(const RunFilter& filter) override;
  absl::StatusOr<std::vector<RunRecord>> ListUnfinishedRuns() override;
  absl::StatusOr<std::vector<TaskRecord>> ListTasks(std::string_view run_id) override;
  absl::StatusOr<std::vector<PermitRecord>> ListPermits() override;
  absl::StatusOr<std::vector<AuditEvent>> ListAudit(const AuditFilter& filter) override;
  absl::Status AddTrigger(const TriggerRecord& trigger) override;
  absl::StatusOr<std::vector<TriggerRecord>> ListTriggers() override;
  // Waiting is no query: these two are not timed.
  bool WaitForTriggers(absl::Duration timeout) override;
  void Interrupt() override;

 private:
  struct Durations;

  template <class Call>
  auto Timed(const Histogram& duration, Call call);

  MetadataStore& store_;
  const Clock& clock_;
  const std::unique_ptr<const Durations> durations_;
};

}  // namespace tidemark::coordinator
