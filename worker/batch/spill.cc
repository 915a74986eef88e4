#include "worker/batch/spill.h"

#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/status_macros.h"
#include "worker/batch/spill_file.h"

namespace tidemark {
namespace {

class MemoryThenDisk final : public Spill {
 public:
  MemoryThenDisk(SpillOptions options, MemoryBudget* budget) : options_(std::move(options)), budget_(budget) {}
  ~MemoryThenDisk() override {
    entries_.clear();
    budget_->Give(kept_bytes_ + lent_bytes_ + reserved_bytes_);
  }

  absl::Status Append(Chunk chunk) override;
  void Finish(absl::Status status) override;
  bool Readable() const override;
  void AwaitReadable() override;
  absl::StatusOr<std::optional<Chunk>> Next() override;
  void Rewind() override;
  absl::StatusOr<bool> TakeForNext() override;
  void RewindToReserve() override;
  absl::Status Reserve() override;
  void Cancel() override;
  int64_t spilled_bytes() const override;

 private:
  struct Entry {
    // Set while it is in memory, counted with chunk.bytes().
    std::optional<Chunk> chunk;
    SpillFile::Place place;
  };

  absl::StatusOr<SpillFile*> File();
  bool ReadableLocked() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return cancelled_.load() || finished_ || (!whole_only_ && position_ < entries_.size());
  }
  absl::StatusOr<Chunk> ReadBack(const SpillFile::Place& place, int64_t sequence);
  // What a chunk of that size on disk takes of the budget while it is in use.
  int64_t MemoryFor(int64_t bytes) const;
  absl::Status TakeForLarge(int64_t memory);
  absl::Status MoveKeptToDisk();
  // The largest chunk on disk, in bytes.
  int64_t LargestOnDisk() const;
  void GiveBackLent();

  const SpillOptions options_;
  MemoryBudget* const budget_;
  std::atomic<bool> cancelled_ = false;

  mutable absl::Mutex mutex_;
  absl::CondVar readable_;
  std::vector<Entry> entries_ ABSL_GUARDED_BY(mutex_);
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status end_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<SpillFile> file_ ABSL_GUARDED_BY(mutex_);
  // Bytes of the budget that entries in memory hold.
  int64_t kept_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  // The reader waits for room for a large chunk: new ones go to disk.
  bool disk_only_ ABSL_GUARDED_BY(mutex_) = false;
  // Readable only as a whole.
  bool whole_only_ ABSL_GUARDED_BY(mutex_) = false;

