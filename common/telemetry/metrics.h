#pragma once

#include <array>

#include "common/telemetry/metric_registry.h"

// Every metric there is, in base units. Names and labels are a contract with users' dashboards and alerts. Ids of runs
// and tasks are never labels; a job's label is etl_job, since Prometheus has a job of its own.
namespace tidemark::metrics {

// Of what takes from milliseconds to a minute: calls, queries.
inline constexpr std::array kCallBuckets = {.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1., 2.5, 5., 10., 30., 60.};
// Of what takes from a tenth of a second to hours: stages, runs, waits.
inline constexpr std::array kWorkBuckets = {.1,   .5,   1.,   2.5,   5.,    10.,   30.,   60.,
                                            120., 300., 600., 1800., 3600., 7200., 14400.};

// Of every process.
inline constexpr GaugeFamily<1> kBuildInfo = {"tidemark_build_info", "1; the build is in the labels.", {"version"}};
inline constexpr CounterFamily<4> kGrpcServerHandled = {
    "grpc_server_handled_total",
    "Calls that ended on this server, failed and cancelled ones included.",
    {"grpc_type", "grpc_service", "grpc_method", "grpc_code"}};
inline constexpr HistogramFamily<3> kGrpcServerHandling = {"grpc_server_handling_seconds",
                                                           "How long this server took for a call, from its start to "
                                                           "its end.",
                                                           kCallBuckets,
                                                           {"grpc_type", "grpc_service", "grpc_method"}};

// Runs and jobs, of the coordinator.
inline constexpr GaugeFamily<0> kIsLeader = {"tidemark_coordinator_is_leader",
                                             "1 if this coordinator leads the cluster, else 0."};
inline constexpr CounterFamily<2> kRuns = {"tidemark_runs_total", "Runs that ended, by how.", {"etl_job", "status"}};
inline constexpr HistogramFamily<1> kRunDuration = {
    "tidemark_run_duration_seconds", "From a run's start to its end.", kWorkBuckets, {"etl_job"}};
inline constexpr GaugeFamily<0> kRunsActive = {"tidemark_runs_active", "Runs that have not ended."};
inline constexpr GaugeFamily<1> kJobLastSuccess = {"tidemark_job_last_success_timestamp_seconds",
                                                   "Unix time at which the job's last successful run ended.",
                                                   {"etl_job"}};
inline constexpr GaugeFamily<1> kJobNextRun = {
    "tidemark_job_next_run_timestamp_seconds", "Unix time at which the job's schedule next fires.", {"etl_job"}};
inline constexpr GaugeFamily<1> kWatermark = {
    "tidemark_watermark_timestamp_seconds",
    "The job's committed watermark as Unix time, where it is one: all older rows are loaded.",
    {"etl_job"}};
inline constexpr CounterFamily<1> kSchemaErrors = {
    "tidemark_schema_errors_total", "Runs that found a schema its contract does not allow.", {"etl_job"}};
inline constexpr GaugeFamily<1> kQuarantinePending = {
    "tidemark_quarantine_pending_rows", "Rows in quarantine, neither replayed nor discarded.", {"etl_job"}};
inline constexpr HistogramFamily<0> kScheduleLag = {
    "tidemark_schedule_lag_seconds", "From a fire time of a schedule to the making of its run.", kWorkBuckets};
inline constexpr CounterFamily<1> kScheduleMissed = {
    "tidemark_schedule_missed_total", "Fire times of schedules that made no run, by why.", {"reason"}};

// Sources.
inline constexpr GaugeFamily<1> kHorizonHold = {
    "tidemark_horizon_hold_seconds",
    "Age of the oldest open transaction of the source that holds its horizon back.",
    {"connection"}};
inline constexpr GaugeFamily<1> kSourceConnections = {
    "tidemark_source_connections", "Sessions held on the source, of the whole cluster.", {"connection"}};
inline constexpr GaugeFamily<1> kSourceConnectionsLimit = {
    "tidemark_source_connections_limit", "Sessions that may be held on the source at once.", {"connection"}};
inline constexpr GaugeFamily<2> kReplicaLag = {
    "tidemark_replica_lag_seconds",
    "How long the last read on the replica waited for it to replay what its primary had written, max_lag at most.",
    {"connection", "replica"}};
inline constexpr GaugeFamily<1> kSourceRateLimit = {"tidemark_source_rows_per_second_limit",
                                                    "Rows that may be read from the source in a second; 0: no limit.",
                                                    {"connection"}};

// Data and tasks.
inline constexpr CounterFamily<2> kRows = {
    "tidemark_rows_total", "Rows that passed a stage: read, loaded, filtered or quarantined.", {"etl_job", "stage"}};
inline constexpr CounterFamily<1> kBytes = {
    "tidemark_bytes_total", "Bytes that passed a stage: read, or spilled to disk.", {"stage"}};
inline constexpr HistogramFamily<1> kStageDuration = {
    "tidemark_stage_duration_seconds",
    "How long a stage took: a run for describe, wait, move and commit, a task for extract and load.",
    kWorkBuckets,
    {"stage"}};
inline constexpr GaugeFamily<0> kTasksQueued = {"tidemark_tasks_queued",
                                                "Tasks that wait for a worker or for a session on their source."};
inline constexpr CounterFamily<2> kTaskAttempts = {
    "tidemark_task_attempts_total", "Attempts at tasks that ended, by the task's kind and how.", {"kind", "result"}};
inline constexpr HistogramFamily<0> kTaskQueueWait = {"tidemark_task_queue_wait_seconds",
                                                      "From a task being ready to its lease.", kWorkBuckets};

// Workers.
inline constexpr GaugeFamily<1> kWorkers = {
    "tidemark_workers", "Workers that the coordinator knows, by state.", {"state"}};
inline constexpr GaugeFamily<0> kWorkerMemory = {"tidemark_worker_memory_bytes",
                                                 "Memory that chunks in the worker's spills hold."};
inline constexpr GaugeFamily<0> kSpill = {"tidemark_spill_bytes", "Bytes on disk in the spills of tasks under way."};

// Store and cache, of the coordinator.
inline constexpr CounterFamily<1> kJobCacheRequests = {
    "tidemark_job_cache_requests_total", "Requests to the job cache, by result.", {"result"}};
inline constexpr HistogramFamily<1> kMetadataQueryDuration = {"tidemark_metadata_query_duration_seconds",
                                                              "How long the metadata store took for an operation.",
                                                              kCallBuckets,
                                                              {"operation"}};

}  // namespace tidemark::metrics
