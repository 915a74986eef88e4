#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "coordinator/store/metadata_store.h"
#include "coordinator/store/postgres_database.h"
#include "coordinator/store/postgres_listener.h"
#include "coordinator/store/postgres_migration.h"
#include "coordinator/store/rows.h"
#include "coordinator/store/write_rules.h"

namespace tidemark::coordinator {
namespace {

constexpr char kTriggerChannel[] = "etl_triggers";

// Connections for what is quick: reads, and leases, which no batch may hold up.
constexpr int kQuickConnections = 4;
// Connections for batches.
constexpr int kBatchConnections = 2;

// Most rows that one statement writes.
constexpr size_t kRowsPerStatement = 5'000;

using Transaction = PostgresTransaction;

const char* ArrayType(StoredColumn::Kind kind) {
  switch (kind) {
    case StoredColumn::Kind::kText:
      return "text[]";
    case StoredColumn::Kind::kInteger:
      return "bigint[]";
    case StoredColumn::Kind::kBoolean:
      return "boolean[]";
    case StoredColumn::Kind::kTime:
      return "timestamptz[]";
  }
  return "text[]";
}

std::string Names(const std::vector<StoredColumn>& columns) {
  return absl::StrJoin(columns, ", ",
                       [](std::string* out, const StoredColumn& column) { absl::StrAppend(out, column.name); });
}

// The columns as RowReader's functions read them.
std::string Readable(const std::vector<StoredColumn>& columns) {
  return absl::StrJoin(columns, ", ", [](std::string* out, const StoredColumn& column) {
    absl::StrAppend(out, column.kind == StoredColumn::Kind::kTime ? PostgresTimeText(column.name) : column.name);
  });
}

// Without a WHERE.
std::string SelectFrom(const StoredTable& table) {
  return absl::StrCat("SELECT ", Readable(table.columns), ", version FROM ", table.name);
}

// The parameters, an array for each column, as the rows of a table.
std::string Unnest(const std::vector<StoredColumn>& columns) {
  std::string arrays;
  for (size_t i = 0; i < columns.size(); ++i) {
    absl::StrAppend(&arrays, i == 0 ? "" : ", ", "$", i + 1, "::", ArrayType(columns[i].kind));
  }
  return absl::StrCat("unnest(", arrays, ") WITH ORDINALITY");
}

// Binds a column of Values after the other.
std::string InsertInto(const StoredTable& table) {
  const std::string names = Names(table.columns);
  return absl::StrCat("INSERT INTO ", table.name, " (", names, ", version) SELECT ", names, ", 1 FROM ",
                      Unnest(table.columns), " AS new (", names, ", row_number) ORDER BY row_number");
}

// Binds the same and, after them, the revisions the rows must have. Returns the keys of those it has written.
std::string UpdateOf(const StoredTable& table) {
  const std::string& key = table.columns[0].name;
  std::string assignments;
  for (size_t i = 1 + table.fixed; i < table.columns.size(); ++i) {
    absl::StrAppend(&assignments, table.columns[i].name, " = new.", table.columns[i].name, ", ");
  }
  std::vector<StoredColumn> columns = table.columns;
  columns.push_back({"revision", StoredColumn::Kind::kInteger});
  return absl::StrCat("UPDATE ", table.name, " AS old SET ", assignments, "version = old.version + 1 FROM ",
                      Unnest(columns), " AS new (", Names(columns), ", row_number) WHERE old.", key, " = new.", key,
                      " AND old.version = new.revision RETURNING old.", key);
}

template <typename Record>
absl::StatusOr<std::vector<Record>> Select(Transaction& transaction, const std::string& sql,
                                           const std::vector<std::string>& parameters,
                                           absl::StatusOr<Record> (*read)(RowReader&)) {
  std::vector<Record> records;
  TM_RETURN_IF_ERROR(transaction.Query(sql, parameters, [&](RowReader& row) -> absl::Status {
    TM_ASSIGN_OR_RETURN(Record record, read(row));
    records.push_back(std::move(record));
    return absl::OkStatus();
  }));
  return records;
}

absl::StatusOr<Leadership> ReadLeadership(Transaction& transaction, const std::string& lock) {
  Leadership leadership;
  TM_RETURN_IF_ERROR(transaction.Query(
      absl::StrCat("SELECT epoch, holder, ", PostgresTimeText("expires_at"), " FROM etl_leader ", lock), {},
      [&leadership](RowReader& row) -> absl::Status {
        leadership.epoch = row.Integer();
        leadership.holder = row.Text();
        TM_ASSIGN_OR_RETURN(leadership.expires, ParseTime(row.Text()));
        return absl::OkStatus();
      }));
  return leadership;
}

absl::Status WriteLeadership(Transaction& transaction, const Leadership& leadership) {
  return transaction
      .Execute("UPDATE etl_leader SET epoch = $1, holder = $2, expires_at = $3",
               {absl::StrCat(leadership.epoch), leadership.holder, TimeText(leadership.expires)})
      .status();
}

struct RowToWrite {
  StoredValues values;
  int64_t revision = 0;
  std::string subject;
};

// Writes rows that are all new, or all there, and of different keys.
absl::Status WriteTogether(Transaction& transaction, const StoredTable& table, std::vector<RowToWrite> rows) {
  const bool insert = rows.front().revision == 0;
  std::vector<std::string> arrays;
  for (size_t column = 0; column < table.columns.size(); ++column) {
    std::vector<StoredValue> values;
    values.reserve(rows.size());
    // The key is asked for again below.
    for (RowToWrite& row : rows) {
      values.push_back(column == 0 ? row.values[column] : std::move(row.values[column]));
    }
    arrays.push_back(PostgresArray(values));
  }
  if (insert) {
    const absl::Status status = transaction.Execute(InsertInto(table), arrays).status();
    if (!absl::IsAlreadyExists(status)) return status;
    return rows.size() == 1 ? AlreadyStored(rows.front().subject) : status;
  }
  std::vector<StoredValue> revisions;
  for (const RowToWrite& row : rows) revisions.emplace_back(row.revision);
  arrays.push_back(PostgresArray(revisions));
  std::set<std::string> written;
  const absl::Status status = transaction.Query(UpdateOf(table), arrays, [&](RowReader& row) {
    written.insert(row.Text());
    return absl::OkStatus();
  });
  if (absl::IsAlreadyExists(status) && rows.size() == 1) return AlreadyStored(rows.front().subject);
  TM_RETURN_IF_ERROR(status);
  for (const RowToWrite& row : rows) {
    if (!written.contains(std::get<std::string>(row.values[0]))) return ChangedSince(row.subject, row.revision);
  }
  return absl::OkStatus();
}

// In as few statements as give what writing one row after the other would.
absl::Status WriteRows(Transaction& transaction, const StoredTable& table, std::vector<RowToWrite> rows) {
  std::vector<RowToWrite> together;
  std::set<std::string> keys;
  for (RowToWrite& row : rows) {
    const std::string& key = std::get<std::string>(row.values[0]);
    const bool other_kind = !together.empty() && (together.front().revision == 0) != (row.revision == 0);
    if (other_kind || together.size() == kRowsPerStatement || keys.contains(key)) {
      TM_RETURN_IF_ERROR(WriteTogether(transaction, table, std::exchange(together, {})));
      keys.clear();
    }
    keys.insert(key);
    together.push_back(std::move(row));
  }
  return together.empty() ? absl::OkStatus() : WriteTogether(transaction, table, std::move(together));
}

absl::StatusOr<StoredValues> ValuesToWrite(const RunRecord& run) { return Values(run, 0); }
template <typename Record>
absl::StatusOr<StoredValues> ValuesToWrite(const Record& record) {
  return Values(record);
}

template <typename Record>
absl::StatusOr<std::vector<RowToWrite>> RowsOf(const std::vector<Record>& records) {
  std::vector<RowToWrite> rows;
  rows.reserve(records.size());
  for (const Record& record : records) {
    TM_ASSIGN_OR_RETURN(StoredValues values, ValuesToWrite(record));
    rows.push_back({std::move(values), record.revision, Subject(record)});
  }
  return rows;
}

// A batch ready to be written: what takes time is done before there are locks.
struct BatchRows {
  std::vector<RowToWrite> connections;
  // Without their surrogates.
  std::vector<RowToWrite> jobs;
  // Without those of their jobs.
  std::vector<RowToWrite> runs;
  std::vector<RowToWrite> tasks;
  std::vector<RowToWrite> permits;
};
// Where the surrogate stands in the values of a job, and that of its job in those of a run.
constexpr size_t kSurrogate = 1;

absl::StatusOr<BatchRows> RowsOf(const WriteBatch& batch) {
  BatchRows rows;
  TM_ASSIGN_OR_RETURN(rows.connections, RowsOf(batch.connections));
  TM_ASSIGN_OR_RETURN(rows.jobs, RowsOf(batch.jobs));
  TM_ASSIGN_OR_RETURN(rows.runs, RowsOf(batch.runs));
  TM_ASSIGN_OR_RETURN(rows.tasks, RowsOf(batch.tasks));
  TM_ASSIGN_OR_RETURN(rows.permits, RowsOf(batch.permits));
  return rows;
}

absl::StatusOr<int64_t> DropAll(Transaction& transaction, const std::string& table, const std::string& key,
                                const std::vector<std::string>& dropped) {
  if (dropped.empty()) return 0;
  return transaction.Execute(absl::StrCat("DELETE FROM ", table, " WHERE ", key, " = ANY ($1::text[])"),
                             {PostgresArray(dropped)});
}

absl::Status WriteJobs(Transaction& transaction, const WriteBatch& batch, std::vector<RowToWrite> rows) {
  int64_t dropped = 0;
  if (!batch.dropped_jobs.empty()) {
    TM_RETURN_IF_ERROR(
        transaction
            .Execute("DELETE FROM etl_schemas WHERE job_id IN (SELECT id FROM etl_jobs WHERE uid = ANY ($1::text[]))",
                     {PostgresArray(batch.dropped_jobs)})
            .status());
    TM_ASSIGN_OR_RETURN(dropped, DropAll(transaction, "etl_jobs", "uid", batch.dropped_jobs));
  }
  if (dropped == 0 && rows.empty()) return absl::OkStatus();
  const int64_t added =
      std::count_if(rows.begin(), rows.end(), [](const RowToWrite& row) { return row.revision == 0; });
  int64_t next_id = 0;
  // Holds up others that write jobs until this transaction ends: their surrogates and revisions come after.
  TM_RETURN_IF_ERROR(transaction.Query(
      "UPDATE etl_cluster SET jobs_revision = jobs_revision + 1, last_job_id = last_job_id + $1::bigint "
      "RETURNING last_job_id - $1::bigint + 1",
      {absl::StrCat(added)}, [&next_id](RowReader& row) {
        next_id = row.Integer();
        return absl::OkStatus();
      }));
  for (RowToWrite& row : rows) {
    if (row.revision == 0) row.values[kSurrogate] = next_id++;
  }
  return WriteRows(transaction, JobTable(), std::move(rows));
}

absl::Status WriteRuns(Transaction& transaction, const std::vector<RunRecord>& runs, std::vector<RowToWrite> rows) {
  std::map<std::string, int64_t> job_ids;
  for (const RunRecord& run : runs) {
    if (run.revision == 0) job_ids.emplace(run.job_uid, 0);
  }
  if (!job_ids.empty()) {
    std::vector<std::string> uids;
    for (const auto& [uid, id] : job_ids) uids.push_back(uid);
    TM_RETURN_IF_ERROR(transaction.Query("SELECT uid, id FROM etl_jobs WHERE uid = ANY ($1::text[])",
                                         {PostgresArray(uids)}, [&job_ids](RowReader& row) {
                                           const std::string uid = row.Text();
                                           job_ids[uid] = row.Integer();
                                           return absl::OkStatus();
                                         }));
  }
  for (size_t i = 0; i < runs.size(); ++i) {
    if (runs[i].revision != 0) continue;
    const int64_t job_id = job_ids[runs[i].job_uid];
    if (job_id == 0) return NotStored("job of uid", runs[i].job_uid);
    rows[i].values[kSurrogate] = job_id;
  }
  return WriteRows(transaction, RunTable(), std::move(rows));
}

absl::Status MoveWatermark(Transaction& transaction, const WatermarkAdvance& advance) {
  TM_ASSIGN_OR_RETURN(std::vector<JobRecord> jobs,
                      Select(transaction, absl::StrCat(SelectFrom(JobTable()), " WHERE uid = $1 FOR NO KEY UPDATE"),
                             {advance.job_uid}, ReadJob));
  if (jobs.empty()) return NotStored("job of uid", advance.job_uid);
  TM_RETURN_IF_ERROR(Advance(advance, jobs[0]));
  TM_ASSIGN_OR_RETURN(std::vector<RowToWrite> rows, RowsOf(jobs));
  return WriteRows(transaction, JobTable(), std::move(rows));
}

absl::Status WriteAudit(Transaction& transaction, const std::vector<AuditEvent>& events) {
  if (events.empty()) return absl::OkStatus();
  std::vector<StoredValue> times, actors, actions, subjects, details;
  for (const AuditEvent& event : events) {
    times.emplace_back(TimeText(event.time));
    actors.emplace_back(event.actor);
    actions.emplace_back(event.action);
    subjects.emplace_back(event.subject);
    details.emplace_back(event.detail);
  }
  static const auto* const columns = new std::vector<StoredColumn>{
      {"happened_at", StoredColumn::Kind::kTime}, {"actor"}, {"action"}, {"subject"}, {"detail"}};
  const std::string names = Names(*columns);
  return transaction
      .Execute(absl::StrCat("INSERT INTO etl_audit (", names, ") SELECT ", names, " FROM ", Unnest(*columns),
                            " AS new (", names, ", row_number) ORDER BY row_number"),
               {PostgresArray(times), PostgresArray(actors), PostgresArray(actions), PostgresArray(subjects),
                PostgresArray(details)})
      .status();
}

absl::Status WriteBatchRows(Transaction& transaction, const WriteBatch& batch, BatchRows rows) {
  TM_RETURN_IF_ERROR(DropAll(transaction, "etl_connections", "name", batch.dropped_connections).status());
  TM_RETURN_IF_ERROR(WriteRows(transaction, ConnectionTable(), std::move(rows.connections)));
  TM_RETURN_IF_ERROR(WriteJobs(transaction, batch, std::move(rows.jobs)));
  TM_RETURN_IF_ERROR(WriteRuns(transaction, batch.runs, std::move(rows.runs)));
  TM_RETURN_IF_ERROR(WriteRows(transaction, TaskTable(), std::move(rows.tasks)));
  TM_RETURN_IF_ERROR(WriteRows(transaction, PermitTable(), std::move(rows.permits)));
  TM_RETURN_IF_ERROR(DropAll(transaction, "etl_permits", "session_id", batch.dropped_permits).status());
  TM_RETURN_IF_ERROR(DropAll(transaction, "etl_triggers", "id", batch.dropped_triggers).status());
  for (const WatermarkAdvance& advance : batch.watermarks) TM_RETURN_IF_ERROR(MoveWatermark(transaction, advance));
  return WriteAudit(transaction, batch.audit);
}

class PostgresStore final : public MetadataStore {
 public:
  PostgresStore(const PostgresAddress& address, std::function<absl::Duration()> clock_shift)
      : clock_shift_(std::move(clock_shift)),
        quick_(address, {.connections = kQuickConnections}),
        batches_(address, {.connections = kBatchConnections}),
        listener_(address, kTriggerChannel) {}

