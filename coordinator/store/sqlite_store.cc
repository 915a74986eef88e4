#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "coordinator/store/file_lock.h"
#include "coordinator/store/metadata_store.h"
#include "coordinator/store/rows.h"
#include "coordinator/store/sqlite_database.h"
#include "coordinator/store/sqlite_migration.h"
#include "coordinator/store/trigger_signal.h"
#include "coordinator/store/write_rules.h"

namespace tidemark::coordinator {
namespace {

// How long a wait for triggers may not see what another process has written.
constexpr absl::Duration kAskAgain = absl::Milliseconds(250);

std::string Columns(const std::vector<StoredColumn>& columns) {
  return absl::StrJoin(columns, ", ",
                       [](std::string* out, const StoredColumn& column) { absl::StrAppend(out, column.name); });
}

// Without a WHERE.
std::string SelectFrom(const StoredTable& table) {
  return absl::StrCat("SELECT ", Columns(table.columns), ", version FROM ", table.name);
}

// Binds Values(record).
std::string InsertInto(const StoredTable& table) {
  std::string parameters;
  for (size_t i = 1; i <= table.columns.size(); ++i) absl::StrAppend(&parameters, "?", i, ", ");
  return absl::StrCat("INSERT INTO ", table.name, " (", Columns(table.columns), ", version) VALUES (", parameters,
                      "1)");
}

// Binds Values(record) and, after them, the revision the row must have.
std::string UpdateOf(const StoredTable& table) {
  std::string assignments;
  for (size_t i = 1 + table.fixed; i < table.columns.size(); ++i) {
    absl::StrAppend(&assignments, table.columns[i].name, " = ?", i + 1, ", ");
  }
  return absl::StrCat("UPDATE ", table.name, " SET ", assignments, "version = version + 1 WHERE ",
                      table.columns[0].name, " = ?1 AND version = ?", table.columns.size() + 1);
}

template <typename Record>
absl::StatusOr<std::vector<Record>> Select(SqliteDatabase& db, const std::string& sql, const StoredValues& values,
                                           absl::StatusOr<Record> (*read)(RowReader&)) {
  std::vector<Record> records;
  TM_RETURN_IF_ERROR(db.Query(sql, values, [&](RowReader& row) -> absl::Status {
    TM_ASSIGN_OR_RETURN(Record record, read(row));
    records.push_back(std::move(record));
    return absl::OkStatus();
  }));
  return records;
}

// The row that `where` finds by `value`; `missing` if there is none.
template <typename Record>
absl::StatusOr<Record> SelectOne(SqliteDatabase& db, const StoredTable& table, const std::string& where,
                                 std::string_view value, absl::StatusOr<Record> (*read)(RowReader&),
                                 absl::Status missing) {
  TM_ASSIGN_OR_RETURN(
      std::vector<Record> records,
      Select(db, absl::StrCat(SelectFrom(table), " WHERE ", where, " = ?1"), {std::string(value)}, read));
  if (records.empty()) return missing;
  return std::move(records.front());
}

absl::StatusOr<JobRecord> SelectJobByUid(SqliteDatabase& db, std::string_view uid) {
  return SelectOne(db, JobTable(), "uid", uid, ReadJob, NotStored("job of uid", uid));
}

absl::StatusOr<Leadership> ReadLeadership(SqliteDatabase& db) {
  Leadership leadership;
  TM_RETURN_IF_ERROR(
      db.Query("SELECT epoch, holder, expires_at FROM etl_leader", {}, [&leadership](RowReader& row) -> absl::Status {
        leadership.epoch = row.Integer();
        leadership.holder = row.Text();
        TM_ASSIGN_OR_RETURN(leadership.expires, ParseTime(row.Text()));
        return absl::OkStatus();
      }));
  return leadership;
}

absl::Status WriteLeadership(SqliteDatabase& db, const Leadership& leadership) {
  return db
      .Execute("UPDATE etl_leader SET epoch = ?1, holder = ?2, expires_at = ?3",
               {leadership.epoch, leadership.holder, TimeText(leadership.expires)})
      .status();
}

// Inserts the row, or replaces the one of the record's revision.
absl::Status WriteRow(SqliteDatabase& db, const StoredTable& table, StoredValues values, int64_t revision,
                      const std::string& subject) {
  const bool insert = revision == 0;
  if (!insert) values.push_back(revision);
  const absl::StatusOr<int64_t> written = db.Execute(insert ? InsertInto(table) : UpdateOf(table), values);
  if (absl::IsAlreadyExists(written.status())) return AlreadyStored(subject);
  TM_RETURN_IF_ERROR(written.status());
  if (*written == 0) return ChangedSince(subject, revision);
  return absl::OkStatus();
}

absl::StatusOr<int64_t> SelectInteger(SqliteDatabase& db, const std::string& sql) {
  int64_t value = 0;
  TM_RETURN_IF_ERROR(db.Query(sql, {}, [&value](RowReader& row) {
    value = row.Integer();
    return absl::OkStatus();
  }));
  return value;
}

absl::Status WriteJob(SqliteDatabase& db, JobRecord job) {
  if (job.revision == 0) {
    TM_RETURN_IF_ERROR(db.Execute("UPDATE etl_cluster SET last_job_id = last_job_id + 1").status());
    TM_ASSIGN_OR_RETURN(job.id, SelectInteger(db, "SELECT last_job_id FROM etl_cluster"));
  }
  TM_ASSIGN_OR_RETURN(StoredValues values, Values(job));
  return WriteRow(db, JobTable(), std::move(values), job.revision, Subject(job));
}

absl::Status WriteRun(SqliteDatabase& db, const RunRecord& run) {
  int64_t job_id = 0;
  if (run.revision == 0) {
    TM_RETURN_IF_ERROR(db.Query("SELECT id FROM etl_jobs WHERE uid = ?1", {run.job_uid}, [&job_id](RowReader& row) {
      job_id = row.Integer();
      return absl::OkStatus();
    }));
    if (job_id == 0) return NotStored("job of uid", run.job_uid);
  }
  TM_ASSIGN_OR_RETURN(StoredValues values, Values(run, job_id));
  return WriteRow(db, RunTable(), std::move(values), run.revision, Subject(run));
}

absl::Status WriteAudit(SqliteDatabase& db, const AuditEvent& event) {
  TM_ASSIGN_OR_RETURN(const int64_t id, SelectInteger(db, "SELECT coalesce(max(id), 0) + 1 FROM etl_audit"));
  return db
      .Execute(
          "INSERT INTO etl_audit (id, happened_at, actor, action, subject, detail) "
          "VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
          {id, TimeText(event.time), event.actor, event.action, event.subject, event.detail})
      .status();
}

absl::StatusOr<int64_t> DropJob(SqliteDatabase& db, const std::string& uid) {
  TM_RETURN_IF_ERROR(
      db.Execute("DELETE FROM etl_schemas WHERE job_id = (SELECT id FROM etl_jobs WHERE uid = ?1)", {uid}).status());
  return db.Execute("DELETE FROM etl_jobs WHERE uid = ?1", {uid});
}

absl::Status WriteBatchRows(SqliteDatabase& db, const WriteBatch& batch) {
  for (const std::string& name : batch.dropped_connections) {
    TM_RETURN_IF_ERROR(db.Execute("DELETE FROM etl_connections WHERE name = ?1", {name}).status());
  }
  for (const ConnectionRecord& connection : batch.connections) {
    TM_ASSIGN_OR_RETURN(StoredValues values, Values(connection));
    TM_RETURN_IF_ERROR(WriteRow(db, ConnectionTable(), std::move(values), connection.revision, Subject(connection)));
  }
  bool jobs_changed = !batch.jobs.empty();
  for (const std::string& uid : batch.dropped_jobs) {
    TM_ASSIGN_OR_RETURN(const int64_t dropped, DropJob(db, uid));
    jobs_changed = jobs_changed || dropped > 0;
  }
  for (const JobRecord& job : batch.jobs) TM_RETURN_IF_ERROR(WriteJob(db, job));
  if (jobs_changed) {
    TM_RETURN_IF_ERROR(db.Execute("UPDATE etl_cluster SET jobs_revision = jobs_revision + 1").status());
  }
  for (const RunRecord& run : batch.runs) TM_RETURN_IF_ERROR(WriteRun(db, run));
  for (const TaskRecord& task : batch.tasks) {
    TM_ASSIGN_OR_RETURN(StoredValues values, Values(task));
    TM_RETURN_IF_ERROR(WriteRow(db, TaskTable(), std::move(values), task.revision, Subject(task)));
  }
  for (const PermitRecord& permit : batch.permits) {
    TM_ASSIGN_OR_RETURN(StoredValues values, Values(permit));
    TM_RETURN_IF_ERROR(WriteRow(db, PermitTable(), std::move(values), permit.revision, Subject(permit)));
  }
  for (const std::string& session_id : batch.dropped_permits) {
    TM_RETURN_IF_ERROR(db.Execute("DELETE FROM etl_permits WHERE session_id = ?1", {session_id}).status());
  }
  for (const std::string& id : batch.dropped_triggers) {
    TM_RETURN_IF_ERROR(db.Execute("DELETE FROM etl_triggers WHERE id = ?1", {id}).status());
  }
  for (const WatermarkAdvance& advance : batch.watermarks) {
    TM_ASSIGN_OR_RETURN(JobRecord job, SelectJobByUid(db, advance.job_uid));
    TM_RETURN_IF_ERROR(Advance(advance, job));
    TM_RETURN_IF_ERROR(WriteJob(db, std::move(job)));
  }
  for (const AuditEvent& event : batch.audit) TM_RETURN_IF_ERROR(WriteAudit(db, event));
  return absl::OkStatus();
}

// Made by the first opening and kept.
absl::StatusOr<std::string> ReadClusterId(SqliteDatabase& db) {
  std::string id;
  TM_RETURN_IF_ERROR(db.Query("SELECT cluster_id FROM etl_cluster", {}, [&id](RowReader& row) {
    id = row.Text();
    return absl::OkStatus();
  }));
  return id;
}

class SqliteStore final : public MetadataStore {
 public:
  // `lock` and `clock` are absent from a store that only reads.
  SqliteStore(std::unique_ptr<FileLock> lock, std::unique_ptr<SqliteDatabase> db, const Clock* clock,
              std::string cluster_id)
      : lock_(std::move(lock)), clock_(clock), cluster_id_(std::move(cluster_id)), db_(std::move(db)) {}

