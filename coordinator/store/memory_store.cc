#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/status_macros.h"
#include "coordinator/store/metadata_store.h"
#include "coordinator/store/trigger_signal.h"
#include "coordinator/store/write_rules.h"

namespace tidemark::coordinator {
namespace {

void RoundTimes(ConnectionRecord& connection) {
  connection.created = Stored(connection.created);
  connection.updated = Stored(connection.updated);
}
void RoundTimes(JobRecord& job) {
  for (absl::Time* time : {&job.created, &job.updated, &job.scheduled_from}) *time = Stored(*time);
}
void RoundTimes(TaskRecord& task) { task.not_before = Stored(task.not_before); }
void RoundTimes(PermitRecord& permit) { permit.granted = Stored(permit.granted); }
void RoundTimes(RunRecord& run) {
  run.created = Stored(run.created);
  for (std::optional<absl::Time>* time : {&run.started, &run.ended, &run.fire_time}) {
    if (time->has_value()) *time = Stored(**time);
  }
  for (absl::Duration* duration : {&run.describe_time, &run.wait_time, &run.move_time, &run.commit_time}) {
    *duration = Stored(*duration);
  }
}

// What must happen to take back the part of a batch that was applied, newest last.
class UndoLog {
 public:
  void Add(std::function<void()> step) { steps_.push_back(std::move(step)); }
  void Undo() {
    for (; !steps_.empty(); steps_.pop_back()) steps_.back()();
  }

 private:
  std::vector<std::function<void()>> steps_;
};

using Index = std::map<std::string, std::string, std::less<>>;

// The tables, without a lock.
class Tables {
 public:
  absl::Status Apply(int64_t epoch, const WriteBatch& batch) {
    TM_RETURN_IF_ERROR(leadership.Check(epoch));
    UndoLog undo;
    absl::Status status = ApplyRows(batch, undo);
    if (!status.ok()) undo.Undo();
    return status;
  }

  Leadership leadership;
  int64_t jobs_revision = 0;
  int64_t last_job_id = 0;
  std::map<std::string, ConnectionRecord, std::less<>> connections;
  std::map<std::string, JobRecord, std::less<>> jobs;  // By uid.
  Index job_names;                                     // To uids.
  std::map<std::string, RunRecord, std::less<>> runs;  // By id.
  Index run_keys;                                      // To ids.
  std::map<std::string, TaskRecord, std::less<>> tasks;
  std::set<std::pair<std::string, std::string>> tasks_of_run;  // Run, task.
  std::map<std::string, PermitRecord, std::less<>> permits;    // By session.
  std::vector<AuditEvent> audit;
  std::map<std::string, TriggerRecord, std::less<>> triggers;

 private:
  // Stores `row` under `key` if its revision is the stored one.
  template <typename Record>
  static absl::Status Put(std::map<std::string, Record, std::less<>>& rows, const std::string& key, Record row,
                          UndoLog& undo) {
    auto old = rows.find(key);
    if (row.revision == 0 && old != rows.end()) return AlreadyStored(Subject(row));
    if (row.revision != 0 && (old == rows.end() || old->second.revision != row.revision)) {
      return ChangedSince(Subject(row), row.revision);
    }
    ++row.revision;
    RoundTimes(row);
    if (old == rows.end()) {
      undo.Add([&rows, key] { rows.erase(key); });
      rows.emplace(key, std::move(row));
    } else {
      undo.Add([&rows, key, before = old->second] { rows.insert_or_assign(key, before); });
      old->second = std::move(row);
    }
    return absl::OkStatus();
  }

  // Points the unique `name` at `key`, and no longer `old_name`. False if it is another row's.
  static bool Point(Index& index, const std::string& old_name, const std::string& name, const std::string& key,
                    UndoLog& undo) {
    auto [entry, inserted] = index.emplace(name, key);
    if (!inserted) return entry->second == key;
    undo.Add([&index, name] { index.erase(name); });
    if (index.erase(old_name) > 0) undo.Add([&index, old_name, key] { index.emplace(old_name, key); });
    return true;
  }

