#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>

#include "absl/time/time.h"

namespace tidemark::cli {

// What a bar shows: the sum over the runs under way.
struct ProgressView {
  std::string label;
  int64_t rows = 0;
  // -1: unknown.
  int64_t estimated_rows = -1;
  int partitions = 0;
  int partitions_done = 0;
  // Where someone else has measured them; absent: the bar does.
  std::optional<double> rows_per_second = {};
  std::optional<absl::Duration> time_left = {};
};

// One line of progress: "orders  [#####.....]  1,200,000 rows  350,000 rows/s  3/8 partitions  12s left". The rate is
// taken over the last seconds. Not thread-safe.
class ProgressBar {
 public:
  // `elapsed` is monotonic, of this bar. At most `columns` wide.
  std::string Render(const ProgressView& view, absl::Duration elapsed, int columns);

 private:
  double RowsPerSecond(int64_t rows, absl::Duration elapsed);

  // (elapsed, rows), oldest first.
  std::deque<std::pair<absl::Duration, int64_t>> samples_;
};

}  // namespace tidemark::cli