  absl::StatusOr<std::string> ClusterId() override { return cluster_id_; }

  absl::StatusOr<int64_t> AcquireLeadership(std::string_view holder, absl::Duration ttl, int64_t at_least) override {
    int64_t epoch = 0;
    TM_RETURN_IF_ERROR(ChangeLeadership([&](Leadership& leadership) {
      absl::Status status = leadership.Take(holder, ttl, at_least, clock_->Now());
      epoch = leadership.epoch;
      return status;
    }));
    return epoch;
  }

  absl::Status RenewLeadership(int64_t epoch, absl::Duration ttl) override {
    return ChangeLeadership([&](Leadership& leadership) { return leadership.Renew(epoch, ttl, clock_->Now()); });
  }

  absl::Status ResignLeadership(int64_t epoch) override {
    return ChangeLeadership([&](Leadership& leadership) { return leadership.Resign(epoch); });
  }

  absl::Status Apply(int64_t epoch, const WriteBatch& batch) override {
    return Write([&](SqliteDatabase& db) -> absl::Status {
      TM_ASSIGN_OR_RETURN(const Leadership leadership, ReadLeadership(db));
      TM_RETURN_IF_ERROR(leadership.Check(epoch));
      return WriteBatchRows(db, batch);
    });
  }

  absl::StatusOr<ConnectionRecord> GetConnection(std::string_view name) override {
    absl::MutexLock lock(&mutex_);
    return SelectOne(*db_, ConnectionTable(), "name", name, ReadConnection, NotStored("connection", name));
  }

