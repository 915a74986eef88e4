#pragma once

// For tests: a source behind the interface, whose behaviour a test sets and whose calls it can look at.

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/absl_view.h"
#include "worker/connector/source.h"

namespace tidemark::test {

// Shared by all sessions of one source. Set the plain fields before any session is open.
struct FakeSource {
  SourceDescription description;
  HorizonProbe probe;
  absl::Status probe_error;
  // Of the latest probe.
  std::optional<LastWindow> last_window;
  bool rows_above = false;
  int64_t null_watermarks = 0;
  std::string snapshot = "snapshot-1";
  bool reached = false;
  std::string position = "0/1000";
  absl::Duration lag;
  v1::PartitionFacts facts;
  // A read yields so many chunks of so many rows.
  int chunks = 3;
  int64_t rows_per_chunk = 10;
  // Met by the chunk of that number of every read.
  std::optional<int> failing_chunk;
  absl::Status chunk_error;
  // The chunk of that number does not find the memory it needs.
  std::optional<int> out_of_memory_at;
  // A read stops after this many chunks until Release or Cancel.
  std::optional<int> stuck_chunk;

  absl::Mutex mutex;
  std::vector<std::string> calls ABSL_GUARDED_BY(mutex);
  int open ABSL_GUARDED_BY(mutex) = 0;
  int most_open ABSL_GUARDED_BY(mutex) = 0;
  int opened ABSL_GUARDED_BY(mutex) = 0;
  int reads ABSL_GUARDED_BY(mutex) = 0;
  bool released ABSL_GUARDED_BY(mutex) = false;
  v1::Window described_window ABSL_GUARDED_BY(mutex);
  std::vector<std::string> imported ABSL_GUARDED_BY(mutex);
  // Of each read.
  std::vector<std::optional<v1::KeyRange>> pieces ABSL_GUARDED_BY(mutex);

  FakeSource() {
    v1::Column& id = *description.schema.add_columns();
    id.set_name("id");
    id.mutable_type()->set_kind(v1::LogicalType::KIND_INT64);
    v1::Column& stamp = *description.schema.add_columns();
    stamp.set_name("updated_at");
    stamp.mutable_type()->set_kind(v1::LogicalType::KIND_TIMESTAMPTZ);
    description.capabilities.set_snapshot(true);
    description.capabilities.set_snapshot_export(true);
    description.capabilities.add_formats(v1::CHUNK_FORMAT_PG_COPY_BINARY);
    description.capabilities.add_formats(v1::CHUNK_FORMAT_ARROW);
    description.identity = "server-1";
    facts.set_partitioning(v1::PARTITIONING_NONE);
    probe.high.set_text("200");
    probe.completeness.set_level(v1::Completeness::LEVEL_PROVED);
    probe.probed_at.emplace().set_text("300");
  }

  void Called(std::string call) {
    absl::MutexLock lock(&mutex);
    calls.push_back(std::move(call));
  }
  std::vector<std::string> Calls() {
    absl::MutexLock lock(&mutex);
    return calls;
  }
  int Open() {
    absl::MutexLock lock(&mutex);
    return open;
  }
  int Reads() {
    absl::MutexLock lock(&mutex);
    return reads;
  }
  void Release() {
    absl::MutexLock lock(&mutex);
    released = true;
  }
  int64_t rows() const { return chunks * rows_per_chunk; }
};

class FakeSourceSession final : public SourceSession {
 public:
  explicit FakeSourceSession(std::shared_ptr<FakeSource> source) : source_(std::move(source)) {
    absl::MutexLock lock(&source_->mutex);
    ++source_->opened;
    source_->most_open = std::max(source_->most_open, ++source_->open);
  }
  ~FakeSourceSession() override {
    absl::MutexLock lock(&source_->mutex);
    --source_->open;
  }

