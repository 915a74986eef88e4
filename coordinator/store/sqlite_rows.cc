#include "coordinator/store/sqlite_rows.h"

#include <initializer_list>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/model/enum_names.h"
#include "common/model/watermark.h"
#include "google/protobuf/util/json_util.h"

namespace tidemark::coordinator {
namespace {

// `columns`, the key first and `version` not among them, are those of Values, in order; the update leaves the key and
// the `fixed` ones after it alone.
SqliteTable MakeTable(const std::string& table, const std::vector<std::string>& columns, size_t fixed = 0) {
  std::vector<std::string> parameters;
  std::vector<std::string> assignments;
  for (size_t i = 0; i < columns.size(); ++i) {
    parameters.push_back(absl::StrCat("?", i + 1));
    if (i > fixed) assignments.push_back(absl::StrCat(columns[i], " = ?", i + 1));
  }
  const std::string revision = absl::StrCat("?", columns.size() + 1);
  const std::string list = absl::StrJoin(columns, ", ");
  return {
      .insert = absl::StrCat("INSERT INTO ", table, " (", list, ", version) VALUES (", absl::StrJoin(parameters, ", "),
                             ", 1)"),
      .update = absl::StrCat("UPDATE ", table, " SET ", absl::StrJoin(assignments, ", "), ", version = ", revision,
                             " + 1 WHERE ", columns[0], " = ?1 AND version = ", revision),
      .select = absl::StrCat("SELECT ", list, ", version FROM ", table),
  };
}

absl::StatusOr<std::string> Json(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  if (status.ok()) return json;
  return absl::InvalidArgumentError(
      absl::StrCat("a ", message.GetTypeName(), " cannot be stored: ", std::string(status.message())));
}

absl::Status ParseJson(const std::string& json, google::protobuf::Message* message) {
  google::protobuf::util::JsonParseOptions options;
  // A field that a later version dropped.
  options.ignore_unknown_fields = true;
  const auto status = google::protobuf::util::JsonStringToMessage(json, message, options);
  if (status.ok()) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("the store holds an unreadable ", message->GetTypeName(), ": ", std::string(status.message())));
}

template <typename Value>
absl::StatusOr<Value> Known(std::optional<Value> value, const std::string& column, const std::string& text) {
  if (value.has_value()) return *value;
  return absl::DataLossError(absl::StrCat("the store holds an unknown ", column, " '", text, "'"));
}

std::string Text(std::string_view text) { return std::string(text); }

SqliteValue OrNull(std::string text) { return text.empty() ? SqliteValue() : SqliteValue(std::move(text)); }

SqliteValue OrNull(const std::optional<absl::Time>& time) {
  return time.has_value() ? SqliteValue(TimeText(*time)) : SqliteValue();
}

absl::StatusOr<std::optional<absl::Time>> ReadOptionalTime(SqliteRow& row) {
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

const SqliteTable& JobTable() {
  static const auto* const table = new SqliteTable(
      MakeTable("etl_jobs",
                {"uid", "id", "name", "schedule_cron", "timezone", "source_dsn", "source_query", "target_table",
                 "load_strategy", "watermark_col", "last_watermark", "watermark_type", "watermark_precision",
                 "watermark_zone", "enabled", "last_sequence", "source_identity", "spec"},
                /*fixed=*/1));
  return *table;
}

absl::StatusOr<SqliteValues> Values(const JobRecord& job) {
  const v1::JobSpec& spec = job.spec;
  TM_ASSIGN_OR_RETURN(std::string spec_json, Json(spec));
  // The surrogate for a table is the query it stands for.
  const std::string query =
      spec.source().query().empty() ? absl::StrCat("SELECT * FROM ", spec.source().table()) : spec.source().query();
  const v1::LoadStrategy strategy = spec.target().strategy() == v1::LOAD_STRATEGY_UNSPECIFIED
                                        ? v1::LOAD_STRATEGY_INCREMENTAL
                                        : spec.target().strategy();
  SqliteValues values = {job.uid,
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
    values.insert(values.end(), 4, SqliteValue());
  }
  values.insert(values.end(), {int64_t{job.enabled}, job.last_sequence, job.source_identity, std::move(spec_json)});
  return values;
}

absl::StatusOr<JobRecord> ReadJob(SqliteRow& row) {
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
  job.enabled = row.Integer() != 0;
  job.last_sequence = row.Integer();
  job.source_identity = row.Text();
  TM_RETURN_IF_ERROR(ParseJson(row.Text(), &job.spec));
  job.revision = row.Integer();
  return job;
}

const SqliteTable& RunTable() {
  static const auto* const table = new SqliteTable(MakeTable("etl_runs", {"id",
                                                                          "job_id",
                                                                          "job_uid",
                                                                          "job_name",
                                                                          "run_key",
                                                                          "created_at",
                                                                          "run_start",
                                                                          "run_end",
                                                                          "rows_read",
                                                                          "rows_loaded",
                                                                          "bytes_read",
                                                                          "rows_filtered",
                                                                          "rows_quarantined",
                                                                          "watermark_low",
                                                                          "watermark_snapshot",
                                                                          "completeness",
                                                                          "status",
                                                                          "phase",
                                                                          "error_msg",
                                                                          "sequence",
                                                                          "partitions",
                                                                          "peak_source_connections",
                                                                          "describe_micros",
                                                                          "wait_micros",
                                                                          "move_micros",
                                                                          "commit_micros",
                                                                          "window_spec",
                                                                          "spec",
                                                                          "description",
                                                                          "counts",
                                                                          "moved_chain"}));
  return *table;
}

absl::StatusOr<SqliteValues> Values(const RunRecord& run, int64_t job_id) {
  SqliteValue description;
  std::string completeness;
  if (run.description.has_value()) {
    TM_ASSIGN_OR_RETURN(description, Json(*run.description));
    completeness = tidemark::Text(run.description->completeness());
  }
  TM_ASSIGN_OR_RETURN(std::string window_json, Json(run.window));
  TM_ASSIGN_OR_RETURN(std::string spec_json, Json(run.spec));
  TM_ASSIGN_OR_RETURN(std::string counts_json, Json(run.counts));
  return SqliteValues{
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
      run.window.has_low() ? SqliteValue(run.window.low().text()) : SqliteValue(),
      run.window.has_high() ? SqliteValue(run.window.high().text()) : SqliteValue(),
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
      int64_t{MovedChain(run)},
  };
}

absl::StatusOr<RunRecord> ReadRun(SqliteRow& row) {
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
  TM_RETURN_IF_ERROR(ParseJson(row.Text(), &run.window));
  TM_RETURN_IF_ERROR(ParseJson(row.Text(), &run.spec));
  if (const std::optional<std::string> description = row.OptionalText()) {
    TM_RETURN_IF_ERROR(ParseJson(*description, &run.description.emplace()));
  }
  TM_RETURN_IF_ERROR(ParseJson(row.Text(), &run.counts));
  row.Skip(1);  // moved_chain
  run.revision = row.Integer();
  return run;
}

const SqliteTable& TaskTable() {
  static const auto* const table =
      new SqliteTable(MakeTable("etl_tasks", {"id", "run_id", "kind", "partition_no", "key_range", "state", "attempt",
                                              "failures", "not_before", "worker_id", "incarnation", "session_id",
                                              "extracted", "error_msg", "rows_read", "rows_loaded", "counts"}));
  return *table;
}

absl::StatusOr<SqliteValues> Values(const TaskRecord& task) {
  TM_ASSIGN_OR_RETURN(std::string range_json, Json(task.range));
  TM_ASSIGN_OR_RETURN(std::string counts_json, Json(task.counts));
  return SqliteValues{
      task.id,
      task.run_id,
      EnumName(task.kind),
      int64_t{task.partition},
      std::move(range_json),
      Text(Name(task.state)),
      task.attempt,
      int64_t{task.failures},
      task.not_before == absl::InfinitePast() ? SqliteValue() : SqliteValue(TimeText(task.not_before)),
      task.worker_id,
      task.incarnation,
      task.session_id,
      int64_t{task.extracted},
      OrNull(task.error),
      task.counts.read(),
      task.counts.loaded(),
      std::move(counts_json),
  };
}

absl::StatusOr<TaskRecord> ReadTask(SqliteRow& row) {
  TaskRecord task;
  task.id = row.Text();
  task.run_id = row.Text();
  const std::string kind = row.Text();
  TM_ASSIGN_OR_RETURN(const int kind_number, Known(EnumNumber(*v1::TaskKind_descriptor(), kind), "kind", kind));
  task.kind = static_cast<v1::TaskKind>(kind_number);
  task.partition = static_cast<int>(row.Integer());
  TM_RETURN_IF_ERROR(ParseJson(row.Text(), &task.range));
  const std::string state = row.Text();
  TM_ASSIGN_OR_RETURN(task.state, Known(ParseTaskState(state), "state", state));
  task.attempt = row.Integer();
  task.failures = static_cast<int>(row.Integer());
  TM_ASSIGN_OR_RETURN(const std::optional<absl::Time> not_before, ReadOptionalTime(row));
  task.not_before = not_before.value_or(absl::InfinitePast());
  task.worker_id = row.Text();
  task.incarnation = row.Text();
  task.session_id = row.Text();
  task.extracted = row.Integer() != 0;
  task.error = row.Text();
  row.Skip(2);  // rows_read, rows_loaded
  TM_RETURN_IF_ERROR(ParseJson(row.Text(), &task.counts));
  task.revision = row.Integer();
  return task;
}

const SqliteTable& PermitTable() {
  static const auto* const table =
      new SqliteTable(MakeTable("etl_permits", {"session_id", "connection", "run_id", "worker_id", "incarnation",
                                                "state", "in_snapshot", "granted_at"}));
  return *table;
}

absl::StatusOr<SqliteValues> Values(const PermitRecord& permit) {
  return SqliteValues{permit.session_id,
                      permit.connection,
                      permit.run_id,
                      permit.worker_id,
                      permit.incarnation,
                      Text(Name(permit.state)),
                      int64_t{permit.in_snapshot},
                      TimeText(permit.granted)};
}

absl::StatusOr<PermitRecord> ReadPermit(SqliteRow& row) {
  PermitRecord permit;
  permit.session_id = row.Text();
  permit.connection = row.Text();
  permit.run_id = row.Text();
  permit.worker_id = row.Text();
  permit.incarnation = row.Text();
  const std::string state = row.Text();
  TM_ASSIGN_OR_RETURN(permit.state, Known(ParsePermitState(state), "state", state));
  permit.in_snapshot = row.Integer() != 0;
  TM_ASSIGN_OR_RETURN(permit.granted, ParseTime(row.Text()));
  permit.revision = row.Integer();
  return permit;
}

}  // namespace tidemark::coordinator