  absl::StatusOr<std::vector<ConnectionRecord>> ListConnections() override {
    absl::MutexLock lock(&mutex_);
    return Select(*db_, absl::StrCat(SelectFrom(ConnectionTable()), " ORDER BY name"), {}, ReadConnection);
  }

  absl::StatusOr<JobRecord> GetJob(std::string_view name) override {
    absl::MutexLock lock(&mutex_);
    return SelectOne(*db_, JobTable(), "name", name, ReadJob, NotStored("job", name));
  }

  absl::StatusOr<std::vector<JobRecord>> ListJobs() override {
    absl::MutexLock lock(&mutex_);
    return Select(*db_, absl::StrCat(SelectFrom(JobTable()), " ORDER BY name"), {}, ReadJob);
  }

  absl::StatusOr<int64_t> JobsRevision() override {
    absl::MutexLock lock(&mutex_);
    return SelectInteger(*db_, "SELECT jobs_revision FROM etl_cluster");
  }

  absl::StatusOr<std::vector<std::pair<std::string, absl::Time>>> LastFireTimes() override {
    return NewestOfEachJob("fire_time", "fire_time IS NOT NULL");
  }

  absl::StatusOr<std::vector<std::pair<std::string, absl::Time>>> LastSuccesses() override {
    return NewestOfEachJob("run_end", "status = 'success'");
  }

