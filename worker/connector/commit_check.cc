#include "worker/connector/commit_check.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "worker/connector/ledger_chain.h"

namespace tidemark {
namespace {

int64_t RowsOf(const std::vector<v1::StagedMove>& moves) {
  int64_t rows = 0;
  for (const v1::StagedMove& move : moves) rows += move.rows();
  return rows;
}

}  // namespace

absl::StatusOr<int64_t> CheckMoves(std::vector<v1::StagedMove> recorded, const v1::CommitWork& work) {
  std::vector<v1::StagedMove> wanted(work.moves().begin(), work.moves().end());
  for (std::vector<v1::StagedMove>* moves : {&recorded, &wanted}) {
    std::sort(moves->begin(), moves->end(),
              [](const v1::StagedMove& a, const v1::StagedMove& b) { return a.partition() < b.partition(); });
  }
  const auto same = [](const v1::StagedMove& a, const v1::StagedMove& b) {
    return a.partition() == b.partition() && a.rows() == b.rows();
  };
  if (std::equal(recorded.begin(), recorded.end(), wanted.begin(), wanted.end(), same)) return RowsOf(recorded);
  return absl::FailedPreconditionError(absl::StrCat("the run should have ", wanted.size(), " moves with ",
                                                    RowsOf(wanted), " rows in staging, it has ", recorded.size(),
                                                    " with ", RowsOf(recorded), "; start the run again"));
}

absl::Status CheckStagedRows(int64_t held, int64_t moved) {
  if (held == moved) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("the run's staging table holds ", held, " rows, its moves counted ",
                                                    moved, "; start the run again"));
}

bool MayHoldLoadedRows(const v1::Window& window) {
  return window.kind() == v1::WINDOW_KIND_RANGE || window.overlap() || window.nulls();
}

absl::Status CheckAppend(const v1::LedgerHead& head, const RunIdentity& run, const v1::Window& window,
                         const v1::TargetSpec& target) {
  if (MayHoldLoadedRows(window)) {
    if (!target.key().empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        "this window may hold rows that are loaded already (a backfill, a lookback, or null_watermark: reread), and "
        "without a key they cannot be told from new ones: name target.key");
  }
  if (!BelongsTo(head, run) || !head.exists() || head.has_high()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("the table was last loaded in full without a watermark (run ",
                                                    head.run_id(),
                                                    "): appending would double its rows; `--full-refresh` starts a "
                                                    "chain"));
}

}  // namespace tidemark