  absl::Status Open() {
    TM_RETURN_IF_ERROR(CheckMigrated(quick_, Migrations()));
    return quick_.Transact([this](Transaction& transaction) {
      return transaction.Query("SELECT cluster_id FROM etl_cluster", {}, [this](RowReader& row) {
        cluster_id_ = row.Text();
        return absl::OkStatus();
      });
    });
  }

  absl::StatusOr<std::string> ClusterId() override { return cluster_id_; }

  absl::StatusOr<int64_t> AcquireLeadership(std::string_view holder, absl::Duration ttl, int64_t at_least) override {
    int64_t epoch = 0;
    TM_RETURN_IF_ERROR(quick_.Transact([&](Transaction& transaction) -> absl::Status {
      // Who only sees that another one lives takes no lock, or the waiting ones would hold up the leader's writes.
      for (const char* lock : {"", "FOR UPDATE"}) {
        TM_ASSIGN_OR_RETURN(Leadership leadership, ReadLeadership(transaction, lock));
        TM_ASSIGN_OR_RETURN(const absl::Time now, Now(transaction));
        TM_RETURN_IF_ERROR(leadership.Take(holder, ttl, at_least, now));
        if (*lock == '\0') continue;
        epoch = leadership.epoch;
        TM_RETURN_IF_ERROR(WriteLeadership(transaction, leadership));
      }
      return absl::OkStatus();
    }));
    return epoch;
  }

