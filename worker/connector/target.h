#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "tidemark/v1/spec.pb.h"
#include "tidemark/v1/values.pb.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/batch/chunk.h"

namespace tidemark {

// Who writes: checked against the target's fence inside every transaction.
struct RunIdentity {
  std::string cluster_id;
  std::string job_uid;
  // Part of a name in the target: see CheckRunId.
  std::string run_id;
  // Of the leader that leased the task. A fence above it means this writer is a zombie.
  int64_t epoch = 0;
  // Position of the run in its job's ledger chain.
  int64_t sequence = 0;
};

// What a run may do to a target table whose fence, or whose ledger, another cluster or job owns.
enum class TakeOver {
  kNothing,
  // Window.full_refresh: takes the fence and replaces what the table holds. The other's chain ends.
  kReplace,
  // Window.adopt: takes the fence and the table as it stands. The other's chain goes on as the run's job's own.
  kAdopt,
};

struct TargetDescription {
  bool table_exists = false;
  // Of the existing table; empty otherwise.
  v1::TableSchema schema;
  // Two sessions that mean one table have one, whatever name or address led them there; empty if the server does not
  // tell.
  std::string table_identity;
  v1::TargetCapabilities capabilities;
  // Formats that can carry exactly the source's columns into this table, best first.
  std::vector<v1::ChunkFormat> formats;
  // The last window or full load of this target table, whichever cluster and job made it; `exists` false without one.
  v1::LedgerHead ledger;
  std::vector<std::string> notes;
};

struct MoveOutcome {
  int64_t rows = 0;
  // An earlier attempt had committed this move: what this one wrote was rolled back.
  bool already_done = false;
};

// Writes the rows of one move. One thread at a time. Destroyed without Commit, nothing of it remains.
class MoveWriter {
 public:
  virtual ~MoveWriter() = default;
  virtual absl::Status Write(const Chunk& chunk) = 0;
  // Last of all checks the fence and inserts the row (run, partition) into `moves`, then commits. An error of code
  // Unknown means the answer to COMMIT was lost: LoadedMoves tells what happened.
  virtual absl::StatusOr<MoveOutcome> Commit() = 0;
};

// One connection to a target for one job's table. Control tables `ledger`, `fence`, `moves`, `quarantine` and staging
// live in the schema `tidemark` of the target, or with the prefix `_tidemark_` where there are no schemas. All methods
// but Cancel are called by one thread at a time.
//
// Errors: InvalidArgument and NotFound are the user's to mend and say how; PermissionDenied names the GRANT;
// Unavailable and Aborted may be retried as a whole; FailedPrecondition means a fence, a foreign cluster or a
// superseded sequence refused the write, for good; Unknown means the outcome of a COMMIT is not known; Cancelled
// follows Cancel. A run id that no name can hold is an InvalidArgument to every method that needs the run's staging.
class TargetSession {
 public:
  virtual ~TargetSession() = default;

  // Changes nothing. Refuses what the load could not do later: a missing key index, missing privileges, columns the
  // target lacks or cannot hold, a swap that would break dependents. Whose ledger it finds is for the caller to judge.
  virtual absl::StatusOr<TargetDescription> Describe(const v1::TableSchema& source,
                                                     const std::vector<v1::ChunkFormat>& source_formats) = 0;

  // Creates the control tables, raises the fence to the run's epoch and creates the run's empty staging. A run is
  // prepared again when it starts again: nothing it staged before stays. FailedPrecondition if it is committed, or if
  // the fence stands above the run's epoch (FencedOut) or is another's that `take_over` does not take (ForeignFence).
  // Whose the table is is settled here, in one transaction: no later call takes a fence from anybody. What others have
  // staged for a table that is taken over is dropped, here or by the job's next runs.
  // kAdopt is idempotent: the chain of whoever loaded the table last becomes the job's, above all that the job has
  // loaded into it before; a chain that is the job's already stays as it is. From then on Describe tells of it as the
  // job's own.
  virtual absl::Status Prepare(const RunIdentity& run, const v1::TableSchema& schema, TakeOver take_over) = 0;

  // Starts one move into the run's staging, in a transaction of its own.
  virtual absl::StatusOr<std::unique_ptr<MoveWriter>> BeginMove(const RunIdentity& run, int partition,
                                                                const v1::TableSchema& schema,
                                                                v1::ChunkFormat format) = 0;

  // The moves of the run that are committed, with their rows.
  virtual absl::StatusOr<std::vector<v1::StagedMove>> LoadedMoves(const RunIdentity& run) = 0;

  // In ONE transaction: raises the fence, checks the moves against `work.moves`, checks the chain (a window's low must
  // equal the high of the job's last window or full row; a sequence that is not above that row's is refused as
  // superseded), merges or swaps, writes quarantine rows, inserts the ledger row, drops staging. A run whose ledger row
  // exists returns it with already_done, before any of these checks.
  virtual absl::StatusOr<v1::CommitResult> Commit(const RunIdentity& run, const v1::CommitWork& work) = 0;

  virtual absl::StatusOr<v1::ProbeResult> Probe(const RunIdentity& run) = 0;

  // Drops staging and moves of the run. Idempotent; a committed run's ledger row stays.
  virtual absl::Status Abort(const RunIdentity& run) = 0;

  // Any thread, any time; returns at once.
  virtual void Cancel() = 0;
};

}  // namespace tidemark
