#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tidemark/v1/spec.pb.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/connector/target.h"

// What every target checks of a run before it changes the table, in the transaction of the commit. All pure.
namespace tidemark {

// The rows of all moves, if the moves that are recorded in the target are those of `work`, partition by partition and
// in any order; FailedPrecondition otherwise.
absl::StatusOr<int64_t> CheckMoves(std::vector<v1::StagedMove> recorded, const v1::CommitWork& work);

// FailedPrecondition unless staging holds the rows its moves counted.
absl::Status CheckStagedRows(int64_t held, int64_t moved);

// Whether a run before may have loaded rows of the window, so that an append has to tell them from new ones: a range
// goes over what windows brought, an overlap reaches back behind the watermark, and rows without a watermark are read
// by every run. (Not asked of a window that replaces the table.)
bool MayHoldLoadedRows(const v1::Window& window);

// For an append of the window behind `head`, the last window or full row of the table. InvalidArgument if rows that are
// loaded already could not be told, for lack of a key; FailedPrecondition if the window knows of none, but the run's
// chain ends with a full load that has no watermark, which is all of the source.
absl::Status CheckAppend(const v1::LedgerHead& head, const RunIdentity& run, const v1::Window& window,
                         const v1::TargetSpec& target);

}  // namespace tidemark