  absl::StatusOr<RunRecord> GetRun(std::string_view id) override {
    absl::MutexLock lock(&mutex_);
    return SelectOne(*db_, RunTable(), "id", id, ReadRun, NotStored("run", id));
  }

  absl::StatusOr<RunRecord> GetRunByKey(std::string_view run_key) override {
    absl::MutexLock lock(&mutex_);
    return SelectOne(*db_, RunTable(), "run_key", run_key, ReadRun, NotStored("run of key", run_key));
  }

  absl::StatusOr<std::vector<RunRecord>> ListRuns(const RunFilter& filter) override {
    std::string where;
    StoredValues values;
    const auto require = [&](const std::string& condition, std::string value) {
      values.emplace_back(std::move(value));
      absl::StrAppend(&where, where.empty() ? " WHERE " : " AND ", condition, " ?", values.size());
    };
    if (!filter.job_name.empty()) require("job_name =", filter.job_name);
    if (filter.status.has_value()) require("status =", std::string(Name(*filter.status)));
    if (filter.phase.has_value()) require("phase =", std::string(Name(*filter.phase)));
    if (!filter.before.empty()) require("id <", filter.before);
    // As the index says it.
    if (filter.moved_chain) absl::StrAppend(&where, where.empty() ? " WHERE " : " AND ", "moved_chain");
    if (filter.begun) absl::StrAppend(&where, where.empty() ? " WHERE " : " AND ", "sequence > 0");
    // SQLite takes a negative limit for none.
    values.emplace_back(filter.limit > 0 ? int64_t{filter.limit} : int64_t{-1});
    absl::MutexLock lock(&mutex_);
    return Select(*db_, absl::StrCat(SelectFrom(RunTable()), where, " ORDER BY id DESC LIMIT ?", values.size()), values,
                  ReadRun);
  }

  absl::StatusOr<std::vector<RunRecord>> ListUnfinishedRuns() override {
    absl::MutexLock lock(&mutex_);
    return Select(*db_, absl::StrCat(SelectFrom(RunTable()), " WHERE status = 'running' ORDER BY id"), {}, ReadRun);
  }

