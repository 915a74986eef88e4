#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/base/rng.h"
#include "coordinator/store/migrations/migrations.h"
#include "coordinator/store/records.h"

namespace tidemark::coordinator {

// Changes that take effect together or not at all. What is not there is dropped already. Connections and jobs are
// dropped before others are written, so that a name is free at once.
struct WriteBatch {
  // Names.
  std::vector<std::string> dropped_connections = {};
  // Uids. The runs of the job stay, under the surrogate id it had, which no other job is given.
  std::vector<std::string> dropped_jobs = {};
  // Inserted if revision is 0, else they replace the row of that revision.
  std::vector<ConnectionRecord> connections = {};
  std::vector<JobRecord> jobs = {};
  std::vector<RunRecord> runs = {};
  std::vector<TaskRecord> tasks = {};
  std::vector<PermitRecord> permits = {};
  // Session ids.
  std::vector<std::string> dropped_permits = {};
  // Ids.
  std::vector<std::string> dropped_triggers = {};
  // Each counts as one write of its job's row.
  std::vector<WatermarkAdvance> watermarks = {};
  std::vector<AuditEvent> audit = {};
};

struct RunFilter {
  std::string job_name = {};  // Empty: any.
  std::optional<RunStatus> status = {};
  std::optional<RunPhase> phase = {};
  // Only runs that moved their job's chain, see MovedChain. The newest of them is found without reading the others.
  bool moved_chain = false;
  // Only runs that have been given a sequence. The newest of them is found without reading the others.
  bool begun = false;
  // Runs created before the run of this id (ids sort by creation); empty: from the newest.
  std::string before = {};
  int limit = 100;  // 0: all.
};

struct AuditFilter {
  // Only events before the one of this id; 0: from the newest.
  int64_t before = 0;
  int limit = 100;  // 0: all.
};

// AcquireLeadership's answer while another leads: its lease may end.
bool IsLedByAnother(const absl::Status& status);

// The state of the service. One suite judges every implementation (memory, SQLite, PostgreSQL). Thread-safe.
//
// Every write carries the epoch of the leader that decided it, and the store refuses an older one with
// FailedPrecondition: a leader that was replaced can change nothing. Unavailable means try again; the write may have
// happened, and a repetition with the same revisions then answers Aborted.
class MetadataStore {
 public:
  virtual ~MetadataStore() = default;

  // Name of this store's cluster, made once and kept for ever: a target's fence holds it.
  virtual absl::StatusOr<std::string> ClusterId() = 0;

  // Takes the leader's lease for `holder` until `ttl` from now on the store's clock, if it is free, expired or already
  // the holder's. Returns the new epoch, one above the last, also above `at_least`; FailedPrecondition names the living
  // holder.
  virtual absl::StatusOr<int64_t> AcquireLeadership(std::string_view holder, absl::Duration ttl, int64_t at_least) = 0;
  // FailedPrecondition if `epoch` is no longer the newest.
  virtual absl::Status RenewLeadership(int64_t epoch, absl::Duration ttl) = 0;
  virtual absl::Status ResignLeadership(int64_t epoch) = 0;

  // Applies the batch as one transaction. FailedPrecondition: the epoch is not the newest. AlreadyExists: a run_key,
  // name or id is taken. Aborted: a revision or a watermark's `low` is not the stored one, or a later sequence has
  // moved it. NotFound: a new run or a watermark names a job that is not there. On an error nothing has changed. On
  // success every written row's stored revision is one above the record's.
  virtual absl::Status Apply(int64_t epoch, const WriteBatch& batch) = 0;

  virtual absl::StatusOr<ConnectionRecord> GetConnection(std::string_view name) = 0;
  // By name.
  virtual absl::StatusOr<std::vector<ConnectionRecord>> ListConnections() = 0;

  virtual absl::StatusOr<JobRecord> GetJob(std::string_view name) = 0;
  // By name.
  virtual absl::StatusOr<std::vector<JobRecord>> ListJobs() = 0;
  // Grows with every batch that inserts, changes or drops a job, and not with its watermark: what a list of jobs was
  // read at.
  virtual absl::StatusOr<int64_t> JobsRevision() = 0;
  // The newest fire_time among the runs of each job, by uid; jobs without one are left out.
  virtual absl::StatusOr<std::vector<std::pair<std::string, absl::Time>>> LastFireTimes() = 0;
  // When the newest successful run of each job ended, by uid; jobs without one are left out.
  virtual absl::StatusOr<std::vector<std::pair<std::string, absl::Time>>> LastSuccesses() = 0;

