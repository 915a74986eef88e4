#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/retry_policy.h"
#include "common/base/rng.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/batch/spill.h"
#include "worker/connector/source.h"
#include "worker/connector/target.h"
#include "worker/task/rate_limiter.h"
#include "worker/task/session_slot.h"
#include "worker/task/step.h"

namespace tidemark {

// A move carries the rows of one range from its source into the run's staging. Its halves meet in a spill and know
// nothing else of each other: the source is free as soon as the last row is in the spill, however slow the target is,
// and a load is tried again without it. Each half is a step machine, driven by one thread of its own, or both by one.

// What a move has done so far; any thread may look.
struct MoveProgress {
  std::atomic<int64_t> rows_read = 0;
  std::atomic<int64_t> bytes_read = 0;
  // By the load's present try.
  std::atomic<int64_t> rows_loaded = 0;
  // The last row is in the spill.
  std::atomic<bool> extracted = false;
};

// From the source into the spill. The pointers must outlive it. The spill is finished by the last step, an error, or
// Fail.
class MoveExtract {
 public:
  // `source` is inside the run's snapshot if the work says so.
  // `max_lag` is how long a replica may take to replay the work's position.
  MoveExtract(const v1::MoveWork& work, absl::Duration max_lag, SourceSession* source, Spill* spill, RateLimiter* rate,
              const Clock* clock, MoveProgress* progress);

  // Reads at most one chunk. Done: the session is free. An error is final, and the load gets it too.
  absl::StatusOr<Step> Run();
  // Gives up from outside: the load fails with `error`.
  void Fail(absl::Status error);

  absl::Duration elapsed() const { return elapsed_; }

 private:
  absl::StatusOr<Step> ReadOne();
  absl::Status Begin();
  // FailedPrecondition if the session reads another source than the run's describe did.
  absl::Status CheckIdentity();
  absl::Status CutIntoPieces();

  const v1::MoveWork work_;
  const absl::Duration max_lag_;
  SourceSession* const source_;
  Spill* const spill_;
  RateLimiter* const rate_;
  const Clock* const clock_;
  MoveProgress* const progress_;
  bool begun_ = false;
  // What is still to be read after the reader's: parts of the window, each to be read as far as the range has a part in
  // it. nullopt: the range as it is.
  std::deque<std::optional<v1::KeyRange>> pieces_;
  std::unique_ptr<ChunkReader> reader_;
  absl::Duration started_ = absl::InfiniteDuration();
  absl::Duration elapsed_ = absl::ZeroDuration();
};

// From the spill into the target's staging. A retryable error of the target is met with a fresh session and the spill
// from its start, by the job's retry policy; an answer to COMMIT that was lost, with a look at the moves that are
// there. When the policy's attempts are made the move has failed for good, and its run with it: to read the source once
// more would not mend the target. While it has the target open it never waits for memory: moves that wait for their
// turn to write may hold it.
class MoveLoad {
 public:
  using OpenTarget = std::function<absl::StatusOr<std::unique_ptr<TargetSession>>()>;

  // The sessions it opens stand in `target`, for Cancel. The pointers must outlive it.
  MoveLoad(const v1::Task& task, OpenTarget open, SessionSlot<TargetSession>* target, Spill* spill, const Clock* clock,
           Rng* rng, MoveProgress* progress);
  ~MoveLoad();

  // Writes at most one chunk. Done: the move is committed, see result(). An error is final: of the source, of the
  // spill, of a target that would not recover (AfterLastTry, if it might have).
  absl::StatusOr<Step> Run();

  // After Done: counts.read are the rows staged.
  const v1::MoveResult& result() const { return result_; }

 private:
  enum class State { kOpen, kWrite, kCommit };

  absl::StatusOr<Step> RunOnce();
  absl::Status Open();
  absl::StatusOr<Step> WriteOne();
  absl::StatusOr<Step> CommitMove();
  // The rows that are committed for this partition; nullopt if it is not there.
  absl::StatusOr<std::optional<int64_t>> StagedRows(TargetSession& session);
  void Finish(int64_t rows, bool already_done);
  void StartAgain();
  void Close();

  const v1::Task task_;
  const OpenTarget open_;
  SessionSlot<TargetSession>* const target_;
  Spill* const spill_;
  const Clock* const clock_;
  Rng* const rng_;
  MoveProgress* const progress_;
  const RetryPolicy retry_;

  State state_ = State::kOpen;
  int tries_ = 0;
  // The answer to a COMMIT was lost: look before writing again.
  bool unknown_ = false;
  // An error of the spill or of the source behind it: no other target session would mend it.
  bool spill_failed_ = false;
  // The target is opened only with the memory of the largest chunk at hand.
  bool reserves_ = false;
  bool done_ = false;
  std::unique_ptr<MoveWriter> writer_;
  int64_t rows_written_ = 0;
  absl::Duration started_ = absl::InfiniteDuration();
  v1::MoveResult result_;
};

}  // namespace tidemark