  absl::StatusOr<std::vector<TaskRecord>> ListTasks(std::string_view run_id) override {
    absl::MutexLock lock(&mutex_);
    return Select(
        *db_, absl::StrCat(SelectFrom(TaskTable()), " WHERE run_id = ?1 ORDER BY partition_no, kind <> 'describe', id"),
        {std::string(run_id)}, ReadTask);
  }

  absl::StatusOr<std::vector<PermitRecord>> ListPermits() override {
    absl::MutexLock lock(&mutex_);
    return Select(*db_, absl::StrCat(SelectFrom(PermitTable()), " ORDER BY session_id"), {}, ReadPermit);
  }

  absl::StatusOr<std::vector<AuditEvent>> ListAudit(const AuditFilter& filter) override {
    absl::MutexLock lock(&mutex_);
    return Select(*db_,
                  "SELECT id, happened_at, actor, action, subject, detail FROM etl_audit WHERE ?1 = 0 OR id < ?1 "
                  "ORDER BY id DESC LIMIT ?2",
                  {filter.before, filter.limit > 0 ? int64_t{filter.limit} : int64_t{-1}}, ReadAudit);
  }

  absl::Status AddTrigger(const TriggerRecord& trigger) override {
    TM_RETURN_IF_ERROR(Write([&](SqliteDatabase& db) -> absl::Status {
      const absl::Status added = db.Execute(absl::StrCat("INSERT INTO etl_triggers (", Columns(TriggerColumns()),
                                                         ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"),
                                            Values(trigger))
                                     .status();
      return absl::IsAlreadyExists(added) ? AlreadyStored(Subject(trigger)) : added;
    }));
    signal_.Notify();
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<TriggerRecord>> ListTriggers() override {
    absl::MutexLock lock(&mutex_);
    return Select(*db_,
                  absl::StrCat("SELECT ", Columns(TriggerColumns()), " FROM etl_triggers ORDER BY requested_at, id"),
                  {}, ReadTrigger);
  }

  bool WaitForTriggers(absl::Duration timeout) override {
    for (absl::Duration left = timeout;; left -= kAskAgain) {
      const TriggerSignal::Outcome outcome = signal_.Wait(std::min(left, kAskAgain));
      if (outcome != TriggerSignal::Outcome::kTimeout) return outcome == TriggerSignal::Outcome::kNotified;
      if (OthersHaveWritten()) return true;
      if (left <= kAskAgain) return false;
    }
  }

  void Interrupt() override { signal_.Interrupt(); }

 private:
  // The latest `column` among the runs of each job for which `condition` holds, by uid: one look into the index that
  // has both for each job, however many runs it has.
  absl::StatusOr<std::vector<std::pair<std::string, absl::Time>>> NewestOfEachJob(std::string_view column,
                                                                                  std::string_view condition) {
    std::vector<std::pair<std::string, absl::Time>> times;
    absl::MutexLock lock(&mutex_);
    TM_RETURN_IF_ERROR(
        db_->Query(absl::StrCat("SELECT uid, (SELECT max(", Abs(column), ") FROM etl_runs WHERE job_uid = uid AND ",
                                Abs(condition), ") AS last FROM etl_jobs WHERE last IS NOT NULL ORDER BY uid"),
                   {}, [&times](RowReader& row) -> absl::Status {
                     std::string uid = row.Text();
                     TM_ASSIGN_OR_RETURN(const absl::Time time, ParseTime(row.Text()));
                     times.emplace_back(std::move(uid), time);
                     return absl::OkStatus();
                   }));
    return times;
  }

  // Since the last call. A person may write the file too.
  bool OthersHaveWritten() {
    absl::MutexLock lock(&mutex_);
    const absl::StatusOr<int64_t> version = SelectInteger(*db_, "PRAGMA data_version");
    if (!version.ok() || *version == others_version_) return false;
    others_version_ = *version;
    return true;
  }

  absl::Status Write(absl::FunctionRef<absl::Status(SqliteDatabase&)> body) {
    if (lock_ == nullptr) return absl::FailedPreconditionError("the state was opened for reading alone");
    absl::MutexLock lock(&mutex_);
    return db_->Transact(body);
  }

  absl::Status ChangeLeadership(absl::FunctionRef<absl::Status(Leadership&)> change) {
    return Write([&](SqliteDatabase& db) -> absl::Status {
      TM_ASSIGN_OR_RETURN(Leadership leadership, ReadLeadership(db));
      TM_RETURN_IF_ERROR(change(leadership));
      return WriteLeadership(db, leadership);
    });
  }

  // Given up last: while the database is open, the file is this process's.
  const std::unique_ptr<FileLock> lock_;
  const Clock* const clock_;
  const std::string cluster_id_;
  absl::Mutex mutex_;
  const std::unique_ptr<SqliteDatabase> db_ ABSL_PT_GUARDED_BY(mutex_);
  // Of the database as this connection last saw that others had written it.
  int64_t others_version_ ABSL_GUARDED_BY(mutex_) = 0;
  TriggerSignal signal_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MetadataStore>> OpenSqliteStore(const std::string& path, const Clock* clock) {
  TM_ASSIGN_OR_RETURN(std::unique_ptr<FileLock> lock, FileLock::Acquire(absl::StrCat(path, ".lock"), path));
  TM_ASSIGN_OR_RETURN(std::unique_ptr<SqliteDatabase> db, SqliteDatabase::Open(path, SqliteDatabase::Mode::kReadWrite));
  TM_RETURN_IF_ERROR(Migrate(*db, Migrations(), clock->Now()).status());
  // After Migrate, which has made sure that the file is ours. Readers in other processes then never wait for a writer.
  TM_RETURN_IF_ERROR(db->RunScript("PRAGMA journal_mode = WAL"));
  TM_ASSIGN_OR_RETURN(std::string cluster_id, ReadClusterId(*db));
  if (cluster_id.empty()) {
    Rng rng(Rng::EntropySeed());
    cluster_id = NewId(clock->Now(), rng);
    TM_RETURN_IF_ERROR(db->Execute("INSERT INTO etl_cluster (id, cluster_id, last_job_id) "
                                   "SELECT 1, ?1, coalesce(max(id), 0) FROM etl_jobs",
                                   {cluster_id})
                           .status());
  }
  return std::make_unique<SqliteStore>(std::move(lock), std::move(db), clock, std::move(cluster_id));
}

absl::StatusOr<std::vector<Migration>> MigrateSqliteStore(const std::string& path, const Clock& clock) {
  TM_ASSIGN_OR_RETURN(const std::unique_ptr<FileLock> lock, FileLock::Acquire(absl::StrCat(path, ".lock"), path));
  TM_ASSIGN_OR_RETURN(const std::unique_ptr<SqliteDatabase> db,
                      SqliteDatabase::Open(path, SqliteDatabase::Mode::kReadWrite));
  return Migrate(*db, Migrations(), clock.Now());
}

absl::StatusOr<std::unique_ptr<MetadataStore>> OpenSqliteStoreReadOnly(const std::string& path) {
  struct stat file;
  if (stat(path.c_str(), &file) != 0) {
    return absl::NotFoundError(absl::StrCat(path, " does not exist: nothing has run here yet"));
  }
  TM_ASSIGN_OR_RETURN(std::unique_ptr<SqliteDatabase> db, SqliteDatabase::Open(path, SqliteDatabase::Mode::kReadOnly));
  TM_RETURN_IF_ERROR(CheckMigrated(*db, Migrations()));
  TM_ASSIGN_OR_RETURN(std::string cluster_id, ReadClusterId(*db));
  return std::make_unique<SqliteStore>(nullptr, std::move(db), nullptr, std::move(cluster_id));
}

}  // namespace tidemark::coordinator
