#include "worker/connector/fence_error.h"

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"

namespace tidemark {
namespace {

constexpr char kFenceEpoch[] = "tidemark/fence_epoch";

}  // namespace

absl::Status FencedOut(std::string_view target_table, int64_t found_epoch, int64_t own_epoch) {
  absl::Status status = absl::FailedPreconditionError(
      absl::StrCat("the fence of ", Abs(target_table), " stands at epoch ", found_epoch, ", above this run's ",
                   own_epoch, ": a newer coordinator has taken over"));
  status.SetPayload(kFenceEpoch, absl::Cord(absl::StrCat(found_epoch)));
  return status;
}

int64_t FenceEpochOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kFenceEpoch);
  int64_t epoch = 0;
  if (!payload.has_value() || !absl::SimpleAtoi(std::string(*payload), &epoch)) return 0;
  return epoch;
}

absl::Status ForeignFence(std::string_view target_table, const Fence& fence, const RunIdentity& run,
                          std::string_view job) {
  return absl::FailedPreconditionError(
      absl::StrCat("target table ", Abs(target_table), " is written by ",
                   fence.cluster_id == run.cluster_id ? "another job" : "another cluster", " (cluster ",
                   fence.cluster_id, ", job ", fence.job_uid, "); `tidemark jobs adopt ", Abs(job),
                   "` continues from its ledger, `--full-refresh` replaces the table's content"));
}

}  // namespace tidemark
