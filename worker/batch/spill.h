#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/batch/chunk.h"
#include "worker/batch/memory_budget.h"

namespace tidemark {

struct SpillOptions {
  // The file `name`.spill is made here as soon as something goes to disk; the directory must exist.
  std::string directory;
  std::string name;
  // Written into the file, so that it says what it holds.
  std::string run_id;
  int partition = 0;
  // Bytes kept in memory before the rest goes to disk.
  int64_t memory_share = 100 << 20;
  // A chunk up to this size is read back from disk without asking the budget: one being written and one being read
  // are the room a task needs at the least.
  int64_t in_flight = 4 << 20;
};

// Everything one move has extracted, in order: in memory first, on disk beyond the task's share or when the worker's
// budget is used up. It is kept whole until the load has succeeded, so that a load is tried again without the source.
//
// One writer thread (Append, Finish) and one reader thread (Next, Rewind) at the same time; the others from any thread.
// On disk every record carries its length, its place and an XXH3-64 checksum over all of it. The destructor deletes the
// file and gives the memory back.
class Spill {
 public:
  virtual ~Spill() = default;

  // Never waits for memory: what finds no room goes to disk. ResourceExhausted if the disk is full.
  virtual absl::Status Append(Chunk chunk) = 0;
  // No more chunks. `status` not OK: the reader gets it after the chunks before it.
  virtual void Finish(absl::Status status) = 0;

  // Whether Next would not wait for the writer.
  virtual bool Readable() const = 0;
  // Waits until Readable.
  virtual void AwaitReadable() = 0;

  // The next chunk after the read position, waiting for the writer; nullopt after the last. The chunk before it must be
  // out of use by then: its memory counts as free. A chunk on disk that is larger than `in_flight` waits for room in
  // the worker's budget, one larger than the task's share for the whole budget. DataLoss, naming file and offset, if a
  // record on disk is not what was written.
  virtual absl::StatusOr<std::optional<Chunk>> Next() = 0;
  // Sets the read position to the first chunk again, and gives back what Reserve took.
  virtual void Rewind() = 0;

  // A reader that holds what other tasks wait for (the one place of a file's writer) must not wait for memory, which
  // they may hold: asked before Next when Readable, whether Next would not wait for memory. If so, the memory is taken.
  virtual absl::StatusOr<bool> TakeForNext() = 0;
  // For such a reader whom TakeForNext refused, once it has let go of all that others wait for. RewindToReserve begins
  // anew: from then on Readable means that the writer has finished. Reserve, when Readable, waits for the memory of the
  // largest chunk on disk and holds it until Rewind: after it no Next waits for memory.
  virtual void RewindToReserve() = 0;
  virtual absl::Status Reserve() = 0;

  // Append and Next return Cancelled from now on, also those that wait.
  virtual void Cancel() = 0;

  // Bytes on disk.
  virtual int64_t spilled_bytes() const = 0;
};

// `budget` must outlive the spill.
absl::StatusOr<std::unique_ptr<Spill>> OpenSpill(SpillOptions options, MemoryBudget* budget);

}  // namespace tidemark