  absl::Status RenewLeadership(int64_t epoch, absl::Duration ttl) override {
    return ChangeLeadership([&](Leadership& leadership, absl::Time now) { return leadership.Renew(epoch, ttl, now); });
  }

  absl::Status ResignLeadership(int64_t epoch) override {
    return ChangeLeadership([&](Leadership& leadership, absl::Time) { return leadership.Resign(epoch); });
  }

  absl::Status Apply(int64_t epoch, const WriteBatch& batch) override {
    TM_ASSIGN_OR_RETURN(BatchRows rows, RowsOf(batch));
    return batches_.Transact([&](Transaction& transaction) -> absl::Status {
      // Against a new leader, who takes the row FOR UPDATE, and not against a renewal: until this transaction ends,
      // nobody else leads.
      TM_ASSIGN_OR_RETURN(const Leadership leadership, ReadLeadership(transaction, "FOR KEY SHARE"));
      TM_RETURN_IF_ERROR(leadership.Check(epoch));
      return WriteBatchRows(transaction, batch, std::move(rows));
    });
  }

  absl::StatusOr<ConnectionRecord> GetConnection(std::string_view name) override {
    return SelectOne(ConnectionTable(), "name", name, ReadConnection, NotStored("connection", name));
  }

  absl::StatusOr<std::vector<ConnectionRecord>> ListConnections() override {
    return SelectAll(absl::StrCat(SelectFrom(ConnectionTable()), " ORDER BY name"), {}, ReadConnection);
  }

