#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "worker/batch/chunk.h"

namespace tidemark {

// A file of chunks: a header (magic, version, run, partition, checksum), then records in any order of their sequence
// numbers. All integers are little-endian:
//   header   "TIDESPIL" | u32 version = 1 | u32 length of run | i64 partition | run | u64 XXH3-64 of all before it
//   record   u32 magic | u32 ChunkFormat | u64 sequence | u64 rows | u64 length | u64 checksum | payload
// The checksum is XXH3-64 of the record's header before it and of the payload. A payload is an Arrow IPC stream or the
// wire frames as they came. Thread-safe.
class SpillFile {
 public:
  // Where a record is; the reader gives it back.
  struct Place {
    int64_t offset = -1;
    int64_t length = 0;  // Of the payload.
  };

  // Makes the file; AlreadyExists if there is one: a spill belongs to one attempt.
  static absl::StatusOr<std::unique_ptr<SpillFile>> Create(std::string path, std::string_view run_id, int partition);
  // Deletes the file.
  ~SpillFile();
  SpillFile(const SpillFile&) = delete;
  SpillFile& operator=(const SpillFile&) = delete;

  absl::StatusOr<Place> Write(const Chunk& chunk, int64_t sequence);
  // DataLoss unless the record at `place` is the one written as `sequence`, whole.
  absl::StatusOr<Chunk> Read(const Place& place, int64_t sequence) const;
  // DataLoss unless the file begins with the header that was written.
  absl::Status CheckHeader() const;

  int64_t size() const;

 private:
  SpillFile(std::string path, int fd, std::string header);
  absl::Status WriteAll(std::string_view head, std::string_view body, int64_t offset) const;
  absl::Status ReadAll(char* out, int64_t bytes, int64_t offset) const;

  const std::string path_;
  const int fd_;
  const std::string header_;
  mutable absl::Mutex mutex_;
  int64_t end_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace tidemark
