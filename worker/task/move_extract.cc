#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/task/move.h"
#include "worker/task/read_point.h"
#include "worker/task/task_error.h"

namespace tidemark {
namespace {

// A changed share or a cancel is seen within this time.
constexpr absl::Duration kLongestWait = absl::Milliseconds(100);

}  // namespace

MoveExtract::MoveExtract(const v1::MoveWork& work, absl::Duration max_lag, SourceSession* source, Spill* spill,
                         RateLimiter* rate, const Clock* clock, MoveProgress* progress)
    : work_(work), max_lag_(max_lag), source_(source), spill_(spill), rate_(rate), clock_(clock), progress_(progress) {}

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

absl::Status MoveExtract::Begin() {
  if (!work_.in_snapshot() && !work_.position().empty()) {
    TM_RETURN_IF_ERROR(AwaitReadPoint(*source_, work_.position(), work_.source_identity(), max_lag_).status());
  } else {
    TM_RETURN_IF_ERROR(CheckIdentity());
  }
  TM_RETURN_IF_ERROR(CutIntoPieces());
  begun_ = true;
  return absl::OkStatus();
}

absl::Status MoveExtract::CutIntoPieces() {
  pieces_ = {std::nullopt};
  if (work_.in_snapshot() || work_.pieces() <= 1) return absl::OkStatus();
  const auto offered = source_->DescribePartitions(work_.window(), "", work_.pieces());
  if (!offered.ok()) return FromSource(offered.status());
  // Each piece is read in a snapshot of its own: only a key that never changes keeps a row in its piece.
  const auto facts = std::find_if(offered->begin(), offered->end(), [](const v1::PartitionFacts& facts) {
    return facts.partitioning() == v1::PARTITIONING_KEY && facts.immutable() && !facts.nullable();
  });
  if (facts == offered->end() || facts->quantiles().empty()) return absl::OkStatus();
  pieces_.clear();
  for (int i = 0; i <= facts->quantiles_size(); ++i) {
    v1::KeyRange& piece = pieces_.emplace_back(std::in_place).value();
    piece.set_partitioning(v1::PARTITIONING_KEY);
    *piece.mutable_columns() = facts->columns();
    if (i > 0) *piece.mutable_lower() = facts->quantiles(i - 1);
    if (i < facts->quantiles_size()) *piece.mutable_upper() = facts->quantiles(i);
  }
  return absl::OkStatus();
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
  if (!begun_) TM_RETURN_IF_ERROR(Begin());
  if (reader_ == nullptr) {
    auto reader = source_->Read({.schema = work_.schema(),
                                 .window = work_.window(),
                                 .range = work_.range(),
                                 .format = work_.format(),
                                 .piece = pieces_.front()});
    if (!reader.ok()) return FromSource(reader.status());
    reader_ = *std::move(reader);
    pieces_.pop_front();
  }
  auto chunk = reader_->Next();
  if (!chunk.ok()) return FromSource(chunk.status());
  if (!chunk->has_value()) {
    reader_.reset();
    if (!pieces_.empty()) return Step::More();
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