  absl::StatusOr<JobRecord> GetJob(std::string_view name) override {
    return SelectOne(JobTable(), "name", name, ReadJob, NotStored("job", name));
  }

  absl::StatusOr<std::vector<JobRecord>> ListJobs() override {
    return SelectAll(absl::StrCat(SelectFrom(JobTable()), " ORDER BY name"), {}, ReadJob);
  }

  absl::StatusOr<int64_t> JobsRevision() override {
    int64_t revision = 0;
    TM_RETURN_IF_ERROR(quick_.Transact([&revision](Transaction& transaction) {
      return transaction.Query("SELECT jobs_revision FROM etl_cluster", {}, [&revision](RowReader& row) {
        revision = row.Integer();
        return absl::OkStatus();
      });
    }));
    return revision;
  }

  absl::StatusOr<std::vector<std::pair<std::string, absl::Time>>> LastFireTimes() override {
    return NewestOfEachJob("fire_time", "fire_time IS NOT NULL");
  }

  absl::StatusOr<std::vector<std::pair<std::string, absl::Time>>> LastSuccesses() override {
    return NewestOfEachJob("run_end", "status = 'success' AND run_end IS NOT NULL");
  }

  absl::StatusOr<RunRecord> GetRun(std::string_view id) override {
    return SelectOne(RunTable(), "id", id, ReadRun, NotStored("run", id));
  }

