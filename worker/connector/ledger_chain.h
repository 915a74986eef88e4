#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "tidemark/v1/values.pb.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/connector/target.h"

// The rules of a target's ledger that hold whatever the store: a connector reads and writes its rows, and asks these
// functions, all of them pure, what they mean. The rows of one job in one table are its chain.
namespace tidemark {

// What a committed run's row says of it.
struct LedgerEntry {
  v1::RowCounts counts;
  std::string swap;
  std::optional<v1::Watermark> high;
};

// A kind as the ledger spells it: "window", "range" or "full". Whatever is none of the others is a window, which has
// the strictest rules.
std::string_view WindowKindText(v1::WindowKind kind);
v1::WindowKind ParseWindowKind(std::string_view text);

// Whether the head is of the run's own chain. Another cluster's or job's is none to it: a full refresh has taken the
// table over since, or is about to.
bool BelongsTo(const v1::LedgerHead& head, const RunIdentity& run);

// Whether the run may commit behind `head`, the last window or full row of its table. FailedPrecondition if the run's
// sequence is not above the head's (superseded: whoever holds that row is not this run, which would have been answered
// by its own), or if it is a window and does not begin where the head ends; then it names the ways out for the job
// called `job`. A head that does not belong to the run counts as none.
absl::Status CheckChain(const v1::LedgerHead& head, const RunIdentity& run, const v1::Window& window,
                        std::string_view job);

// For a target table that does not exist and a window that does not replace it. FailedPrecondition if the run's chain
// has rows: a table made anew of this window alone would lack what they loaded, and nothing would say so.
absl::Status CheckNothingIsLost(const v1::LedgerHead& head, const RunIdentity& run, std::string_view target_table);

}  // namespace tidemark