  virtual absl::StatusOr<RunRecord> GetRun(std::string_view id) = 0;
  // NotFound if no run has the key.
  virtual absl::StatusOr<RunRecord> GetRunByKey(std::string_view run_key) = 0;
  // Newest first.
  virtual absl::StatusOr<std::vector<RunRecord>> ListRuns(const RunFilter& filter) = 0;
  // Runs with status running, oldest first.
  virtual absl::StatusOr<std::vector<RunRecord>> ListUnfinishedRuns() = 0;
  // By partition, describe first.
  virtual absl::StatusOr<std::vector<TaskRecord>> ListTasks(std::string_view run_id) = 0;
  virtual absl::StatusOr<std::vector<PermitRecord>> ListPermits() = 0;
  // Newest first.
  virtual absl::StatusOr<std::vector<AuditEvent>> ListAudit(const AuditFilter& filter) = 0;

  // Needs no epoch: asking is not deciding. AlreadyExists: the id is taken.
  virtual absl::Status AddTrigger(const TriggerRecord& trigger) = 0;
  // Oldest first.
  virtual absl::StatusOr<std::vector<TriggerRecord>> ListTriggers() = 0;
  // Waits in real time. True as soon as a trigger may have been added, by any process, since it last returned true (or
  // since the store was opened: list first); false after `timeout`, or for an Interrupt. One thread at a time.
  virtual bool WaitForTriggers(absl::Duration timeout) = 0;
  // Ends the wait of WaitForTriggers, or its next one if none goes on.
  virtual void Interrupt() = 0;
};

// Keeps everything in this process; for tests, simulations and a look that leaves nothing behind.
// `seed` is for the cluster's id alone.
std::unique_ptr<MetadataStore> NewMemoryStore(const Clock* clock, uint64_t seed = Rng::EntropySeed());

// One file, written by one process at a time (a second gets FailedPrecondition naming the first's process id). A batch
// is on disk when Apply returns, so that it outlives a power cut. The store's clock is `clock`: no other machine ever
// writes the file. Migrates the file to this version's schema; FailedPrecondition if a newer version wrote it.
absl::StatusOr<std::unique_ptr<MetadataStore>> OpenSqliteStore(const std::string& path, const Clock* clock);
// Reads alone: works while another process writes. NotFound without a file; FailedPrecondition if its schema is not
// this version's.
absl::StatusOr<std::unique_ptr<MetadataStore>> OpenSqliteStoreReadOnly(const std::string& path);
// What OpenSqliteStore does to the schema; returns the steps it took.
absl::StatusOr<std::vector<Migration>> MigrateSqliteStore(const std::string& path, const Clock& clock);

// A database that several processes write at once, in the schema that stands first in the search_path of `dsn`
// (postgresql://USER:PASSWORD@HOST/DATABASE, or whatever libpq reads; never shown). The store's clock is the
// database's. Holds up to 7 connections, made when they are needed and again when they break. They may go through a
// pooler of transactions, but for the one of WaitForTriggers: behind such a pooler triggers are found only by listing
// them.
//
// Calls answer within seconds while the server is reachable or gone: it ends statements after 10 s and waits for locks
// after 5 s, the client gives up connecting after 5 s and a silent peer after about 10 s. Unavailable, too, for a
// server that is shutting down, recovering or a standby. ResourceExhausted: its disk is full. PermissionDenied,
// DataLoss.
//
// Migrates nothing: FailedPrecondition, naming `tidemark migrate`, unless the schema is this version's. `clock_shift`
// is for tests: how far ahead of the database's clock leases are judged.
absl::StatusOr<std::unique_ptr<MetadataStore>> OpenPostgresStore(const std::string& dsn,
                                                                 std::function<absl::Duration()> clock_shift = {});
// Brings the schema to this version's, all steps or none, and gives the cluster its id; returns the steps it took. Of
// two that run at once one waits for the other. FailedPrecondition if a newer version has migrated it. `clock` is for
// the id alone.
absl::StatusOr<std::vector<Migration>> MigratePostgresStore(const std::string& dsn, const Clock& clock);

}  // namespace tidemark::coordinator
