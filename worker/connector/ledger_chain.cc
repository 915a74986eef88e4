#include "worker/connector/ledger_chain.h"

#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"

namespace tidemark {
namespace {

// By type, text and zone: the precision is how the source declares the column today.
bool Joins(const v1::Window& window, const v1::LedgerHead& head) {
  if (!window.has_low() || !head.has_high()) return window.has_low() == head.has_high();
  const v1::Watermark& low = window.low();
  const v1::Watermark& high = head.high();
  return low.type() == high.type() && low.text() == high.text() && low.zone() == high.zone();
}

}  // namespace

std::string_view WindowKindText(v1::WindowKind kind) {
  if (kind == v1::WINDOW_KIND_RANGE) return "range";
  return kind == v1::WINDOW_KIND_FULL ? "full" : "window";
}

v1::WindowKind ParseWindowKind(std::string_view text) {
  if (text == "range") return v1::WINDOW_KIND_RANGE;
  return text == "full" ? v1::WINDOW_KIND_FULL : v1::WINDOW_KIND_WINDOW;
}

bool BelongsTo(const v1::LedgerHead& head, const RunIdentity& run) {
  return head.cluster_id() == run.cluster_id && head.job_uid() == run.job_uid;
}

absl::Status CheckChain(const v1::LedgerHead& head, const RunIdentity& run, const v1::Window& window,
                        std::string_view job) {
  const v1::LedgerHead own = head.exists() && BelongsTo(head, run) ? head : v1::LedgerHead();
  if (own.exists() && own.sequence() >= run.sequence) {
    return absl::FailedPreconditionError(absl::StrCat("superseded: run ", own.run_id(),
                                                      " of this job has committed at position ", own.sequence(),
                                                      " of the ledger, this run is ", run.sequence));
  }
  if (window.kind() == v1::WINDOW_KIND_FULL || window.kind() == v1::WINDOW_KIND_RANGE) return absl::OkStatus();
  if (Joins(window, own)) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "the chain is broken: the window starts at ", window.has_low() ? window.low().text() : "the beginning",
      ", the target's ledger ends at ", own.has_high() ? own.high().text() : "nothing", "; `tidemark jobs adopt ",
      Abs(job), "` takes the ledger's position, `--full-refresh` starts anew"));
}

absl::Status CheckNothingIsLost(const v1::LedgerHead& head, const RunIdentity& run, std::string_view target_table) {
  if (!BelongsTo(head, run) || (!head.exists() && !head.has_ranges())) return absl::OkStatus();
  const std::string up_to = head.has_high() ? absl::StrCat(" up to ", head.high().text())
                            : head.exists() ? absl::StrCat(" up to run ", head.run_id())
                                            : "";
  return absl::FailedPreconditionError(absl::StrCat("the target table ", Abs(target_table),
                                                    " is gone, though the ledger has loads of this job", up_to,
                                                    ": restore it, or run with --full-refresh"));
}

}  // namespace tidemark