  absl::Status PutJob(JobRecord job, UndoLog& undo) {
    auto old = jobs.find(job.uid);
    const std::string old_name = old == jobs.end() ? "" : old->second.spec.name();
    if (old == jobs.end()) {
      undo.Add([this, before = last_job_id] { last_job_id = before; });
      job.id = ++last_job_id;
    } else {
      job.id = old->second.id;
    }
    TM_RETURN_IF_ERROR(Put(jobs, job.uid, job, undo));
    if (!Point(job_names, old_name, job.spec.name(), job.uid, undo)) return AlreadyStored(Subject(job));
    return absl::OkStatus();
  }

  absl::Status PutRun(const RunRecord& run, UndoLog& undo) {
    if (run.revision == 0 && jobs.find(run.job_uid) == jobs.end()) return NotStored("job of uid", run.job_uid);
    auto old = runs.find(run.id);
    const std::string old_key = old == runs.end() ? "" : old->second.run_key;
    TM_RETURN_IF_ERROR(Put(runs, run.id, run, undo));
    if (!Point(run_keys, old_key, run.run_key, run.id, undo)) return AlreadyStored(Subject(run));
    return absl::OkStatus();
  }

  absl::Status PutTask(const TaskRecord& task, UndoLog& undo) {
    auto old = tasks.find(task.id);
    const std::pair<std::string, std::string> old_entry(old == tasks.end() ? "" : old->second.run_id, task.id);
    TM_RETURN_IF_ERROR(Put(tasks, task.id, task, undo));
    if (old_entry.first != task.run_id && tasks_of_run.erase(old_entry) > 0) {
      undo.Add([this, old_entry] { tasks_of_run.insert(old_entry); });
    }
    auto [entry, inserted] = tasks_of_run.emplace(task.run_id, task.id);
    if (inserted) undo.Add([this, entry = *entry] { tasks_of_run.erase(entry); });
    return absl::OkStatus();
  }

  // True if there was such a row.
  template <typename Record>
  static bool Drop(std::map<std::string, Record, std::less<>>& rows, const std::string& key, UndoLog& undo) {
    auto row = rows.find(key);
    if (row == rows.end()) return false;
    undo.Add([&rows, key, before = row->second] { rows.emplace(key, before); });
    rows.erase(row);
    return true;
  }

  bool DropJob(const std::string& uid, UndoLog& undo) {
    auto job = jobs.find(uid);
    if (job == jobs.end()) return false;
    undo.Add([this, uid, name = job->second.spec.name()] { job_names.emplace(name, uid); });
    job_names.erase(job->second.spec.name());
    return Drop(jobs, uid, undo);
  }

  absl::Status AdvanceJob(const WatermarkAdvance& advance, UndoLog& undo) {
    auto job = jobs.find(advance.job_uid);
    if (job == jobs.end()) return NotStored("job of uid", advance.job_uid);
    JobRecord moved = job->second;
    TM_RETURN_IF_ERROR(Advance(advance, moved));
    return PutJob(std::move(moved), undo);
  }

  absl::Status ApplyRows(const WriteBatch& batch, UndoLog& undo) {
    for (const std::string& name : batch.dropped_connections) Drop(connections, name, undo);
    for (const ConnectionRecord& connection : batch.connections) {
      TM_RETURN_IF_ERROR(Put(connections, connection.name, connection, undo));
    }
    bool jobs_changed = !batch.jobs.empty();
    for (const std::string& uid : batch.dropped_jobs) jobs_changed = DropJob(uid, undo) || jobs_changed;
    for (const JobRecord& job : batch.jobs) TM_RETURN_IF_ERROR(PutJob(job, undo));
    if (jobs_changed) {
      undo.Add([this] { --jobs_revision; });
      ++jobs_revision;
    }
    for (const RunRecord& run : batch.runs) TM_RETURN_IF_ERROR(PutRun(run, undo));
    for (const TaskRecord& task : batch.tasks) TM_RETURN_IF_ERROR(PutTask(task, undo));
    for (const PermitRecord& permit : batch.permits) {
      TM_RETURN_IF_ERROR(Put(permits, permit.session_id, permit, undo));
    }
    for (const std::string& session_id : batch.dropped_permits) Drop(permits, session_id, undo);
    for (const std::string& id : batch.dropped_triggers) Drop(triggers, id, undo);
    for (const WatermarkAdvance& advance : batch.watermarks) TM_RETURN_IF_ERROR(AdvanceJob(advance, undo));
    for (AuditEvent event : batch.audit) {
      event.time = Stored(event.time);
      event.id = static_cast<int64_t>(audit.size()) + 1;
      audit.push_back(std::move(event));
    }
    return absl::OkStatus();
  }
};

class MemoryStore final : public MetadataStore {
 public:
  MemoryStore(const Clock* clock, uint64_t seed) : clock_(clock) {
    Rng rng(seed);
    cluster_id_ = NewId(clock->Now(), rng);
  }

