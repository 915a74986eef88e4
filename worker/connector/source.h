#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tidemark/v1/spec.pb.h"
#include "tidemark/v1/values.pb.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/batch/chunk.h"

namespace tidemark {

// Streams the rows of one read. One thread at a time.
class ChunkReader {
 public:
  virtual ~ChunkReader() = default;

  // The next rows, in chunks of about a megabyte; nullopt after the last. A chunk never splits a row and is never
  // empty. After an error the reader is of no further use, and what was read before it must not be taken for the whole.
  virtual absl::StatusOr<std::optional<Chunk>> Next() = 0;
};

// What a source says of the relation a job reads, before any row of it is read.
struct SourceDescription {
  v1::TableSchema schema;
  v1::SourceCapabilities capabilities;
  // -1: unknown.
  int64_t estimated_rows = -1;
  int64_t estimated_bytes = -1;
  // Server and timeline; a change of it breaks the chain of proofs.
  std::string identity;
  // Of the table, as TargetDescription has it; empty for a query, or if the server does not tell.
  std::string table_identity;
  // One sentence each, for the user.
  std::vector<std::string> notes;
};

// Where the last window ended, from which the next one goes on.
struct LastWindow {
  // That of a proved window of this very source.
  LastWindow(v1::Watermark watermark) : high(std::move(watermark)) {}  // NOLINT(google-explicit-constructor)

  v1::Watermark high;
  // Of a window that was not proved: rows at or below `high`, but not so far below, may have committed since.
  absl::Duration lookback = absl::ZeroDuration();
  // It read another server, timeline or file (SourceDescription::identity).
  bool other_source = false;
};

// The upper bound of a window, and what it rests on. docs/horizons.md has each engine's rule.
struct HorizonProbe {
  // The greatest value the watermark column can hold that is strictly below the horizon.
  v1::Watermark high;
  // Where the window starts: the last watermark, or below it by a lookback. Absent: from the type's minimum.
  std::optional<v1::Watermark> effective_low;
  v1::Completeness completeness;
  // high is not above low: nothing to move, and the watermark stays.
  bool empty = false;
  // The source's clock at the probe, as a watermark. A horizon that has passed it covers all that was committed before
  // the probe; absent where waiting cannot help.
  std::optional<v1::Watermark> probed_at;
  // How long the oldest open transaction has held the horizon back.
  absl::Duration hold = absl::ZeroDuration();
};

struct ReadRequest {
  // The columns to read, in this order (of SourceDescription).
  v1::TableSchema schema;
  v1::Window window;
  v1::KeyRange range;
  v1::ChunkFormat format = v1::CHUNK_FORMAT_ARROW;
  // Only the rows of `range` that are in this one too.
  std::optional<v1::KeyRange> piece = std::nullopt;
};

// One connection to a source, opened for one job's relation and counted as one permit. All methods but Cancel are
// called by one thread at a time; the destructor closes the connection and ends its snapshot.
//
// Errors: InvalidArgument and NotFound are the user's to mend (a missing table, a wrong watermark type) and say how;
// PermissionDenied names the GRANT that would help; Unavailable and Aborted may be retried on a new session;
// DataLoss means the snapshot is gone and the run must start again; Cancelled follows Cancel.
class SourceSession {
 public:
  virtual ~SourceSession() = default;

  // Reads the catalog alone.
  virtual absl::StatusOr<SourceDescription> Describe() = 0;

  // SourceDescription::identity of what this session reads; empty where the server does not tell.
  virtual absl::StatusOr<std::string> Identity() = 0;

  // A statement of its own, before any snapshot. `last` is absent for the first window. The window reaches back behind
  // it where that one was not proved, and where this one is not; after another source it is lookback at best.
  // Unimplemented where the source has no watermark to offer.
  virtual absl::StatusOr<HorizonProbe> ProbeHorizon(const std::optional<LastWindow>& last) = 0;

  // Where the server's log stands: what has committed by now stands before it. Unimplemented for a store that has no
  // replicas; InvalidArgument for a replica.
  virtual absl::StatusOr<std::string> Position();

  // Waits until what this session reads includes all before `position`, of the server itself or of the primary that it
  // replays; returns how long that took. Unavailable if it takes longer than `limit`.
  virtual absl::StatusOr<absl::Duration> AwaitPosition(std::string_view position, absl::Duration limit);

  // Whether a row stands above `high` now (inside the snapshot, if one is open). True also when the source cannot tell
  // cheaply.
  virtual absl::StatusOr<bool> MayHoldRowsAbove(const v1::Watermark& high) = 0;

  // Whether `value` stands above `bound`, as the watermark column orders them.
  virtual absl::StatusOr<bool> IsAbove(const v1::Watermark& value, const v1::Watermark& bound) = 0;

  // Whether the horizon probed now has reached `until` (of HorizonProbe::probed_at).
  virtual absl::StatusOr<bool> HorizonReached(const v1::Watermark& until) = 0;

  // Rows whose watermark is NULL, which no window would ever move. Called only where the column is nullable.
  virtual absl::StatusOr<int64_t> CountNullWatermarks() = 0;

  // Pins one state of the source: all later reads of this session see it. Returns the id by which other sessions import
  // it, empty if they cannot. Unimplemented without the capability.
  virtual absl::StatusOr<std::string> OpenSnapshot() = 0;

  // First call of a new session, before any other. DataLoss if the snapshot no longer exists.
  virtual absl::Status ImportSnapshot(std::string_view snapshot) = 0;

  // What the planner wants to know to cut `window`, at most one entry of each partitioning, the preferred first. `by`
  // forces a column; `wanted` sizes the sample. Physical partitioning is offered only inside a snapshot.
  virtual absl::StatusOr<std::vector<v1::PartitionFacts>> DescribePartitions(const v1::Window& window,
                                                                             std::string_view by, int wanted) = 0;

  // Starts reading. The reader must not outlive the session; one reader at a time.
  virtual absl::StatusOr<std::unique_ptr<ChunkReader>> Read(const ReadRequest& request) = 0;

  // Asks the server to stop what the session is doing (PostgreSQL: CancelRequest). Any thread, any time; returns at
  // once.
  virtual void Cancel() = 0;
};

inline absl::StatusOr<std::string> SourceSession::Position() {
  return absl::UnimplementedError("this kind of store has no replicas: remove them from its connection");
}

inline absl::StatusOr<absl::Duration> SourceSession::AwaitPosition(std::string_view, absl::Duration) {
  return absl::UnimplementedError("this kind of store has no replicas: remove them from its connection");
}

}  // namespace tidemark
