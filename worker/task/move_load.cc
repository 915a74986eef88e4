#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model/duration.h"
#include "common/model/row_counts.h"
#include "worker/task/move.h"
#include "worker/task/task_error.h"
#include "worker/task/task_identity.h"

namespace tidemark {
namespace {

RetryPolicy PolicyOf(const v1::RetrySpec& spec) {
  RetryPolicy policy;
  if (spec.attempts() > 0) policy.max_attempts = spec.attempts();
  if (spec.has_backoff()) policy.initial_backoff = FromProto(spec.backoff());
  return policy;
}

}  // namespace

MoveLoad::MoveLoad(const v1::Task& task, OpenTarget open, SessionSlot<TargetSession>* target, Spill* spill,
                   const Clock* clock, Rng* rng, MoveProgress* progress)
    : task_(task),
      open_(std::move(open)),
      target_(target),
      spill_(spill),
      clock_(clock),
      rng_(rng),
      progress_(progress),
      retry_(PolicyOf(task.job().retry())) {}

MoveLoad::~MoveLoad() { Close(); }

absl::StatusOr<Step> MoveLoad::Run() {
  started_ = std::min(started_, clock_->Monotonic());
  auto step = RunOnce();
  if (step.ok()) return step;

  Close();
  absl::Status error = std::move(step).status();
  unknown_ = unknown_ || absl::IsUnknown(error);
  const bool may_retry = !spill_failed_ && (IsRetryable(error) || absl::IsUnknown(error));
  if (!may_retry) return error;
  // Whether a COMMIT without an answer took place may still be open. It does not matter: the run commits nothing.
  if (retry_.Exhausted(++tries_)) return AfterLastTry(error, tries_);
  spill_->Rewind();
  StartAgain();
  return Step::Wait(retry_.BackoffBefore(tries_ + 1, *rng_));
}

absl::StatusOr<Step> MoveLoad::RunOnce() {
  switch (state_) {
    case State::kOpen:
      // A target session that waits for a slow source would be idle in its transaction, which servers end.
      if (!spill_->Readable()) return Step::Blocked();
      if (reserves_) {
        if (absl::Status reserved = spill_->Reserve(); !reserved.ok()) {
          spill_failed_ = true;
          return reserved;
        }
      }
      TM_RETURN_IF_ERROR(Open());
      return done_ ? Step::Done() : Step::More();
    case State::kWrite:
      return WriteOne();
    case State::kCommit:
      return CommitMove();
  }
  return absl::InternalError("unreachable");
}

absl::Status MoveLoad::Open() {
  TM_ASSIGN_OR_RETURN(std::unique_ptr<TargetSession> session, open_());
  TM_RETURN_IF_ERROR(target_->Put(std::move(session)));
  TargetSession& target = *target_->get();
  if (unknown_) {
    TM_ASSIGN_OR_RETURN(const std::optional<int64_t> rows, StagedRows(target));
    unknown_ = false;
    if (rows.has_value()) {
      Finish(*rows, /*already_done=*/false);
      return absl::OkStatus();
    }
  }
  TM_ASSIGN_OR_RETURN(writer_, target.BeginMove(RunIdentityOf(task_), task_.move().partition(), task_.move().schema(),
                                                task_.move().format()));
  state_ = State::kWrite;
  return absl::OkStatus();
}

absl::StatusOr<Step> MoveLoad::WriteOne() {
  if (!spill_->Readable()) return Step::Blocked();
  const absl::StatusOr<bool> room = spill_->TakeForNext();
  if (room.ok() && !*room) {
    // Its memory may be held by moves that wait for this one's place in the target: a file has one writer at a time.
    // This move steps back, and comes again with all the memory it will need, so that this happens to it once.
    Close();
    spill_->RewindToReserve();
    reserves_ = true;
    StartAgain();
    return Step::More();
  }
  auto chunk = room.ok() ? spill_->Next() : room.status();
  if (!chunk.ok()) {
    spill_failed_ = true;
    return chunk.status();
  }
  if (!chunk->has_value()) {
    state_ = State::kCommit;
    return Step::More();
  }
  TM_RETURN_IF_ERROR(writer_->Write(**chunk));
  rows_written_ += (*chunk)->rows();
  progress_->rows_loaded = rows_written_;
  return Step::More();
}

absl::StatusOr<Step> MoveLoad::CommitMove() {
  if (rows_written_ != progress_->rows_read) {
    return absl::InternalError(absl::StrCat("read ", FormatCount(progress_->rows_read), " rows, but ",
                                            FormatCount(rows_written_), " were written"));
  }
  TM_ASSIGN_OR_RETURN(MoveOutcome outcome, writer_->Commit());
  if (outcome.already_done) {
    // What counts is what the earlier attempt has staged.
    TM_ASSIGN_OR_RETURN(const std::optional<int64_t> rows, StagedRows(*target_->get()));
    if (!rows.has_value()) return absl::AbortedError("the target took the move for done, and then did not list it");
    outcome.rows = *rows;
  } else if (outcome.rows != rows_written_) {
    return absl::InternalError(absl::StrCat("wrote ", FormatCount(rows_written_), " rows, but the target has staged ",
                                            FormatCount(outcome.rows)));
  }
  Finish(outcome.rows, outcome.already_done);
  return Step::Done();
}

absl::StatusOr<std::optional<int64_t>> MoveLoad::StagedRows(TargetSession& session) {
  TM_ASSIGN_OR_RETURN(const std::vector<v1::StagedMove> moves, session.LoadedMoves(RunIdentityOf(task_)));
  for (const v1::StagedMove& move : moves) {
    if (move.partition() == task_.move().partition()) return std::optional<int64_t>(move.rows());
  }
  return std::optional<int64_t>();
}

void MoveLoad::Finish(int64_t rows, bool already_done) {
  done_ = true;
  Close();
  result_.mutable_counts()->set_read(rows);
  result_.mutable_counts()->set_bytes_read(progress_->bytes_read);
  result_.set_already_done(already_done);
  result_.set_spilled_bytes(spill_->spilled_bytes());
  *result_.mutable_load_time() = ToProto(clock_->Monotonic() - started_);
}

void MoveLoad::StartAgain() {
  rows_written_ = 0;
  progress_->rows_loaded = 0;
  state_ = State::kOpen;
}

void MoveLoad::Close() {
  writer_.reset();
  target_->Take().reset();
}

}  // namespace tidemark