  absl::StatusOr<std::string> ClusterId() override { return cluster_id_; }

  absl::StatusOr<int64_t> AcquireLeadership(std::string_view holder, absl::Duration ttl, int64_t at_least) override {
    absl::MutexLock lock(&mutex_);
    TM_RETURN_IF_ERROR(tables_.leadership.Take(holder, ttl, at_least, clock_->Now()));
    return tables_.leadership.epoch;
  }

  absl::Status RenewLeadership(int64_t epoch, absl::Duration ttl) override {
    absl::MutexLock lock(&mutex_);
    return tables_.leadership.Renew(epoch, ttl, clock_->Now());
  }

  absl::Status ResignLeadership(int64_t epoch) override {
    absl::MutexLock lock(&mutex_);
    return tables_.leadership.Resign(epoch);
  }

  absl::Status Apply(int64_t epoch, const WriteBatch& batch) override {
    absl::MutexLock lock(&mutex_);
    return tables_.Apply(epoch, batch);
  }

  absl::StatusOr<ConnectionRecord> GetConnection(std::string_view name) override {
    absl::MutexLock lock(&mutex_);
    auto connection = tables_.connections.find(name);
    if (connection == tables_.connections.end()) return NotStored("connection", name);
    return connection->second;
  }

  absl::StatusOr<std::vector<ConnectionRecord>> ListConnections() override {
    absl::MutexLock lock(&mutex_);
    std::vector<ConnectionRecord> connections;
    for (const auto& [name, connection] : tables_.connections) connections.push_back(connection);
    return connections;
  }

  absl::StatusOr<JobRecord> GetJob(std::string_view name) override {
    absl::MutexLock lock(&mutex_);
    auto uid = tables_.job_names.find(name);
    if (uid == tables_.job_names.end()) return NotStored("job", name);
    return tables_.jobs.find(uid->second)->second;
  }

  absl::StatusOr<std::vector<JobRecord>> ListJobs() override {
    absl::MutexLock lock(&mutex_);
    std::vector<JobRecord> jobs;
    for (const auto& [name, uid] : tables_.job_names) jobs.push_back(tables_.jobs.find(uid)->second);
    return jobs;
  }

  absl::StatusOr<int64_t> JobsRevision() override {
    absl::MutexLock lock(&mutex_);
    return tables_.jobs_revision;
  }

  absl::StatusOr<std::vector<std::pair<std::string, absl::Time>>> LastFireTimes() override {
    return NewestOfEachJob([](const RunRecord& run) { return run.fire_time; });
  }

  absl::StatusOr<std::vector<std::pair<std::string, absl::Time>>> LastSuccesses() override {
    return NewestOfEachJob(
        [](const RunRecord& run) { return run.status == RunStatus::kSuccess ? run.ended : std::nullopt; });
  }

  absl::StatusOr<RunRecord> GetRun(std::string_view id) override {
    absl::MutexLock lock(&mutex_);
    auto run = tables_.runs.find(id);
    if (run == tables_.runs.end()) return NotStored("run", id);
    return run->second;
  }

  absl::StatusOr<RunRecord> GetRunByKey(std::string_view run_key) override {
    absl::MutexLock lock(&mutex_);
    auto id = tables_.run_keys.find(run_key);
    if (id == tables_.run_keys.end()) return NotStored("run of key", run_key);
    return tables_.runs.find(id->second)->second;
  }

  absl::StatusOr<std::vector<RunRecord>> ListRuns(const RunFilter& filter) override {
    absl::MutexLock lock(&mutex_);
    std::vector<RunRecord> runs;
    for (auto entry = tables_.runs.rbegin(); entry != tables_.runs.rend(); ++entry) {
      const RunRecord& run = entry->second;
      if (!filter.job_name.empty() && run.job_name != filter.job_name) continue;
      if (filter.status.has_value() && run.status != *filter.status) continue;
      if (filter.phase.has_value() && run.phase != *filter.phase) continue;
      if (filter.moved_chain && !MovedChain(run)) continue;
      if (filter.begun && run.sequence == 0) continue;
      if (!filter.before.empty() && run.id >= filter.before) continue;
      runs.push_back(run);
      if (filter.limit > 0 && runs.size() >= static_cast<size_t>(filter.limit)) break;
    }
    return runs;
  }

