#include "coordinator/server/measured_store.h"

#include "common/telemetry/metrics.h"

namespace tidemark::coordinator {

struct MeasuredStore::Durations {
  explicit Durations(MetricRegistry& registry)
      : cluster_id(registry.Get(metrics::kMetadataQueryDuration, "cluster_id")),
        acquire_leadership(registry.Get(metrics::kMetadataQueryDuration, "acquire_leadership")),
        renew_leadership(registry.Get(metrics::kMetadataQueryDuration, "renew_leadership")),
        resign_leadership(registry.Get(metrics::kMetadataQueryDuration, "resign_leadership")),
        apply(registry.Get(metrics::kMetadataQueryDuration, "apply")),
        get_connection(registry.Get(metrics::kMetadataQueryDuration, "get_connection")),
        list_connections(registry.Get(metrics::kMetadataQueryDuration, "list_connections")),
        get_job(registry.Get(metrics::kMetadataQueryDuration, "get_job")),
        list_jobs(registry.Get(metrics::kMetadataQueryDuration, "list_jobs")),
        jobs_revision(registry.Get(metrics::kMetadataQueryDuration, "jobs_revision")),
        last_fire_times(registry.Get(metrics::kMetadataQueryDuration, "last_fire_times")),
        last_successes(registry.Get(metrics::kMetadataQueryDuration, "last_successes")),
        get_run(registry.Get(metrics::kMetadataQueryDuration, "get_run")),
        get_run_by_key(registry.Get(metrics::kMetadataQueryDuration, "get_run_by_key")),
        list_runs(registry.Get(metrics::kMetadataQueryDuration, "list_runs")),
        list_unfinished_runs(registry.Get(metrics::kMetadataQueryDuration, "list_unfinished_runs")),
        list_tasks(registry.Get(metrics::kMetadataQueryDuration, "list_tasks")),
        list_permits(registry.Get(metrics::kMetadataQueryDuration, "list_permits")),
        list_audit(registry.Get(metrics::kMetadataQueryDuration, "list_audit")),
        add_trigger(registry.Get(metrics::kMetadataQueryDuration, "add_trigger")),
        list_triggers(registry.Get(metrics::kMetadataQueryDuration, "list_triggers")) {}