  absl::StatusOr<RunRecord> GetRunByKey(std::string_view run_key) override {
    return SelectOne(RunTable(), "run_key", run_key, ReadRun, NotStored("run of key", run_key));
  }

  absl::StatusOr<std::vector<RunRecord>> ListRuns(const RunFilter& filter) override {
    std::vector<std::string> conditions;
    std::vector<std::string> parameters;
    const auto require = [&](const std::string& condition, std::string value) {
      parameters.push_back(std::move(value));
      conditions.push_back(absl::StrCat(condition, " $", parameters.size()));
    };
    if (!filter.job_name.empty()) require("job_name =", filter.job_name);
    if (filter.status.has_value()) require("status =", std::string(Name(*filter.status)));
    if (filter.phase.has_value()) require("phase =", std::string(Name(*filter.phase)));
    if (!filter.before.empty()) require("id <", filter.before);
    // As the index says it.
    if (filter.moved_chain) conditions.push_back("moved_chain");
    if (filter.begun) conditions.push_back("sequence > 0");
    std::string sql = SelectFrom(RunTable());
    if (!conditions.empty()) absl::StrAppend(&sql, " WHERE ", absl::StrJoin(conditions, " AND "));
    absl::StrAppend(&sql, " ORDER BY id DESC");
    if (filter.limit > 0) absl::StrAppend(&sql, " LIMIT ", filter.limit);
    return SelectAll(sql, parameters, ReadRun);
  }

