#include "cli/progress_bar.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/model/duration.h"
#include "common/model/row_counts.h"

namespace tidemark::cli {
namespace {

constexpr absl::Duration kRateWindow = absl::Seconds(5);
constexpr int kBarWidth = 20;

// Estimates are rough: partitions that are done tell more than rows once there are any, and it is never done before the
// end.
double DoneShare(const ProgressView& view) {
  const double by_partitions = view.partitions > 0 ? static_cast<double>(view.partitions_done) / view.partitions : 0;
  const double by_rows = view.estimated_rows > 0 ? static_cast<double>(view.rows) / view.estimated_rows : by_partitions;
  return std::clamp(std::max(by_partitions, std::min(by_rows, 0.99)), 0.0, 1.0);
}

}  // namespace

double ProgressBar::RowsPerSecond(int64_t rows, absl::Duration elapsed) {
  if (!samples_.empty() && rows < samples_.back().second) samples_.clear();
  samples_.emplace_back(elapsed, rows);
  while (samples_.size() > 2 && elapsed - samples_[1].first >= kRateWindow) samples_.pop_front();
  const double seconds = absl::ToDoubleSeconds(elapsed - samples_.front().first);
  return seconds > 0 ? (rows - samples_.front().second) / seconds : 0;
}

std::string ProgressBar::Render(const ProgressView& view, absl::Duration elapsed, int columns) {
  const double measured = RowsPerSecond(view.rows, elapsed);
  const double rate = view.rows_per_second.value_or(measured);
  const double done = DoneShare(view);
  const int filled = static_cast<int>(std::floor(done * kBarWidth));
  std::string line = absl::StrCat(view.label, "  [", std::string(filled, '#'), std::string(kBarWidth - filled, '.'),
                                  "]  ", FormatCount(view.rows), " rows  ", FormatCount(std::llround(rate)), " rows/s");
  if (view.partitions > 0) absl::StrAppend(&line, "  ", view.partitions_done, "/", view.partitions, " partitions");
  std::optional<absl::Duration> left = view.time_left;
  if (!view.rows_per_second && done > 0.02 && done < 1) left = elapsed * ((1 - done) / done);
  if (left) absl::StrAppend(&line, "  ", ElapsedText(*left), " left");
  if (columns > 1 && static_cast<int>(line.size()) > columns - 1) line.resize(columns - 1);
  return line;
}

}  // namespace tidemark::cli