  absl::StatusOr<std::vector<RunRecord>> ListUnfinishedRuns() override {
    absl::MutexLock lock(&mutex_);
    std::vector<RunRecord> runs;
    for (const auto& [id, run] : tables_.runs) {
      if (run.status == RunStatus::kRunning) runs.push_back(run);
    }
    return runs;
  }

  absl::StatusOr<std::vector<TaskRecord>> ListTasks(std::string_view run_id) override {
    absl::MutexLock lock(&mutex_);
    std::vector<TaskRecord> tasks;
    for (auto entry = tables_.tasks_of_run.lower_bound({std::string(run_id), ""});
         entry != tables_.tasks_of_run.end() && entry->first == run_id; ++entry) {
      tasks.push_back(tables_.tasks.find(entry->second)->second);
    }
    std::sort(tasks.begin(), tasks.end(), [](const TaskRecord& a, const TaskRecord& b) {
      const auto rank = [](const TaskRecord& task) {
        return std::tuple(task.partition, task.kind != v1::TASK_KIND_DESCRIBE, std::string_view(task.id));
      };
      return rank(a) < rank(b);
    });
    return tasks;
  }

  absl::StatusOr<std::vector<PermitRecord>> ListPermits() override {
    absl::MutexLock lock(&mutex_);
    std::vector<PermitRecord> permits;
    for (const auto& [session_id, permit] : tables_.permits) permits.push_back(permit);
    return permits;
  }

  absl::StatusOr<std::vector<AuditEvent>> ListAudit(const AuditFilter& filter) override {
    absl::MutexLock lock(&mutex_);
    std::vector<AuditEvent> events;
    for (auto event = tables_.audit.rbegin(); event != tables_.audit.rend(); ++event) {
      if (filter.before > 0 && event->id >= filter.before) continue;
      events.push_back(*event);
      if (filter.limit > 0 && events.size() >= static_cast<size_t>(filter.limit)) break;
    }
    return events;
  }

  absl::Status AddTrigger(const TriggerRecord& trigger) override {
    TriggerRecord stored = trigger;
    stored.requested = Stored(stored.requested);
    {
      absl::MutexLock lock(&mutex_);
      if (!tables_.triggers.emplace(trigger.id, std::move(stored)).second) return AlreadyStored(Subject(trigger));
    }
    signal_.Notify();
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<TriggerRecord>> ListTriggers() override {
    absl::MutexLock lock(&mutex_);
    std::vector<TriggerRecord> triggers;
    for (const auto& [id, trigger] : tables_.triggers) triggers.push_back(trigger);
    // By id they are already.
    std::stable_sort(triggers.begin(), triggers.end(),
                     [](const TriggerRecord& a, const TriggerRecord& b) { return a.requested < b.requested; });
    return triggers;
  }

  bool WaitForTriggers(absl::Duration timeout) override {
    return signal_.Wait(timeout) == TriggerSignal::Outcome::kNotified;
  }

  void Interrupt() override { signal_.Interrupt(); }

 private:
  // The latest time that `time_of` finds among the runs of each job, by uid.
  template <typename TimeOf>
  std::vector<std::pair<std::string, absl::Time>> NewestOfEachJob(const TimeOf& time_of) {
    absl::MutexLock lock(&mutex_);
    std::map<std::string, absl::Time> times;
    for (const auto& [id, run] : tables_.runs) {
      const std::optional<absl::Time> time = time_of(run);
      if (!time.has_value() || tables_.jobs.find(run.job_uid) == tables_.jobs.end()) continue;
      absl::Time& newest = times.emplace(run.job_uid, *time).first->second;
      newest = std::max(newest, *time);
    }
    return std::vector<std::pair<std::string, absl::Time>>(times.begin(), times.end());
  }

  const Clock* const clock_;
  std::string cluster_id_;
  absl::Mutex mutex_;
  Tables tables_ ABSL_GUARDED_BY(mutex_);
  TriggerSignal signal_;
};

}  // namespace

std::unique_ptr<MetadataStore> NewMemoryStore(const Clock* clock, uint64_t seed) {
  return std::make_unique<MemoryStore>(clock, seed);
}

}  // namespace tidemark::coordinator
