#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/store/records.h"
#include "tidemark/v1/worker_control.pb.h"

namespace tidemark::coordinator {

// What the store knows of a job's chain.
struct ChainHistory {
  // The newest run that moved the chain: window or full, successful.
  std::optional<RunRecord> last_success;
  // The run that the target's ledger names as the chain's head, if the store has it.
  std::optional<RunRecord> head_run;
};

struct ChainVerdict {
  enum class Kind { kGoOn, kAdopt };
  Kind kind = Kind::kGoOn;
  // The run must stand above the chain's head.
  int64_t sequence = 0;
  // Rows the chain has loaded may be read again.
  bool overlap = false;
};

// Whether a run may go on from the chain in its target's ledger. kAdopt: the ledger is ahead of the store (the store
// was restored, or its leader died between the commit and the watermark), or a user said so (Window.adopt): its high is
// the truth, and if it has none, that there is none. FailedPrecondition, in one line that names the way out: a foreign
// cluster or job has loaded the target, the store is ahead of the ledger, or rows would be appended twice. Pure.
absl::StatusOr<ChainVerdict> CheckChain(const RunRecord& run, const JobRecord& job,
                                        const v1::DescribeResult& description, std::string_view cluster_id,
                                        const ChainHistory& history);

// Whether a job, as it is now, may go on from the watermark that `last_success` left. FailedPrecondition says what
// changed and what to do. Pure.
absl::Status CheckChange(const JobRecord& job, const std::optional<RunRecord>& last_success);

// Whether a watermark is the head's high, or both are none.
bool StandsAt(const std::optional<v1::Watermark>& watermark, const v1::LedgerHead& head);

// The run replaces its target by everything its source holds, above the watermark too.
bool IsUnboundedFull(const RunRecord& run);

}  // namespace tidemark::coordinator