  absl::StatusOr<std::vector<RunRecord>> ListUnfinishedRuns() override {
    return SelectAll(absl::StrCat(SelectFrom(RunTable()), " WHERE status = 'running' ORDER BY id"), {}, ReadRun);
  }

  absl::StatusOr<std::vector<TaskRecord>> ListTasks(std::string_view run_id) override {
    return SelectAll(
        absl::StrCat(SelectFrom(TaskTable()), " WHERE run_id = $1 ORDER BY partition_no, kind <> 'describe', id"),
        {std::string(run_id)}, ReadTask);
  }

  absl::StatusOr<std::vector<PermitRecord>> ListPermits() override {
    return SelectAll(absl::StrCat(SelectFrom(PermitTable()), " ORDER BY session_id"), {}, ReadPermit);
  }

  absl::StatusOr<std::vector<AuditEvent>> ListAudit(const AuditFilter& filter) override {
    return SelectAll(
        absl::StrCat("SELECT id, ", PostgresTimeText("happened_at"), ", actor, action, subject, detail FROM etl_audit",
                     filter.before > 0 ? absl::StrCat(" WHERE id < ", filter.before) : "", " ORDER BY id DESC",
                     filter.limit > 0 ? absl::StrCat(" LIMIT ", filter.limit) : ""),
        {}, ReadAudit);
  }

  absl::Status AddTrigger(const TriggerRecord& trigger) override {
    const absl::Status added = quick_.Transact([&](Transaction& transaction) {
      std::vector<std::string> arrays;
      for (StoredValue& value : Values(trigger)) arrays.push_back(PostgresArray(StoredValues{std::move(value)}));
      const std::string names = Names(TriggerColumns());
      return transaction
          .Execute(absl::StrCat("INSERT INTO etl_triggers (", names, ") SELECT ", names, " FROM ",
                                Unnest(TriggerColumns()), " AS new (", names, ", row_number)"),
                   arrays)
          .status();
    });
    return absl::IsAlreadyExists(added) ? AlreadyStored(Subject(trigger)) : added;
  }

  absl::StatusOr<std::vector<TriggerRecord>> ListTriggers() override {
    return SelectAll(absl::StrCat("SELECT ", Readable(TriggerColumns()),
                                  " FROM etl_triggers ORDER BY etl_triggers.requested_at, id"),
                     {}, ReadTrigger);
  }

  bool WaitForTriggers(absl::Duration timeout) override { return listener_.Wait(timeout); }
  void Interrupt() override { listener_.Interrupt(); }

 private:
  // The latest `column` among the runs of each job for which `condition` holds, by uid: one look into the index that
  // has both for each job, however many runs it has.
  absl::StatusOr<std::vector<std::pair<std::string, absl::Time>>> NewestOfEachJob(std::string_view column,
                                                                                  std::string_view condition) {
    return SelectAll<std::pair<std::string, absl::Time>>(
        absl::StrCat("SELECT uid, ", PostgresTimeText("last"), " FROM etl_jobs CROSS JOIN LATERAL (SELECT ",
                     Abs(column), " AS last FROM etl_runs WHERE job_uid = uid AND ", Abs(condition), " ORDER BY ",
                     Abs(column), " DESC LIMIT 1) AS newest"),
        {}, [](RowReader& row) -> absl::StatusOr<std::pair<std::string, absl::Time>> {
          std::string uid = row.Text();
          TM_ASSIGN_OR_RETURN(const absl::Time time, ParseTime(row.Text()));
          return std::pair(std::move(uid), time);
        });
  }

