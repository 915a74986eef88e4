#include "common/config/project_keys.h"

#include <algorithm>

#include "absl/strings/str_split.h"

namespace tidemark {
namespace {

using Kind = ProjectKey::Kind;

constexpr char kNamePattern[] = "^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$";

ProjectKey NotYet(std::string name, Kind kind, std::vector<ProjectKey> keys = {}) {
  return {.name = std::move(name), .kind = kind, .doc = "", .available = false, .keys = std::move(keys)};
}

ProjectKey Unread(std::string name) { return {.name = std::move(name), .kind = Kind::kAnything, .doc = ""}; }

std::vector<ProjectKey> Unread(std::initializer_list<const char*> names) {
  std::vector<ProjectKey> keys;
  for (const char* name : names) keys.push_back(Unread(std::string(name)));
  return keys;
}

std::vector<ProjectKey> ConnectionKeys() {
  return {
      {.name = "dsn",
       .kind = Kind::kDsn,
       .doc = "postgresql://..., sqlite:PATH or duckdb:PATH (relative to this file) or generator:...; secrets as "
              "${env:NAME} or "
              "${file:PATH}",
       .required = true},
      {.name = "max_connections",
       .kind = Kind::kWhole,
       .doc = "Connections Tidemark may hold on it at once as a source",
       .fallback = "4",
       .min = 1,
       .max = 1000},
      {.name = "max_rows_per_second",
       .kind = Kind::kWhole,
       .doc = "Rows read per second, of all jobs together; 0: no limit"},
      {.name = "replicas",
       .kind = Kind::kDsns,
       .doc = "Standbys of dsn that rows are read from in its stead, each with max_connections of its own"},
      {.name = "max_lag",
       .kind = Kind::kDuration,
       .doc = "How long a replica may take to replay what its primary had written (30s if absent); one that takes "
              "longer is "
              "left alone"},
      {.name = "fallback_to_primary", .kind = Kind::kBool, .doc = "Read rows from the primary where no replica is fit"},
      {.name = "worker", .kind = Kind::kText, .doc = "The worker that owns a local file, in a cluster"},
  };
}

std::vector<ProjectKey> ScheduleKeys() {
  return {
      {.name = "cron",
       .kind = Kind::kCron,
       .doc = "Minute, hour, day of month, month, day of week; or @daily and its like",
       .required = true},
      {.name = "timezone", .kind = Kind::kTimeZone, .doc = "IANA zone of the schedule; UTC if absent"},
      {.name = "catch_up", .kind = Kind::kDuration, .doc = "How late a missed fire time is still made up for"},
  };
}

std::vector<ProjectKey> SourceKeys() {
  return {
      {.name = "connection", .kind = Kind::kText, .doc = "Name of a connection", .required = true},
      {.name = "table", .kind = Kind::kText, .doc = "Table to read, schema-qualified where there are schemas"},
      {.name = "query",
       .kind = Kind::kText,
       .doc = "SELECT to read instead of a table; may use :last_watermark and :watermark_snapshot"},
      NotYet("api", Kind::kAnything),
      {.name = "watermark",
       .kind = Kind::kText,
       .doc = "Column that rises with every change; needed by incremental and upsert"},
      {.name = "watermark_timezone",
       .kind = Kind::kTimeZone,
       .doc = "Zone of a watermark that is a timestamp without a zone"},
      {.name = "stamped_by",
       .kind = Kind::kChoice,
       .doc = "Whose clock fills the watermark; an application's needs lookback",
       .fallback = "database"},
      {.name = "null_watermark",
       .kind = Kind::kChoice,
       .doc = "Rows without a watermark: fail, or read them again in every run (needs key)",
       .fallback = "fail"},
      {.name = "horizon_wait",
       .kind = Kind::kDuration,
       .doc = "How long a run waits for open transactions of the source",
       .fallback = "2s"},
      {.name = "max_hold",
       .kind = Kind::kDuration,
       .doc = "A transaction open for longer degrades the run to lookback, and the run says so"},
      {.name = "lookback", .kind = Kind::kDuration, .doc = "How far below the last watermark every window starts"},
      {.name = "partition",
       .kind = Kind::kMapping,
       .doc = "How to cut the work; the planner chooses what is absent",
       .keys = {{.name = "by", .kind = Kind::kText, .doc = "Column to cut by"},
                {.name = "rows", .kind = Kind::kWhole, .doc = "Rows in a partition", .min = 1}}},
      {.name = "partitions",
       .kind = Kind::kWhole,
       .doc = "Number of partitions, instead of `partition`",
       .field = "partition.count",
       .min = 1,
       .max = 4096},
  };
}

std::vector<ProjectKey> TargetKeys() {
  return {
      {.name = "connection", .kind = Kind::kText, .doc = "Name of a connection", .required = true},
      {.name = "table",
       .kind = Kind::kText,
       .doc = "Table to load; created from the source's schema if it does not exist",
       .required = true},
      {.name = "strategy",
       .kind = Kind::kChoice,
       .doc = "full: replace; incremental: append what is new; upsert: merge what is new or changed by key",
       .fallback = "incremental"},
      {.name = "key", .kind = Kind::kTexts, .doc = "Columns that name a row"},
      {.name = "swap", .kind = Kind::kChoice, .doc = "How a full load replaces the table", .fallback = "auto"},
  };
}

std::vector<ProjectKey> TransformKeys() {
  return {Unread("ref"),
          {.name = "steps",
           .kind = Kind::kMappingList,
           .doc = "",
           .keys = Unread(
               {"rename", "cast", "derive", "convert", "normalize", "filter", "lookup", "mask", "drop", "require"})},
          Unread("sql"),
          Unread("command"),
          Unread("options")};
}

std::vector<ProjectKey> JobKeys() {
  return {
      {.name = "schedule",
       .kind = Kind::kMapping,
       .doc = "When to run; absent: only on demand",
       .shorthand = "cron",
       .keys = ScheduleKeys()},
      {.name = "enabled", .kind = Kind::kBool, .doc = "Whether the schedule counts", .fallback = "true"},
      {.name = "source", .kind = Kind::kMapping, .doc = "What to read", .required = true, .keys = SourceKeys()},
      NotYet("transform", Kind::kMapping, TransformKeys()),
      {.name = "target", .kind = Kind::kMapping, .doc = "Where to load it", .required = true, .keys = TargetKeys()},
      NotYet("dimensions", Kind::kNamed, Unread({"connection", "table", "query", "key", "columns"})),
      NotYet("schema", Kind::kMapping,
             Unread({"compatibility", "on_new_column", "on_missing_column", "on_type_change"})),
      NotYet("types", Kind::kNamed, Unread({"on_out_of_range"})),
      NotYet("quarantine", Kind::kMapping, Unread({"max_rows", "max_ratio", "fail_rows", "retention"})),
      NotYet("sla", Kind::kMapping, Unread({"max_duration", "max_age"})),
      {.name = "retry",
       .kind = Kind::kMapping,
       .doc = "How often a failed task is tried again",
       .keys = {{.name = "attempts",
                 .kind = Kind::kWhole,
                 .doc = "Attempts per task, the first included",
                 .fallback = "5",
                 .min = 1,
                 .max = 100},
                {.name = "backoff", .kind = Kind::kDuration, .doc = "Delay before the first retry", .fallback = "2s"}}},
      NotYet("checks", Kind::kMappingList, Unread({"row_count", "unique", "sql", "severity"})),
  };
}

}  // namespace

const std::vector<ProjectKey>& ProjectKeys() {
  static const auto* const kKeys = new std::vector<ProjectKey>{
      {.name = "connections",
       .kind = Kind::kNamed,
       .doc = "Databases, files and services by name; a source's limits hold for the whole cluster",
       .required = true,
       .name_pattern = kNamePattern,
       .keys = ConnectionKeys()},
      {.name = "jobs",
       .kind = Kind::kNamed,
       .doc = "What to move where, by name",
       .required = true,
       .name_pattern = kNamePattern,
       .keys = JobKeys()},
  };
  return *kKeys;
}

const ProjectKey& ProjectKeyNamed(std::string_view name) {
  return *std::find_if(ProjectKeys().begin(), ProjectKeys().end(),
                       [&](const ProjectKey& key) { return key.name == name; });
}

KeyField FieldOf(const ProjectKey& key, const google::protobuf::Descriptor& message) {
  KeyField field;
  const google::protobuf::Descriptor* at = &message;
  for (const std::string& name :
       std::vector<std::string>(absl::StrSplit(key.field.empty() ? key.name : key.field, '.'))) {
    if (field.leaf != nullptr) field.parents.push_back(field.leaf);
    field.leaf = at->FindFieldByName(name);
    if (field.leaf == nullptr) break;
    at = field.leaf->message_type();
  }
  return field;
}

}  // namespace tidemark
