#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/task/move.h"
#include "worker/task/task_error.h"

namespace tidemark {
namespace {

// A changed share or a cancel is seen within this time.
constexpr absl::Duration kLongestWait = absl::Milliseconds(100);

}  // namespace

MoveExtract::MoveExtract(const v1::MoveWork& work, SourceSession* source, Spill* spill, RateLimiter* rate,
                         const Clock* clock, MoveProgress* progress)
    : work_(work), source_(source), spill_(spill), rate_(rate), clock_(clock), progress_(progress) {}

absl::StatusOr<Step> MoveExtract::Run() {
  started_ = std::min(started_, clock_->Monotonic());
  auto step = ReadOne();
  elapsed_ = clock_->Monotonic() - started_;
  if (!step.ok()) Fail(step.status());
  return step;
}

void MoveExtract::Fail(absl::Status error) {
  reader_.reset();
  spill_->Finish(std::move(error));
}

absl::Status MoveExtract::CheckIdentity() {
  if (work_.in_snapshot() || work_.source_identity().empty()) return absl::OkStatus();
  const absl::StatusOr<std::string> identity = source_->Identity();
  if (!identity.ok()) return FromSource(identity.status());
  if (*identity == work_.source_identity()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the source is another one (", *identity, ") than when the run began (", work_.source_identity(),
                   "): it failed over, or its connection was changed; nothing is loaded, run the job again"));
}

absl::StatusOr<Step> MoveExtract::ReadOne() {
  if (const absl::Duration delay = rate_->Delay(); delay > absl::ZeroDuration()) {
    return Step::Wait(std::min(delay, kLongestWait));
  }
  if (reader_ == nullptr) {
    TM_RETURN_IF_ERROR(CheckIdentity());
    auto reader = source_->Read({work_.schema(), work_.window(), work_.range(), work_.format()});
    if (!reader.ok()) return FromSource(reader.status());
    reader_ = *std::move(reader);
  }
  auto chunk = reader_->Next();
  if (!chunk.ok()) return FromSource(chunk.status());
  if (!chunk->has_value()) {
    reader_.reset();
    progress_->extracted = true;
    spill_->Finish(absl::OkStatus());
    return Step::Done();
  }
  if ((*chunk)->format() != work_.format()) {
    return absl::InternalError(
        absl::StrCat("the source sent a chunk of format ", (*chunk)->format(), ", not ", work_.format()));
  }
  rate_->Spend((*chunk)->rows());
  progress_->rows_read += (*chunk)->rows();
  progress_->bytes_read += (*chunk)->bytes();
  TM_RETURN_IF_ERROR(spill_->Append(**std::move(chunk)));
  return Step::More();
}

}  // namespace tidemark
