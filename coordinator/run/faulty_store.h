#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/rng.h"
#include "coordinator/store/metadata_store.h"

namespace tidemark::coordinator {

// Another store, which fails as a test wants it to.
class FaultyStore final : public MetadataStore {
 public:
  // `store` must outlive it.
  explicit FaultyStore(MetadataStore* store) : store_(*store) {}

  // Answer of every write, leases included, which then changes nothing; OK: none fails.
  absl::Status write_error;
  // How long a write that fails takes.
  std::function<void()> while_failing = [] {};
  // Of the next writes of batches, the one of this number happens and is answered with Unavailable; 0: none.
  int doubtful_write = 0;
  // The same for any write of a batch, by chance.
  int doubtful_per_mille = 0;
  Rng* rng = nullptr;
  // The chain of this job cannot be read.
  std::string unreadable_job;
  // How many times from now on the triggers cannot be listed.
  std::atomic<int> unlistable_triggers = 0;
  // Records that ListRuns gave.
  int64_t runs_listed = 0;

  absl::StatusOr<std::string> ClusterId() override { return store_.ClusterId(); }
  absl::StatusOr<int64_t> AcquireLeadership(std::string_view holder, absl::Duration ttl, int64_t at_least) override {
    if (!write_error.ok()) return Failed();
    return store_.AcquireLeadership(holder, ttl, at_least);
  }
  absl::Status RenewLeadership(int64_t epoch, absl::Duration ttl) override {
    return write_error.ok() ? store_.RenewLeadership(epoch, ttl) : Failed();
  }
  absl::Status ResignLeadership(int64_t epoch) override { return store_.ResignLeadership(epoch); }
  absl::Status Apply(int64_t epoch, const WriteBatch& batch) override {
    if (!write_error.ok()) return Failed();
    absl::Status status = store_.Apply(epoch, batch);
    const bool lost = doubtful_write > 0 && --doubtful_write == 0;
    const bool by_chance = doubtful_per_mille > 0 && rng->Below(1000) < static_cast<uint64_t>(doubtful_per_mille);
    return lost || by_chance ? absl::UnavailableError("the answer was lost") : status;
  }

  absl::StatusOr<ConnectionRecord> GetConnection(std::string_view name) override { return store_.GetConnection(name); }
  absl::StatusOr<std::vector<ConnectionRecord>> ListConnections() override { return store_.ListConnections(); }
  absl::StatusOr<JobRecord> GetJob(std::string_view name) override { return store_.GetJob(name); }
  absl::StatusOr<std::vector<JobRecord>> ListJobs() override { return store_.ListJobs(); }
  absl::StatusOr<int64_t> JobsRevision() override { return store_.JobsRevision(); }
  absl::StatusOr<std::vector<std::pair<std::string, absl::Time>>> LastFireTimes() override {
    return store_.LastFireTimes();
  }
  absl::StatusOr<std::vector<std::pair<std::string, absl::Time>>> LastSuccesses() override {
    return store_.LastSuccesses();
  }
  absl::StatusOr<RunRecord> GetRun(std::string_view id) override { return store_.GetRun(id); }
  absl::StatusOr<RunRecord> GetRunByKey(std::string_view run_key) override { return store_.GetRunByKey(run_key); }
  absl::StatusOr<std::vector<RunRecord>> ListRuns(const RunFilter& filter) override {
    if (filter.moved_chain && filter.job_name == unreadable_job) {
      return absl::DataLossError("the store holds an unreadable run");
    }
    absl::StatusOr<std::vector<RunRecord>> runs = store_.ListRuns(filter);
    if (runs.ok()) runs_listed += static_cast<int64_t>(runs->size());
    return runs;
  }
  absl::StatusOr<std::vector<RunRecord>> ListUnfinishedRuns() override { return store_.ListUnfinishedRuns(); }
  absl::StatusOr<std::vector<TaskRecord>> ListTasks(std::string_view run_id) override {
    return store_.ListTasks(run_id);
  }
  absl::StatusOr<std::vector<PermitRecord>> ListPermits() override { return store_.ListPermits(); }
  absl::StatusOr<std::vector<AuditEvent>> ListAudit(const AuditFilter& filter) override {
    return store_.ListAudit(filter);
  }
  absl::Status AddTrigger(const TriggerRecord& trigger) override {
    return write_error.ok() ? store_.AddTrigger(trigger) : Failed();
  }
  absl::StatusOr<std::vector<TriggerRecord>> ListTriggers() override {
    if (unlistable_triggers > 0 && unlistable_triggers-- > 0)
      return absl::UnavailableError("the store does not answer");
    return store_.ListTriggers();
  }
  bool WaitForTriggers(absl::Duration timeout) override { return store_.WaitForTriggers(timeout); }
  void Interrupt() override { store_.Interrupt(); }

 private:
  absl::Status Failed() {
    while_failing();
    return write_error;
  }

  MetadataStore& store_;
};

}  // namespace tidemark::coordinator
