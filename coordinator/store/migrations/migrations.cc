#include "coordinator/store/migrations/migrations.h"

namespace tidemark::coordinator {
namespace {

// Users query etl_jobs and etl_runs. Spec, window, description and counts are Protobuf messages as JSON; the columns
// beside them repeat what people ask for. `version` counts the writes of a row. SQLite knows no type
// TIMESTAMPTZ and keeps the text: RFC 3339 in UTC, to the microsecond, so that it sorts. A run outlives its job: job_id
// refers to a row that may be gone.
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
  job_id BIGINT NOT NULL,
  job_uid TEXT NOT NULL,
  job_name TEXT NOT NULL,
  run_key TEXT NOT NULL UNIQUE,
  created_at TIMESTAMPTZ NOT NULL,
  run_start TIMESTAMPTZ,
  run_end TIMESTAMPTZ,
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
  not_before TIMESTAMPTZ,
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
  granted_at TIMESTAMPTZ NOT NULL,
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
  expires_at TIMESTAMPTZ NOT NULL
);
INSERT INTO etl_leader (id, epoch, holder, expires_at) VALUES (1, 0, '', '1970-01-01T00:00:00.000000Z');
CREATE TABLE etl_audit (
  id BIGINT NOT NULL PRIMARY KEY,
  happened_at TIMESTAMPTZ NOT NULL,
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
  created_at TIMESTAMPTZ NOT NULL,
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

// What several processes share: who asked for a job and from when on it is scheduled, connections, requests for runs.
constexpr std::string_view kCluster = R"sql(
ALTER TABLE etl_jobs ADD COLUMN created_at TIMESTAMPTZ NOT NULL DEFAULT '1970-01-01T00:00:00.000000Z';
ALTER TABLE etl_jobs ADD COLUMN updated_at TIMESTAMPTZ NOT NULL DEFAULT '1970-01-01T00:00:00.000000Z';
ALTER TABLE etl_jobs ADD COLUMN scheduled_from TIMESTAMPTZ;
ALTER TABLE etl_jobs ADD COLUMN request_id TEXT;
ALTER TABLE etl_jobs ADD COLUMN adopting BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE etl_connections ADD COLUMN spec TEXT NOT NULL DEFAULT '{}';
ALTER TABLE etl_connections ADD COLUMN redacted_dsn TEXT NOT NULL DEFAULT '';
ALTER TABLE etl_connections ADD COLUMN request_id TEXT;
ALTER TABLE etl_connections ADD COLUMN created_at TIMESTAMPTZ NOT NULL DEFAULT '1970-01-01T00:00:00.000000Z';
ALTER TABLE etl_connections ADD COLUMN updated_at TIMESTAMPTZ NOT NULL DEFAULT '1970-01-01T00:00:00.000000Z';
ALTER TABLE etl_runs ADD COLUMN fire_time TIMESTAMPTZ;
ALTER TABLE etl_runs ADD COLUMN retry_of TEXT;
CREATE INDEX etl_runs_begun ON etl_runs (job_name, id) WHERE sequence > 0;
CREATE INDEX etl_runs_by_fire_time ON etl_runs (job_uid, fire_time) WHERE fire_time IS NOT NULL;
ALTER TABLE etl_cluster ADD COLUMN jobs_revision BIGINT NOT NULL DEFAULT 0;
ALTER TABLE etl_cluster ADD COLUMN last_job_id BIGINT NOT NULL DEFAULT 0;
UPDATE etl_cluster SET last_job_id = (SELECT coalesce(max(id), 0) FROM etl_jobs);
)sql";

// A leader asks for the end of each job's last success when it takes over, behind any number of runs that failed.
constexpr std::string_view kLastSuccess = R"sql(
CREATE INDEX etl_runs_succeeded ON etl_runs (job_uid, run_end) WHERE status = 'success';
)sql";

// INSERT INTO etl_triggers (job_name) VALUES ('orders') is a request for a run.
constexpr std::string_view kSqliteTriggers = R"sql(
CREATE TABLE etl_triggers (
  id TEXT NOT NULL PRIMARY KEY DEFAULT (lower(hex(randomblob(13)))),
  job_name TEXT NOT NULL,
  request_id TEXT,
  full_refresh BOOLEAN NOT NULL DEFAULT FALSE,
  low TEXT,
  high TEXT,
  requested_at TIMESTAMPTZ NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z')
);
)sql";
constexpr std::string_view kPostgresTriggers = R"sql(
CREATE TABLE etl_triggers (
  id TEXT COLLATE "C" NOT NULL PRIMARY KEY DEFAULT replace(gen_random_uuid()::text, '-', ''),
  job_name TEXT NOT NULL,
  request_id TEXT,
  full_refresh BOOLEAN NOT NULL DEFAULT FALSE,
  low TEXT,
  high TEXT,
  requested_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);
CREATE FUNCTION etl_notify_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('etl_triggers', '');
  RETURN NULL;
END $$;
CREATE TRIGGER etl_triggers_notify AFTER INSERT ON etl_triggers
FOR EACH STATEMENT EXECUTE FUNCTION etl_notify_trigger();
)sql";

// Keys sort by their bytes, as they do in the other stores, whatever the database's collation.
constexpr std::string_view kPostgresJobsAndRuns = R"sql(
ALTER TABLE etl_jobs ALTER COLUMN name TYPE TEXT COLLATE "C";
ALTER TABLE etl_runs ALTER COLUMN id TYPE TEXT COLLATE "C";
ALTER TABLE etl_tasks ALTER COLUMN id TYPE TEXT COLLATE "C";
ALTER TABLE etl_permits ALTER COLUMN session_id TYPE TEXT COLLATE "C";
)sql";
// Several processes write audit events at once.
constexpr std::string_view kPostgresLeadership = R"sql(
ALTER TABLE etl_audit ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY;
)sql";
constexpr std::string_view kPostgresConnections = R"sql(
ALTER TABLE etl_connections ALTER COLUMN name TYPE TEXT COLLATE "C";
)sql";

// What a session does is known from its tasks and its worker's reports, and would be untrue here soon.
constexpr std::string_view kPermitsWithoutState = R"sql(
ALTER TABLE etl_permits DROP COLUMN state;
)sql";

// A connection may lead elsewhere before its sessions are closed.
constexpr std::string_view kPermitIdentity = R"sql(
ALTER TABLE etl_permits ADD COLUMN identity TEXT NOT NULL DEFAULT '';
)sql";

constexpr Migration kMigrations[] = {
    {1, "jobs, runs, tasks, permits", kJobsAndRuns, {}, kPostgresJobsAndRuns},
    {2, "leadership, identity, audit", kLeadership, {}, kPostgresLeadership},
    {3, "connections, contracts", kConnectionsAndContracts, {}, kPostgresConnections},
    {4, "the run that moved the chain", kMovedChain, {}, {}},
    {5, "several processes: schedules, connections, triggers", kCluster, kSqliteTriggers, kPostgresTriggers},
    {6, "permits without a state", kPermitsWithoutState, {}, {}},
    {7, "the last success of each job", kLastSuccess, {}, {}},
    {8, "where permits count", kPermitIdentity, {}, {}},
};

}  // namespace

absl::Span<const Migration> Migrations() { return kMigrations; }

}  // namespace tidemark::coordinator