  template <typename Record>
  absl::StatusOr<std::vector<Record>> SelectAll(const std::string& sql, const std::vector<std::string>& parameters,
                                                absl::StatusOr<Record> (*read)(RowReader&)) {
    absl::StatusOr<std::vector<Record>> records;
    TM_RETURN_IF_ERROR(quick_.Transact([&](Transaction& transaction) {
      records = Select(transaction, sql, parameters, read);
      return records.status();
    }));
    return records;
  }

  // The row that `where` finds by `value`; `missing` if there is none.
  template <typename Record>
  absl::StatusOr<Record> SelectOne(const StoredTable& table, const std::string& where, std::string_view value,
                                   absl::StatusOr<Record> (*read)(RowReader&), absl::Status missing) {
    TM_ASSIGN_OR_RETURN(
        std::vector<Record> records,
        SelectAll(absl::StrCat(SelectFrom(table), " WHERE ", where, " = $1"), {std::string(value)}, read));
    if (records.empty()) return missing;
    return std::move(records.front());
  }

  // The database's clock, read after the locks that this transaction has waited for.
  absl::StatusOr<absl::Time> Now(Transaction& transaction) const {
    absl::StatusOr<absl::Time> now = absl::InternalError("the database has no clock");
    TM_RETURN_IF_ERROR(
        transaction.Query(absl::StrCat("SELECT ", PostgresTimeText("clock_timestamp()")), {}, [&now](RowReader& row) {
          now = ParseTime(row.Text());
          return now.status();
        }));
    if (clock_shift_ != nullptr) *now += clock_shift_();
    return now;
  }

  absl::Status ChangeLeadership(absl::FunctionRef<absl::Status(Leadership&, absl::Time)> change) {
    return quick_.Transact([&](Transaction& transaction) -> absl::Status {
      // Batches go on meanwhile.
      TM_ASSIGN_OR_RETURN(Leadership leadership, ReadLeadership(transaction, "FOR NO KEY UPDATE"));
      TM_ASSIGN_OR_RETURN(const absl::Time now, Now(transaction));
      TM_RETURN_IF_ERROR(change(leadership, now));
      return WriteLeadership(transaction, leadership);
    });
  }

  const std::function<absl::Duration()> clock_shift_;
  std::string cluster_id_;
  PostgresPool quick_;
  PostgresPool batches_;
  PostgresListener listener_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MetadataStore>> OpenPostgresStore(const std::string& dsn,
                                                                 std::function<absl::Duration()> clock_shift) {
  TM_ASSIGN_OR_RETURN(const PostgresAddress address, PostgresAddress::Of(dsn));
  auto store = std::make_unique<PostgresStore>(address, std::move(clock_shift));
  TM_RETURN_IF_ERROR(store->Open());
  return store;
}

absl::StatusOr<std::vector<Migration>> MigratePostgresStore(const std::string& dsn, const Clock& clock) {
  TM_ASSIGN_OR_RETURN(PostgresAddress address, PostgresAddress::Of(dsn));
  PostgresPool pool(std::move(address), {.statement_timeout = absl::ZeroDuration(), .lock_timeout = absl::Minutes(1)});
  TM_ASSIGN_OR_RETURN(std::vector<Migration> applied, Migrate(pool, Migrations()));
  Rng rng(Rng::EntropySeed());
  TM_RETURN_IF_ERROR(pool.Transact([&](Transaction& transaction) {
    return transaction
        .Execute("INSERT INTO etl_cluster (id, cluster_id) VALUES (1, $1) ON CONFLICT DO NOTHING",
                 {NewId(clock.Now(), rng)})
        .status();
  }));
  return applied;
}

}  // namespace tidemark::coordinator
