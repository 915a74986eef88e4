#include "worker/task/task_error.h"

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "worker/connector/fence_error.h"
#include "worker/task/task_identity.h"

namespace tidemark {
namespace {

constexpr char kSnapshotLost[] = "tidemark/snapshot_lost";

}  // namespace

bool IsRetryable(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsAborted(status) || absl::IsResourceExhausted(status) ||
         absl::IsDeadlineExceeded(status);
}

absl::Status FromSource(absl::Status status) {
  if (absl::IsDataLoss(status)) status.SetPayload(kSnapshotLost, absl::Cord());
  return status;
}

v1::TaskError ToTaskError(const absl::Status& status, const v1::Task& task) {
  v1::TaskError error;
  error.set_code(static_cast<int32_t>(status.code()));
  error.set_message(absl::StrCat(PlaceOf(task), ": ", status.message()));
  error.set_snapshot_lost(status.GetPayload(kSnapshotLost).has_value());
  error.set_retryable(IsRetryable(status) || (absl::IsDataLoss(status) && !error.snapshot_lost()));
  error.set_outcome_unknown(absl::IsUnknown(status));
  error.set_fence_epoch(FenceEpochOf(status));
  return error;
}

}  // namespace tidemark