  absl::StatusOr<SourceDescription> Describe() override {
    source_->Called("describe");
    return source_->description;
  }
  absl::StatusOr<std::string> Identity() override {
    source_->Called("identity");
    return source_->description.identity;
  }
  absl::StatusOr<HorizonProbe> ProbeHorizon(const std::optional<LastWindow>& last) override {
    source_->Called(last.has_value() ? "probe above " + last->high.text() : "probe");
    source_->last_window = last;
    if (!source_->probe_error.ok()) return source_->probe_error;
    return source_->probe;
  }
  absl::StatusOr<std::string> Position() override {
    source_->Called("position");
    return source_->position;
  }
  absl::StatusOr<absl::Duration> AwaitPosition(std::string_view position, absl::Duration limit) override {
    source_->Called(absl::StrCat("await ", Abs(position)));
    if (source_->lag > limit) return absl::UnavailableError("the replica lags");
    return source_->lag;
  }
  absl::StatusOr<bool> MayHoldRowsAbove(const v1::Watermark& high) override {
    source_->Called("rows above " + high.text());
    return source_->rows_above;
  }
  absl::StatusOr<bool> IsAbove(const v1::Watermark& value, const v1::Watermark& bound) override {
    return value.text() > bound.text();
  }
  absl::StatusOr<bool> HorizonReached(const v1::Watermark& until) override {
    source_->Called("reached " + until.text());
    return source_->reached;
  }
  absl::StatusOr<int64_t> CountNullWatermarks() override {
    source_->Called("nulls");
    return source_->null_watermarks;
  }
  absl::StatusOr<std::string> OpenSnapshot() override {
    source_->Called("snapshot");
    return source_->snapshot;
  }
  absl::Status ImportSnapshot(std::string_view snapshot) override {
    absl::MutexLock lock(&source_->mutex);
    source_->imported.emplace_back(snapshot);
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<v1::PartitionFacts>> DescribePartitions(const v1::Window& window, std::string_view by,
                                                                     int wanted) override {
    source_->Called("partitions");
    absl::MutexLock lock(&source_->mutex);
    source_->described_window = window;
    return std::vector<v1::PartitionFacts>{source_->facts};
  }
  absl::StatusOr<std::unique_ptr<ChunkReader>> Read(const ReadRequest& request) override {
    absl::MutexLock lock(&source_->mutex);
    ++source_->reads;
    source_->pieces.push_back(request.piece);
    return std::make_unique<Reader>(this, request.format);
  }
  void Cancel() override {
    absl::MutexLock lock(&source_->mutex);
    cancelled_ = true;
  }

 private:
  class Reader final : public ChunkReader {
   public:
    Reader(FakeSourceSession* session, v1::ChunkFormat format) : session_(session) {
      EXPECT_EQ(format, v1::CHUNK_FORMAT_PG_COPY_BINARY);
    }
    absl::StatusOr<std::optional<Chunk>> Next() override {
      FakeSource& source = *session_->source_;
      absl::MutexLock lock(&source.mutex);
      if (source.failing_chunk == next_) return source.chunk_error;
      if (source.out_of_memory_at == next_) throw std::bad_alloc();
      if (source.stuck_chunk == next_) {
        const auto go_on = [&] { return source.released || session_->cancelled_; };
        source.mutex.Await(absl::Condition(&go_on));
      }
      if (session_->cancelled_) return absl::CancelledError("canceling statement due to user request");
      if (next_ == source.chunks) return std::nullopt;
      std::string text(static_cast<size_t>(source.rows_per_chunk), static_cast<char>('a' + next_ % 26));
      ++next_;
      return std::optional<Chunk>(Chunk::FromPgTuples(std::move(text), source.rows_per_chunk));
    }

   private:
    FakeSourceSession* const session_;
    int next_ = 0;
  };

  const std::shared_ptr<FakeSource> source_;
  // Guarded by the source's mutex.
  bool cancelled_ = false;
};

}  // namespace tidemark::test
