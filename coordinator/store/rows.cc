#include "coordinator/store/rows.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model/enum_names.h"
#include "common/model/watermark.h"
#include "coordinator/store/message_json.h"

namespace tidemark::coordinator {
namespace {

using Kind = StoredColumn::Kind;

template <typename Value>
absl::StatusOr<Value> Known(std::optional<Value> value, const std::string& column, const std::string& text) {
  if (value.has_value()) return *value;
  return absl::DataLossError(absl::StrCat("the store holds an unknown ", column, " '", text, "'"));
}

std::string Text(std::string_view text) { return std::string(text); }

StoredValue OrNull(std::string text) { return text.empty() ? StoredValue() : StoredValue(std::move(text)); }

StoredValue OrNull(const std::optional<absl::Time>& time) {
  return time.has_value() && *time != absl::InfinitePast() ? StoredValue(TimeText(*time)) : StoredValue();
}

absl::StatusOr<std::optional<absl::Time>> ReadOptionalTime(RowReader& row) {
  const std::optional<std::string> text = row.OptionalText();
  if (!text.has_value()) return std::nullopt;
  TM_ASSIGN_OR_RETURN(const absl::Time time, ParseTime(*text));
  return time;
}

}  // namespace

std::string TimeText(absl::Time time) { return absl::FormatTime("%Y-%m-%d%ET%H:%M:%E6SZ", time, absl::UTCTimeZone()); }

absl::StatusOr<absl::Time> ParseTime(const std::string& text) {
  absl::Time time;
  std::string error;
  if (absl::ParseTime(absl::RFC3339_full, text, &time, &error)) return time;
  return absl::DataLossError(absl::StrCat("the store holds the time '", text, "': ", error));
}

const StoredTable& ConnectionTable() {
  static const auto* const table = new StoredTable{.name = "etl_connections",
                                                   .columns = {{"name"},
                                                               {"sealed_dsn"},
                                                               {"max_connections", Kind::kInteger},
                                                               {"max_rows_per_second", Kind::kInteger},
                                                               {"worker"},
                                                               {"spec"},
                                                               {"redacted_dsn"},
                                                               {"request_id"},
                                                               {"created_at", Kind::kTime},
                                                               {"updated_at", Kind::kTime}}};
  return *table;
}

absl::StatusOr<StoredValues> Values(const ConnectionRecord& connection) {
  const v1::ConnectionSpec& spec = connection.spec;
  TM_ASSIGN_OR_RETURN(std::string spec_json, MessageJson(spec));
  return StoredValues{connection.name,
                      spec.dsn(),
                      int64_t{spec.max_connections()},
                      spec.max_rows_per_second(),
                      OrNull(spec.worker()),
                      std::move(spec_json),
                      connection.redacted_dsn,
                      OrNull(connection.request_id),
                      TimeText(connection.created),
                      TimeText(connection.updated)};
}

absl::StatusOr<ConnectionRecord> ReadConnection(RowReader& row) {
  ConnectionRecord connection;
  connection.name = row.Text();
  row.Skip(4);  // sealed_dsn to worker: they are in the spec.
  TM_RETURN_IF_ERROR(ParseMessageJson(row.Text(), &connection.spec));
  connection.redacted_dsn = row.Text();
  connection.request_id = row.Text();
  TM_ASSIGN_OR_RETURN(connection.created, ParseTime(row.Text()));
  TM_ASSIGN_OR_RETURN(connection.updated, ParseTime(row.Text()));
  connection.revision = row.Integer();
  return connection;
}

const StoredTable& JobTable() {
  static const auto* const table = new StoredTable{.name = "etl_jobs",
                                                   .columns = {{"uid"},
                                                               {"id", Kind::kInteger},
                                                               {"name"},
                                                               {"schedule_cron"},
                                                               {"timezone"},
                                                               {"source_dsn"},
                                                               {"source_query"},
                                                               {"target_table"},
                                                               {"load_strategy"},
                                                               {"watermark_col"},
                                                               {"last_watermark"},
                                                               {"watermark_type"},
                                                               {"watermark_precision", Kind::kInteger},
                                                               {"watermark_zone"},
                                                               {"enabled", Kind::kBoolean},
                                                               {"last_sequence", Kind::kInteger},
                                                               {"source_identity"},
                                                               {"spec"},
                                                               {"created_at", Kind::kTime},
                                                               {"updated_at", Kind::kTime},
                                                               {"scheduled_from", Kind::kTime},
                                                               {"request_id"},
                                                               {"adopting", Kind::kBoolean}},
                                                   .fixed = 1};
  return *table;
}

absl::StatusOr<StoredValues> Values(const JobRecord& job) {
  const v1::JobSpec& spec = job.spec;
  TM_ASSIGN_OR_RETURN(std::string spec_json, MessageJson(spec));
  // The surrogate for a table is the query it stands for.
  const std::string query =
      spec.source().query().empty() ? absl::StrCat("SELECT * FROM ", spec.source().table()) : spec.source().query();
  const v1::LoadStrategy strategy = spec.target().strategy() == v1::LOAD_STRATEGY_UNSPECIFIED
                                        ? v1::LOAD_STRATEGY_INCREMENTAL
                                        : spec.target().strategy();
  StoredValues values = {job.uid,
                         job.id,
                         spec.name(),
                         OrNull(spec.schedule().cron()),
                         OrNull(spec.schedule().timezone()),
                         absl::StrCat("connection:", spec.source().connection()),
                         query,
                         spec.target().table(),
                         EnumName(strategy),
                         OrNull(spec.source().watermark())};
  if (job.last_watermark.has_value()) {
    const v1::Watermark& mark = *job.last_watermark;
    values.insert(values.end(), {mark.text(), mark.type(), int64_t{mark.precision()}, mark.zone()});
  } else {
    values.insert(values.end(), 4, StoredValue());
  }
  values.insert(values.end(),
                {job.enabled, job.last_sequence, job.source_identity, std::move(spec_json), TimeText(job.created),
                 TimeText(job.updated), OrNull(job.scheduled_from), OrNull(job.request_id), job.adopting});
  return values;
}

absl::StatusOr<JobRecord> ReadJob(RowReader& row) {
  JobRecord job;
  job.uid = row.Text();
  job.id = row.Integer();
  // name, schedule_cron, timezone, source_dsn, source_query, target_table, load_strategy, watermark_col: they are in
  // the spec.
  row.Skip(8);
  if (std::optional<std::string> text = row.OptionalText()) {
    job.last_watermark.emplace().set_text(*std::move(text));
    job.last_watermark->set_type(row.Text());
    job.last_watermark->set_precision(static_cast<int32_t>(row.Integer()));
    job.last_watermark->set_zone(row.Text());
  } else {
    row.Skip(3);
  }
  job.enabled = row.Boolean();
  job.last_sequence = row.Integer();
  job.source_identity = row.Text();
  TM_RETURN_IF_ERROR(ParseMessageJson(row.Text(), &job.spec));
  TM_ASSIGN_OR_RETURN(job.created, ParseTime(row.Text()));
  TM_ASSIGN_OR_RETURN(job.updated, ParseTime(row.Text()));
  TM_ASSIGN_OR_RETURN(const std::optional<absl::Time> scheduled_from, ReadOptionalTime(row));
  job.scheduled_from = scheduled_from.value_or(absl::InfinitePast());
  job.request_id = row.Text();
  job.adopting = row.Boolean();
  job.revision = row.Integer();
  return job;
}

const StoredTable& RunTable() {
  static const auto* const table = new StoredTable{.name = "etl_runs",
                                                   .columns = {{"id"},
                                                               {"job_id", Kind::kInteger},
                                                               {"job_uid"},
                                                               {"job_name"},
                                                               {"run_key"},
                                                               {"created_at", Kind::kTime},
                                                               {"run_start", Kind::kTime},
                                                               {"run_end", Kind::kTime},
                                                               {"rows_read", Kind::kInteger},
                                                               {"rows_loaded", Kind::kInteger},
                                                               {"bytes_read", Kind::kInteger},
                                                               {"rows_filtered", Kind::kInteger},
                                                               {"rows_quarantined", Kind::kInteger},
                                                               {"watermark_low"},
                                                               {"watermark_snapshot"},
                                                               {"completeness"},
                                                               {"status"},
                                                               {"phase"},
                                                               {"error_msg"},
                                                               {"sequence", Kind::kInteger},
                                                               {"partitions", Kind::kInteger},
                                                               {"peak_source_connections", Kind::kInteger},
                                                               {"describe_micros", Kind::kInteger},
                                                               {"wait_micros", Kind::kInteger},
                                                               {"move_micros", Kind::kInteger},
                                                               {"commit_micros", Kind::kInteger},
                                                               {"window_spec"},
                                                               {"spec"},
                                                               {"description"},
                                                               {"counts"},
                                                               {"moved_chain", Kind::kBoolean},
                                                               {"fire_time", Kind::kTime},
                                                               {"retry_of"}},
                                                   .fixed = 1};
  return *table;
}

absl::StatusOr<StoredValues> Values(const RunRecord& run, int64_t job_id) {
  StoredValue description;
  std::string completeness;
  if (run.description.has_value()) {
    TM_ASSIGN_OR_RETURN(description, MessageJson(*run.description));
    completeness = tidemark::Text(run.description->completeness());
  }
  TM_ASSIGN_OR_RETURN(std::string window_json, MessageJson(run.window));
  TM_ASSIGN_OR_RETURN(std::string spec_json, MessageJson(run.spec));
  TM_ASSIGN_OR_RETURN(std::string counts_json, MessageJson(run.counts));
  return StoredValues{
      run.id,
      job_id,
      run.job_uid,
      run.job_name,
      run.run_key,
      TimeText(run.created),
      OrNull(run.started),
      OrNull(run.ended),
      run.counts.read(),
      run.counts.loaded(),
      run.counts.bytes_read(),
      run.counts.filtered(),
      run.counts.quarantined(),
      run.window.has_low() ? StoredValue(run.window.low().text()) : StoredValue(),
      run.window.has_high() ? StoredValue(run.window.high().text()) : StoredValue(),
      OrNull(std::move(completeness)),
      Text(Name(run.status)),
      Text(Name(run.phase)),
      OrNull(run.error),
      run.sequence,
      int64_t{run.partitions},
      int64_t{run.peak_source_connections},
      absl::ToInt64Microseconds(run.describe_time),
      absl::ToInt64Microseconds(run.wait_time),
      absl::ToInt64Microseconds(run.move_time),
      absl::ToInt64Microseconds(run.commit_time),
      std::move(window_json),
      std::move(spec_json),
      std::move(description),
      std::move(counts_json),
      MovedChain(run),
      OrNull(run.fire_time),
      OrNull(run.retry_of),
  };
}

absl::StatusOr<RunRecord> ReadRun(RowReader& row) {
  RunRecord run;
  run.id = row.Text();
  row.Skip(1);  // job_id
  run.job_uid = row.Text();
  run.job_name = row.Text();
  run.run_key = row.Text();
  TM_ASSIGN_OR_RETURN(run.created, ParseTime(row.Text()));
  TM_ASSIGN_OR_RETURN(run.started, ReadOptionalTime(row));
  TM_ASSIGN_OR_RETURN(run.ended, ReadOptionalTime(row));
  // rows_read to rows_quarantined, watermark_low, watermark_snapshot, completeness: they are in the messages.
  row.Skip(8);
  const std::string status = row.Text();
  TM_ASSIGN_OR_RETURN(run.status, Known(ParseRunStatus(status), "status", status));
  const std::string phase = row.Text();
  TM_ASSIGN_OR_RETURN(run.phase, Known(ParseRunPhase(phase), "phase", phase));
  run.error = row.Text();
  run.sequence = row.Integer();
  run.partitions = static_cast<int>(row.Integer());
  run.peak_source_connections = static_cast<int>(row.Integer());
  run.describe_time = absl::Microseconds(row.Integer());
  run.wait_time = absl::Microseconds(row.Integer());
  run.move_time = absl::Microseconds(row.Integer());
  run.commit_time = absl::Microseconds(row.Integer());
  TM_RETURN_IF_ERROR(ParseMessageJson(row.Text(), &run.window));
  TM_RETURN_IF_ERROR(ParseMessageJson(row.Text(), &run.spec));
  if (const std::optional<std::string> description = row.OptionalText()) {
    TM_RETURN_IF_ERROR(ParseMessageJson(*description, &run.description.emplace()));
  }
  TM_RETURN_IF_ERROR(ParseMessageJson(row.Text(), &run.counts));
  row.Skip(1);  // moved_chain
  TM_ASSIGN_OR_RETURN(run.fire_time, ReadOptionalTime(row));
  run.retry_of = row.Text();
  run.revision = row.Integer();
  return run;
}

const StoredTable& TaskTable() {
  static const auto* const table = new StoredTable{.name = "etl_tasks",
                                                   .columns = {{"id"},
                                                               {"run_id"},
                                                               {"kind"},
                                                               {"partition_no", Kind::kInteger},
                                                               {"key_range"},
                                                               {"state"},
                                                               {"attempt", Kind::kInteger},
                                                               {"failures", Kind::kInteger},
                                                               {"not_before", Kind::kTime},
                                                               {"worker_id"},
                                                               {"incarnation"},
                                                               {"session_id"},
                                                               {"extracted", Kind::kBoolean},
                                                               {"error_msg"},
                                                               {"rows_read", Kind::kInteger},
                                                               {"rows_loaded", Kind::kInteger},
                                                               {"counts"}}};
  return *table;
}

absl::StatusOr<StoredValues> Values(const TaskRecord& task) {
  TM_ASSIGN_OR_RETURN(std::string range_json, MessageJson(task.range));
  TM_ASSIGN_OR_RETURN(std::string counts_json, MessageJson(task.counts));
  return StoredValues{
      task.id,
      task.run_id,
      EnumName(task.kind),
      int64_t{task.partition},
      std::move(range_json),
      Text(Name(task.state)),
      task.attempt,
      int64_t{task.failures},
      OrNull(task.not_before),
      task.worker_id,
      task.incarnation,
      task.session_id,
      task.extracted,
      OrNull(task.error),
      task.counts.read(),
      task.counts.loaded(),
      std::move(counts_json),
  };
}

absl::StatusOr<TaskRecord> ReadTask(RowReader& row) {
  TaskRecord task;
  task.id = row.Text();
  task.run_id = row.Text();
  const std::string kind = row.Text();
  TM_ASSIGN_OR_RETURN(const int kind_number, Known(EnumNumber(*v1::TaskKind_descriptor(), kind), "kind", kind));
  task.kind = static_cast<v1::TaskKind>(kind_number);
  task.partition = static_cast<int>(row.Integer());
  TM_RETURN_IF_ERROR(ParseMessageJson(row.Text(), &task.range));
  const std::string state = row.Text();
  TM_ASSIGN_OR_RETURN(task.state, Known(ParseTaskState(state), "state", state));
  task.attempt = row.Integer();
  task.failures = static_cast<int>(row.Integer());
  TM_ASSIGN_OR_RETURN(const std::optional<absl::Time> not_before, ReadOptionalTime(row));
  task.not_before = not_before.value_or(absl::InfinitePast());
  task.worker_id = row.Text();
  task.incarnation = row.Text();
  task.session_id = row.Text();
  task.extracted = row.Boolean();
  task.error = row.Text();
  row.Skip(2);  // rows_read, rows_loaded
  TM_RETURN_IF_ERROR(ParseMessageJson(row.Text(), &task.counts));
  task.revision = row.Integer();
  return task;
}

const StoredTable& PermitTable() {
  static const auto* const table = new StoredTable{.name = "etl_permits",
                                                   .columns = {{"session_id"},
                                                               {"connection"},
                                                               {"identity"},
                                                               {"run_id"},
                                                               {"worker_id"},
                                                               {"incarnation"},
                                                               {"in_snapshot", Kind::kBoolean},
                                                               {"granted_at", Kind::kTime}}};
  return *table;
}

absl::StatusOr<StoredValues> Values(const PermitRecord& permit) {
  return StoredValues{permit.session_id, permit.connection,  permit.identity,    permit.run_id,
                      permit.worker_id,  permit.incarnation, permit.in_snapshot, TimeText(permit.granted)};
}

absl::StatusOr<PermitRecord> ReadPermit(RowReader& row) {
  PermitRecord permit;
  permit.session_id = row.Text();
  permit.connection = row.Text();
  permit.identity = row.Text();
  permit.run_id = row.Text();
  permit.worker_id = row.Text();
  permit.incarnation = row.Text();
  permit.in_snapshot = row.Boolean();
  TM_ASSIGN_OR_RETURN(permit.granted, ParseTime(row.Text()));
  permit.revision = row.Integer();
  return permit;
}

const std::vector<StoredColumn>& TriggerColumns() {
  static const auto* const columns = new std::vector<StoredColumn>{{"id"},
                                                                   {"job_name"},
                                                                   {"request_id"},
                                                                   {"full_refresh", Kind::kBoolean},
                                                                   {"low"},
                                                                   {"high"},
                                                                   {"requested_at", Kind::kTime}};
  return *columns;
}

StoredValues Values(const TriggerRecord& trigger) {
  return StoredValues{trigger.id,
                      trigger.job_name,
                      OrNull(trigger.request_id),
                      trigger.full_refresh,
                      trigger.low.has_value() ? StoredValue(*trigger.low) : StoredValue(),
                      trigger.high.has_value() ? StoredValue(*trigger.high) : StoredValue(),
                      TimeText(trigger.requested)};
}

absl::StatusOr<TriggerRecord> ReadTrigger(RowReader& row) {
  TriggerRecord trigger;
  trigger.id = row.Text();
  trigger.job_name = row.Text();
  trigger.request_id = row.Text();
  trigger.full_refresh = row.Boolean();
  trigger.low = row.OptionalText();
  trigger.high = row.OptionalText();
  // Where a database lets people write what they like, one row must not hide the others.
  trigger.requested = ParseTime(row.Text()).value_or(absl::InfinitePast());
  return trigger;
}

absl::StatusOr<AuditEvent> ReadAudit(RowReader& row) {
  AuditEvent event;
  event.id = row.Integer();
  TM_ASSIGN_OR_RETURN(event.time, ParseTime(row.Text()));
  event.actor = row.Text();
  event.action = row.Text();
  event.subject = row.Text();
  event.detail = row.Text();
  return event;
}

}  // namespace tidemark::coordinator
