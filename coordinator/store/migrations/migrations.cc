#include "coordinator/store/migrations/migrations.h"

namespace tidemark::coordinator {
namespace {

// Users query etl_jobs and etl_runs. Spec, window, description and counts are Protobuf messages as JSON; the columns
// beside them repeat what people ask for. `version` counts the writes of a row. Times are RFC 3339 in UTC, to the
// microsecond, so that they sort as text.
constexpr std::string_view kJobsAndRuns = R"sql(
CREATE TABLE etl_jobs (
  id BIGINT NOT NULL PRIMARY KEY,
  uid TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL UNIQUE,
  schedule_cron TEXT,
  timezone TEXT,
  source_dsn TEXT NOT NULL,
  source_query TEXT NOT NULL,
  transform_ref TEXT,
  target_table TEXT NOT NULL,
  load_strategy TEXT NOT NULL DEFAULT 'incremental' CHECK (load_strategy IN ('full', 'incremental', 'upsert')),
  watermark_col TEXT,
  last_watermark TEXT,
  watermark_type TEXT,
  watermark_precision INTEGER,
  watermark_zone TEXT,
  enabled BOOLEAN NOT NULL,
  last_sequence BIGINT NOT NULL,
  source_identity TEXT NOT NULL,
  spec TEXT NOT NULL,
  version BIGINT NOT NULL
);
CREATE TABLE etl_runs (
  id TEXT NOT NULL PRIMARY KEY,
  job_id BIGINT NOT NULL REFERENCES etl_jobs (id),
  job_uid TEXT NOT NULL,
  job_name TEXT NOT NULL,
  run_key TEXT NOT NULL UNIQUE,
  created_at TEXT NOT NULL,
  run_start TEXT,
  run_end TEXT,
  rows_read BIGINT NOT NULL,
  rows_loaded BIGINT NOT NULL,
  rows_filtered BIGINT NOT NULL,
  rows_quarantined BIGINT NOT NULL,
  bytes_read BIGINT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('running', 'success', 'failed', 'skipped')),
  phase TEXT NOT NULL,
  error_msg TEXT,
  watermark_low TEXT,
  watermark_snapshot TEXT,
  completeness TEXT,
  sequence BIGINT NOT NULL,
  partitions INTEGER NOT NULL,
  peak_source_connections INTEGER NOT NULL,
  describe_micros BIGINT NOT NULL,
  wait_micros BIGINT NOT NULL,
  move_micros BIGINT NOT NULL,
  commit_micros BIGINT NOT NULL,
  window_spec TEXT NOT NULL,
  spec TEXT NOT NULL,
  description TEXT,
  counts TEXT NOT NULL,
  version BIGINT NOT NULL
);
CREATE INDEX etl_runs_by_job ON etl_runs (job_name, id);
CREATE INDEX etl_runs_by_status ON etl_runs (status, id);
CREATE TABLE etl_tasks (
  id TEXT NOT NULL PRIMARY KEY,
  run_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  partition_no INTEGER NOT NULL,
  key_range TEXT NOT NULL,
  state TEXT NOT NULL,
  attempt BIGINT NOT NULL,
  failures INTEGER NOT NULL,
  not_before TEXT,
  worker_id TEXT NOT NULL,
  incarnation TEXT NOT NULL,
  session_id TEXT NOT NULL,
  extracted BOOLEAN NOT NULL,
  rows_read BIGINT NOT NULL,
  rows_loaded BIGINT NOT NULL,
  counts TEXT NOT NULL,
  error_msg TEXT,
  version BIGINT NOT NULL
);
CREATE INDEX etl_tasks_by_run ON etl_tasks (run_id, partition_no);
CREATE TABLE etl_permits (
  session_id TEXT NOT NULL PRIMARY KEY,
  connection TEXT NOT NULL,
  run_id TEXT NOT NULL,
  worker_id TEXT NOT NULL,
  incarnation TEXT NOT NULL,
  state TEXT NOT NULL,
  in_snapshot BOOLEAN NOT NULL,
  granted_at TEXT NOT NULL,
  version BIGINT NOT NULL
);
)sql";

constexpr std::string_view kLeadership = R"sql(
CREATE TABLE etl_cluster (
  id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  cluster_id TEXT NOT NULL
);
CREATE TABLE etl_leader (
  id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  epoch BIGINT NOT NULL,
  holder TEXT NOT NULL,
  expires_at TEXT NOT NULL
);
INSERT INTO etl_leader (id, epoch, holder, expires_at) VALUES (1, 0, '', '1970-01-01T00:00:00.000000Z');
CREATE TABLE etl_audit (
  id BIGINT NOT NULL PRIMARY KEY,
  happened_at TEXT NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  detail TEXT NOT NULL
);
)sql";

// A DSN is stored sealed or not at all.
constexpr std::string_view kConnectionsAndContracts = R"sql(
CREATE TABLE etl_connections (
  name TEXT NOT NULL PRIMARY KEY,
  sealed_dsn TEXT NOT NULL,
  max_connections INTEGER NOT NULL,
  max_rows_per_second BIGINT NOT NULL,
  worker TEXT,
  version BIGINT NOT NULL
);
CREATE TABLE etl_schemas (
  job_id BIGINT NOT NULL REFERENCES etl_jobs (id),
  version BIGINT NOT NULL,
  table_schema TEXT NOT NULL,
  created_at TEXT NOT NULL,
  PRIMARY KEY (job_id, version)
);
)sql";

// Every run asks for the last one that moved its job's chain, behind any number that found nothing new. The messages
// are JSON as Protobuf writes it: without spaces, enums by name, false left out.
constexpr std::string_view kMovedChain = R"sql(
ALTER TABLE etl_runs ADD COLUMN moved_chain BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE etl_runs SET moved_chain = TRUE
WHERE status = 'success' AND window_spec NOT LIKE '%"WINDOW_KIND_RANGE"%'
  AND (window_spec NOT LIKE '%"WINDOW_KIND_WINDOW"%' OR coalesce(description, '') NOT LIKE '%"empty_window":true%');
CREATE INDEX etl_runs_moved_chain ON etl_runs (job_name, id) WHERE moved_chain;
)sql";

constexpr Migration kMigrations[] = {
    {1, "jobs, runs, tasks, permits", kJobsAndRuns},
    {2, "leadership, identity, audit", kLeadership},
    {3, "connections, contracts", kConnectionsAndContracts},
    {4, "the run that moved the chain", kMovedChain},
};

}  // namespace

absl::Span<const Migration> Migrations() { return kMigrations; }

}  // namespace tidemark::coordinator
