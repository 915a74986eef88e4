#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/batch/chunk.h"

namespace tidemark {

// The bytes a worker may hold in chunks, over all of its tasks. Thread-safe.
class MemoryBudget;

struct SpillOptions {
  // Files are made here, named after `name`; the directory must exist.
  std::string directory;
  std::string name;
  // Bytes kept in memory before the rest goes to disk.
  int64_t memory_share = 100 << 20;
};

// Everything one move has extracted, in order: in memory first, on disk beyond the task's share, every disk record with its length
// and checksum (XXH3-64). It is kept whole until the load has succeeded, so that a load is tried again without the source.
// One writer thread and one reader thread at the same time.
class Spill {
 public:
  virtual ~Spill() = default;  // Deletes its file.

  // Blocks only while the worker's memory budget is exhausted by others and the disk path is not available to this chunk.
  virtual absl::Status Append(Chunk chunk) = 0;
  // No more chunks. `status` not OK: readers see it after the chunks before it.
  virtual void Finish(absl::Status status) = 0;

  // The next chunk after the read position, waiting for the writer; nullopt after the last. DataLoss if a record on disk is not what
  // was written.
  virtual absl::StatusOr<std::optional<Chunk>> Next() = 0;
  // Sets the read position to the first chunk again.
  virtual void Rewind() = 0;

  virtual int64_t spilled_bytes() const = 0;
};

absl::StatusOr<std::unique_ptr<Spill>> OpenSpill(SpillOptions options, MemoryBudget* budget);

}  // namespace tidemark
