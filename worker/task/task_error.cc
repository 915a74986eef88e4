#include "worker/task/task_error.h"

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/absl_view.h"
#include "common/base/utf8.h"
#include "worker/connector/fence_error.h"
#include "worker/task/task_identity.h"

namespace tidemark {
namespace {

constexpr char kAtSource[] = "tidemark/at_source";
constexpr char kReplicaUnfit[] = "tidemark/replica_unfit";
constexpr char kLastTry[] = "tidemark/last_try";

}  // namespace

bool IsRetryable(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsAborted(status) || absl::IsResourceExhausted(status) ||
         absl::IsDeadlineExceeded(status);
}

absl::Status FromSource(absl::Status status) {
  if (!status.ok()) status.SetPayload(kAtSource, absl::Cord());
  return status;
}

absl::Status ReplicaUnfit(std::string_view message) {
  absl::Status status = FromSource(absl::UnavailableError(Abs(message)));
  status.SetPayload(kReplicaUnfit, absl::Cord());
  return status;
}

absl::Status AfterLastTry(const absl::Status& error, int tries) {
  absl::Status last(error.code(), absl::StrCat(error.message(), " (attempt ", tries, " of ", tries, ")"));
  last.SetPayload(kLastTry, absl::Cord());
  return last;
}

v1::TaskError ToTaskError(const absl::Status& status, const v1::Task& task) {
  v1::TaskError error;
  error.set_code(static_cast<int32_t>(status.code()));
  // It may quote bytes of any encoding: a value of the user's, an answer of a server before the session has one.
  error.set_message(ValidUtf8(absl::StrCat(PlaceOf(task), ": ", status.message())));
  error.set_fence_epoch(FenceEpochOf(status));
  if (status.GetPayload(kLastTry).has_value()) return error;
  error.set_at_source(status.GetPayload(kAtSource).has_value());
  error.set_replica_unfit(status.GetPayload(kReplicaUnfit).has_value());
  error.set_snapshot_lost(error.at_source() && absl::IsDataLoss(status));
  error.set_retryable(IsRetryable(status) || (absl::IsDataLoss(status) && !error.snapshot_lost()));
  error.set_outcome_unknown(absl::IsUnknown(status));
  return error;
}

}  // namespace tidemark