  const Histogram cluster_id;
  const Histogram acquire_leadership;
  const Histogram renew_leadership;
  const Histogram resign_leadership;
  const Histogram apply;
  const Histogram get_connection;
  const Histogram list_connections;
  const Histogram get_job;
  const Histogram list_jobs;
  const Histogram jobs_revision;
  const Histogram last_fire_times;
  const Histogram last_successes;
  const Histogram get_run;
  const Histogram get_run_by_key;
  const Histogram list_runs;
  const Histogram list_unfinished_runs;
  const Histogram list_tasks;
  const Histogram list_permits;
  const Histogram list_audit;
  const Histogram add_trigger;
  const Histogram list_triggers;
};

MeasuredStore::MeasuredStore(MetadataStore* store, const Clock* clock, MetricRegistry* registry)
    : store_(*store), clock_(*clock), durations_(std::make_unique<Durations>(*registry)) {}

MeasuredStore::~MeasuredStore() = default;

template <class Call>
auto MeasuredStore::Timed(const Histogram& duration, Call call) {
  const absl::Duration begin = clock_.Monotonic();
  auto answer = call();
  duration.Observe(absl::ToDoubleSeconds(clock_.Monotonic() - begin));
  return answer;
}

absl::StatusOr<std::string> MeasuredStore::ClusterId() {
  return Timed(durations_->cluster_id, [&] { return store_.ClusterId(); });
}

absl::StatusOr<int64_t> MeasuredStore::AcquireLeadership(std::string_view holder, absl::Duration ttl,
                                                         int64_t at_least) {
  return Timed(durations_->acquire_leadership, [&] { return store_.AcquireLeadership(holder, ttl, at_least); });
}

absl::Status MeasuredStore::RenewLeadership(int64_t epoch, absl::Duration ttl) {
  return Timed(durations_->renew_leadership, [&] { return store_.RenewLeadership(epoch, ttl); });
}

absl::Status MeasuredStore::ResignLeadership(int64_t epoch) {
  return Timed(durations_->resign_leadership, [&] { return store_.ResignLeadership(epoch); });
}

absl::Status MeasuredStore::Apply(int64_t epoch, const WriteBatch& batch) {
  return Timed(durations_->apply, [&] { return store_.Apply(epoch, batch); });
}

absl::StatusOr<ConnectionRecord> MeasuredStore::GetConnection(std::string_view name) {
  return Timed(durations_->get_connection, [&] { return store_.GetConnection(name); });
}

absl::StatusOr<std::vector<ConnectionRecord>> MeasuredStore::ListConnections() {
  return Timed(durations_->list_connections, [&] { return store_.ListConnections(); });
}

absl::StatusOr<JobRecord> MeasuredStore::GetJob(std::string_view name) {
  return Timed(durations_->get_job, [&] { return store_.GetJob(name); });
}

absl::StatusOr<std::vector<JobRecord>> MeasuredStore::ListJobs() {
  return Timed(durations_->list_jobs, [&] { return store_.ListJobs(); });
}

absl::StatusOr<int64_t> MeasuredStore::JobsRevision() {
  return Timed(durations_->jobs_revision, [&] { return store_.JobsRevision(); });
}

absl::StatusOr<std::vector<std::pair<std::string, absl::Time>>> MeasuredStore::LastFireTimes() {
  return Timed(durations_->last_fire_times, [&] { return store_.LastFireTimes(); });
}

absl::StatusOr<std::vector<std::pair<std::string, absl::Time>>> MeasuredStore::LastSuccesses() {
  return Timed(durations_->last_successes, [&] { return store_.LastSuccesses(); });
}

absl::StatusOr<RunRecord> MeasuredStore::GetRun(std::string_view id) {
  return Timed(durations_->get_run, [&] { return store_.GetRun(id); });
}

absl::StatusOr<RunRecord> MeasuredStore::GetRunByKey(std::string_view run_key) {
  return Timed(durations_->get_run_by_key, [&] { return store_.GetRunByKey(run_key); });
}

absl::StatusOr<std::vector<RunRecord>> MeasuredStore::ListRuns(const RunFilter& filter) {
  return Timed(durations_->list_runs, [&] { return store_.ListRuns(filter); });
}

absl::StatusOr<std::vector<RunRecord>> MeasuredStore::ListUnfinishedRuns() {
  return Timed(durations_->list_unfinished_runs, [&] { return store_.ListUnfinishedRuns(); });
}

absl::StatusOr<std::vector<TaskRecord>> MeasuredStore::ListTasks(std::string_view run_id) {
  return Timed(durations_->list_tasks, [&] { return store_.ListTasks(run_id); });
}

absl::StatusOr<std::vector<PermitRecord>> MeasuredStore::ListPermits() {
  return Timed(durations_->list_permits, [&] { return store_.ListPermits(); });
}

absl::StatusOr<std::vector<AuditEvent>> MeasuredStore::ListAudit(const AuditFilter& filter) {
  return Timed(durations_->list_audit, [&] { return store_.ListAudit(filter); });
}

absl::Status MeasuredStore::AddTrigger(const TriggerRecord& trigger) {
  return Timed(durations_->add_trigger, [&] { return store_.AddTrigger(trigger); });
}

absl::StatusOr<std::vector<TriggerRecord>> MeasuredStore::ListTriggers() {
  return Timed(durations_->list_triggers, [&] { return store_.ListTriggers(); });
}

bool MeasuredStore::WaitForTriggers(absl::Duration timeout) { return store_.WaitForTriggers(timeout); }

void MeasuredStore::Interrupt() { store_.Interrupt(); }

}  // namespace tidemark::coordinator
