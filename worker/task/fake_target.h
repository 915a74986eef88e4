#pragma once

// For tests: a target behind the interface, with the transactional moves of a real one, that can be taken down and
// brought up.

#include <deque>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "worker/connector/target.h"

namespace tidemark::test {

// Shared by all sessions of one target.
struct FakeTarget {
  absl::Mutex mutex;
  std::vector<std::string> calls ABSL_GUARDED_BY(mutex);
  int open ABSL_GUARDED_BY(mutex) = 0;
  // Answered to Open, Write and Commit, one at a time, before they work again. An OK stands for a call that works.
  std::deque<absl::Status> open_errors ABSL_GUARDED_BY(mutex);
  std::deque<absl::Status> write_errors ABSL_GUARDED_BY(mutex);
  std::deque<absl::Status> commit_errors ABSL_GUARDED_BY(mutex);
  // An error of COMMIT comes after it has taken place.
  bool commits_before_failing ABSL_GUARDED_BY(mutex) = false;
  // Reported by COMMIT in place of the truth.
  std::optional<int64_t> reported_rows ABSL_GUARDED_BY(mutex);
  // Writes do not find the memory they need.
  bool out_of_memory ABSL_GUARDED_BY(mutex) = false;
  // Writes wait until Release or Cancel.
  bool stuck ABSL_GUARDED_BY(mutex) = false;
  // One move writes at a time, as into a file: from its first row to its end, whoever comes meanwhile waits.
  bool one_writer ABSL_GUARDED_BY(mutex) = false;
  const void* writing ABSL_GUARDED_BY(mutex) = nullptr;
  int waiting_writers ABSL_GUARDED_BY(mutex) = 0;
  // Rows and bytes by partition, of committed moves.
  std::map<int, std::pair<int64_t, std::string>> moves ABSL_GUARDED_BY(mutex);
  std::vector<v1::ChunkFormat> formats ABSL_GUARDED_BY(mutex) = {v1::CHUNK_FORMAT_PG_COPY_BINARY,
                                                                 v1::CHUNK_FORMAT_ARROW};
  v1::LedgerHead ledger ABSL_GUARDED_BY(mutex);
  v1::CommitResult commit_result ABSL_GUARDED_BY(mutex);
  absl::Status prepare_error ABSL_GUARDED_BY(mutex);

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
  void Release() {
    absl::MutexLock lock(&mutex);
    stuck = false;
  }
  int64_t MovedRows() {
    absl::MutexLock lock(&mutex);
    int64_t rows = 0;
    for (const auto& [partition, move] : moves) rows += move.first;
    return rows;
  }
  static absl::Status Next(std::deque<absl::Status>& errors) {
    if (errors.empty()) return absl::OkStatus();
    absl::Status error = errors.front();
    errors.pop_front();
    return error;
  }
};

class FakeTargetSession final : public TargetSession {
 public:
  static absl::StatusOr<std::unique_ptr<TargetSession>> Open(std::shared_ptr<FakeTarget> target) {
    absl::MutexLock lock(&target->mutex);
    if (absl::Status error = FakeTarget::Next(target->open_errors); !error.ok()) return error;
    ++target->open;
    return std::unique_ptr<TargetSession>(new FakeTargetSession(target));
  }
  ~FakeTargetSession() override {
    absl::MutexLock lock(&target_->mutex);
    --target_->open;
  }