  // Of the reader thread. `position_` is written under the mutex, for Readable.
  size_t position_ = 0;
  bool header_checked_ = false;
  // Bytes of the budget that the chunk last handed out holds, or the next one will.
  int64_t lent_bytes_ = 0;
  // `lent_bytes_` were taken for the chunk yet to be handed out.
  bool lent_ahead_ = false;
  // Bytes of the budget that whichever chunk is in use may have.
  int64_t reserved_bytes_ = 0;
};

absl::Status Cancelled() { return absl::CancelledError("the move was cancelled"); }

absl::Status MemoryThenDisk::Append(Chunk chunk) {
  if (cancelled_.load()) return Cancelled();
  const int64_t bytes = chunk.bytes();
  int64_t sequence = 0;
  {
    absl::MutexLock lock(&mutex_);
    if (!disk_only_ && kept_bytes_ + bytes <= options_.memory_share && budget_->TryTake(bytes)) {
      kept_bytes_ += bytes;
      entries_.push_back({std::move(chunk), {}});
      readable_.Signal();
      return absl::OkStatus();
    }
    sequence = static_cast<int64_t>(entries_.size());
  }
  TM_ASSIGN_OR_RETURN(SpillFile * file, File());
  TM_ASSIGN_OR_RETURN(const SpillFile::Place place, file->Write(chunk, sequence));
  absl::MutexLock lock(&mutex_);
  entries_.push_back({std::nullopt, place});
  readable_.Signal();
  return absl::OkStatus();
}

void MemoryThenDisk::Finish(absl::Status status) {
  absl::MutexLock lock(&mutex_);
  finished_ = true;
  end_ = std::move(status);
  readable_.Signal();
}

bool MemoryThenDisk::Readable() const {
  absl::MutexLock lock(&mutex_);
  return ReadableLocked();
}

void MemoryThenDisk::AwaitReadable() {
  absl::MutexLock lock(&mutex_);
  while (!ReadableLocked()) readable_.Wait(&mutex_);
}

absl::StatusOr<std::optional<Chunk>> MemoryThenDisk::Next() {
  if (!lent_ahead_) GiveBackLent();
  lent_ahead_ = false;
  SpillFile::Place place;
  {
    absl::MutexLock lock(&mutex_);
    while (!ReadableLocked()) readable_.Wait(&mutex_);
    if (cancelled_.load()) return Cancelled();
    if (position_ == entries_.size()) {
      if (!end_.ok()) return end_;
      return std::nullopt;
    }
    if (entries_[position_].chunk.has_value()) return entries_[position_++].chunk;
    place = entries_[position_].place;
  }
  TM_ASSIGN_OR_RETURN(Chunk chunk, ReadBack(place, static_cast<int64_t>(position_)));
  absl::MutexLock lock(&mutex_);
  ++position_;
  return std::optional<Chunk>(std::move(chunk));
}

void MemoryThenDisk::Rewind() {
  GiveBackLent();
  if (reserved_bytes_ > 0) budget_->Give(reserved_bytes_);
  reserved_bytes_ = 0;
  absl::MutexLock lock(&mutex_);
  position_ = 0;
  header_checked_ = false;
}

absl::StatusOr<bool> MemoryThenDisk::TakeForNext() {
  if (lent_ahead_) return true;
  GiveBackLent();
  int64_t memory = 0;
  {
    absl::MutexLock lock(&mutex_);
    if (cancelled_.load()) return Cancelled();
    if (position_ >= entries_.size() || entries_[position_].chunk.has_value()) return true;
    memory = MemoryFor(entries_[position_].place.length);
  }
  if (memory <= reserved_bytes_) return true;
  if (!budget_->TryTake(memory)) {
    // What is in the way may be this task's own.
    TM_RETURN_IF_ERROR(MoveKeptToDisk());
    if (!budget_->TryTake(memory)) return false;
  }
  absl::MutexLock lock(&mutex_);
  disk_only_ = false;
  lent_bytes_ = memory;
  lent_ahead_ = true;
  return true;
}

void MemoryThenDisk::RewindToReserve() {
  Rewind();
  absl::MutexLock lock(&mutex_);
  whole_only_ = true;
}

absl::Status MemoryThenDisk::Reserve() {
  GiveBackLent();
  if (int64_t memory = MemoryFor(LargestOnDisk()); memory > reserved_bytes_) {
    // Who waits holds nothing. What was kept in memory needs room too, once it is on disk.
    if (reserved_bytes_ > 0) budget_->Give(std::exchange(reserved_bytes_, 0));
    TM_RETURN_IF_ERROR(MoveKeptToDisk());
    memory = MemoryFor(LargestOnDisk());
    const int64_t taken = budget_->Take(memory, cancelled_);
    if (taken < 0) return Cancelled();
    reserved_bytes_ = taken;
  }
  return absl::OkStatus();
}

int64_t MemoryThenDisk::LargestOnDisk() const {
  absl::MutexLock lock(&mutex_);
  int64_t largest = 0;
  for (const Entry& entry : entries_) {
    if (!entry.chunk.has_value()) largest = std::max(largest, entry.place.length);
  }
  return largest;
}

int64_t MemoryThenDisk::MemoryFor(int64_t bytes) const {
  if (bytes <= options_.in_flight) return 0;
  return bytes > options_.memory_share ? budget_->total() : std::min(bytes, budget_->total());
}

void MemoryThenDisk::Cancel() {
  cancelled_.store(true);
  {
    absl::MutexLock lock(&mutex_);
    readable_.SignalAll();
  }
  budget_->Wake();
}

int64_t MemoryThenDisk::spilled_bytes() const {
  absl::MutexLock lock(&mutex_);
  return file_ == nullptr ? 0 : file_->size();
}

absl::StatusOr<SpillFile*> MemoryThenDisk::File() {
  absl::MutexLock lock(&mutex_);
  if (file_ == nullptr) {
    TM_ASSIGN_OR_RETURN(file_, SpillFile::Create(absl::StrCat(options_.directory, "/", options_.name, ".spill"),
                                                 options_.run_id, options_.partition));
  }
  return file_.get();
}

absl::StatusOr<Chunk> MemoryThenDisk::ReadBack(const SpillFile::Place& place, int64_t sequence) {
  const int64_t memory = MemoryFor(place.length);
  if (memory > std::max(lent_bytes_, reserved_bytes_)) TM_RETURN_IF_ERROR(TakeForLarge(memory));
  TM_ASSIGN_OR_RETURN(SpillFile * file, File());
  if (!header_checked_) {
    TM_RETURN_IF_ERROR(file->CheckHeader());
    header_checked_ = true;
  }
  return file->Read(place, sequence);
}

absl::Status MemoryThenDisk::TakeForLarge(int64_t memory) {
  // Who waits holds nothing that another could wait for: all that waits in Take is served in the end.
  TM_RETURN_IF_ERROR(MoveKeptToDisk());
  const int64_t taken = budget_->Take(memory, cancelled_);
  absl::MutexLock lock(&mutex_);
  disk_only_ = false;
  if (taken < 0) return Cancelled();
  lent_bytes_ = taken;
  return absl::OkStatus();
}

absl::Status MemoryThenDisk::MoveKeptToDisk() {
  TM_ASSIGN_OR_RETURN(SpillFile * file, File());
  size_t count = 0;
  {
    absl::MutexLock lock(&mutex_);
    disk_only_ = true;
    count = entries_.size();
  }
  for (size_t i = 0; i < count; ++i) {
    std::optional<Chunk> chunk;
    {
      absl::MutexLock lock(&mutex_);
      chunk = entries_[i].chunk;
    }
    if (!chunk.has_value()) continue;
    TM_ASSIGN_OR_RETURN(const SpillFile::Place place, file->Write(*chunk, static_cast<int64_t>(i)));
    const int64_t bytes = chunk->bytes();
    chunk.reset();
    absl::MutexLock lock(&mutex_);
    entries_[i] = {std::nullopt, place};
    kept_bytes_ -= bytes;
    budget_->Give(bytes);
  }
  return absl::OkStatus();
}

void MemoryThenDisk::GiveBackLent() {
  if (lent_bytes_ > 0) budget_->Give(lent_bytes_);
  lent_bytes_ = 0;
  lent_ahead_ = false;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Spill>> OpenSpill(SpillOptions options, MemoryBudget* budget) {
  if (options.memory_share < 0 || options.in_flight <= 0) {
    return absl::InvalidArgumentError("a spill needs a memory share of 0 or more and room for one chunk");
  }
  return std::make_unique<MemoryThenDisk>(std::move(options), budget);
}

}  // namespace tidemark