  absl::StatusOr<TargetDescription> Describe(const v1::TableSchema& source,
                                             const std::vector<v1::ChunkFormat>& source_formats) override {
    target_->Called("describe");
    TargetDescription description;
    absl::MutexLock lock(&target_->mutex);
    description.formats = target_->formats;
    description.ledger = target_->ledger;
    description.notes = {"a note of the target"};
    return description;
  }
  absl::Status Prepare(const RunIdentity& run, const v1::TableSchema& schema, TakeOver take_over) override {
    target_->Called("prepare " + run.run_id +
                    (take_over == TakeOver::kReplace ? ", taking over"
                     : take_over == TakeOver::kAdopt ? ", adopting"
                                                     : ""));
    absl::MutexLock lock(&target_->mutex);
    if (!target_->prepare_error.ok()) return target_->prepare_error;
    if (take_over == TakeOver::kAdopt) {
      target_->ledger.set_cluster_id(run.cluster_id);
      target_->ledger.set_job_uid(run.job_uid);
    }
    return absl::OkStatus();
  }
  absl::StatusOr<std::unique_ptr<MoveWriter>> BeginMove(const RunIdentity& run, int partition,
                                                        const v1::TableSchema& schema,
                                                        v1::ChunkFormat format) override {
    target_->Called("begin move");
    return std::make_unique<Writer>(this, partition);
  }
  absl::StatusOr<std::vector<v1::StagedMove>> LoadedMoves(const RunIdentity& run) override {
    target_->Called("loaded moves");
    absl::MutexLock lock(&target_->mutex);
    std::vector<v1::StagedMove> moves;
    for (const auto& [partition, move] : target_->moves) {
      moves.emplace_back().set_partition(partition);
      moves.back().set_rows(move.first);
    }
    return moves;
  }
  absl::StatusOr<v1::CommitResult> Commit(const RunIdentity& run, const v1::CommitWork& work) override {
    target_->Called("commit");
    absl::MutexLock lock(&target_->mutex);
    return target_->commit_result;
  }
  absl::StatusOr<v1::ProbeResult> Probe(const RunIdentity& run) override {
    v1::ProbeResult result;
    result.set_committed(true);
    return result;
  }
  absl::Status Abort(const RunIdentity& run) override {
    target_->Called("abort " + run.run_id);
    return absl::OkStatus();
  }
  void Cancel() override {
    absl::MutexLock lock(&target_->mutex);
    cancelled_ = true;
  }

 private:
  explicit FakeTargetSession(std::shared_ptr<FakeTarget> target) : target_(std::move(target)) {}

  class Writer final : public MoveWriter {
   public:
    Writer(FakeTargetSession* session, int partition) : session_(session), partition_(partition) {}
    ~Writer() override {
      absl::MutexLock lock(&session_->target_->mutex);
      if (session_->target_->writing == this) session_->target_->writing = nullptr;
    }
    absl::Status Write(const Chunk& chunk) override {
      FakeTarget& target = *session_->target_;
      absl::MutexLock lock(&target.mutex);
      const auto go_on = [&] { return !target.stuck || session_->cancelled_; };
      target.mutex.Await(absl::Condition(&go_on));
      const auto turn = [&] { return target.writing == nullptr || target.writing == this || session_->cancelled_; };
      ++target.waiting_writers;
      if (target.one_writer) target.mutex.Await(absl::Condition(&turn));
      --target.waiting_writers;
      if (session_->cancelled_) return absl::CancelledError("canceling statement due to user request");
      if (target.one_writer) target.writing = this;
      if (target.out_of_memory) throw std::bad_alloc();
      if (absl::Status error = FakeTarget::Next(target.write_errors); !error.ok()) return error;
      rows_ += chunk.rows();
      bytes_ += chunk.pg_tuples();
      return absl::OkStatus();
    }
    absl::StatusOr<MoveOutcome> Commit() override {
      FakeTarget& target = *session_->target_;
      absl::MutexLock lock(&target.mutex);
      absl::Status error = FakeTarget::Next(target.commit_errors);
      if (!error.ok() && !target.commits_before_failing) return error;
      if (target.writing == this) target.writing = nullptr;
      const bool done = !target.moves.emplace(partition_, std::make_pair(rows_, bytes_)).second;
      if (!error.ok()) return error;
      return MoveOutcome{target.reported_rows.value_or(rows_), done};
    }

   private:
    FakeTargetSession* const session_;
    const int partition_;
    int64_t rows_ = 0;
    std::string bytes_;
  };

  const std::shared_ptr<FakeTarget> target_;
  // Guarded by the target's mutex.
  bool cancelled_ = false;
};

}  // namespace tidemark::test
