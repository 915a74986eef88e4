#include "common/model/row_counts.h"

#include "absl/strings/str_cat.h"

namespace tidemark {

bool Balances(const v1::RowCounts& counts) {
  if (counts.read() < 0 || counts.loaded() < 0 || counts.filtered() < 0 || counts.quarantined() < 0) return false;
  int64_t reasons = 0;
  for (const auto& [reason, rows] : counts.filtered_by_reason()) {
    if (rows < 0) return false;
    reasons += rows;
  }
  return reasons == counts.filtered() && counts.read() == counts.loaded() + counts.filtered() + counts.quarantined();
}

void Add(const v1::RowCounts& more, v1::RowCounts* sum) {
  sum->set_read(sum->read() + more.read());
  sum->set_loaded(sum->loaded() + more.loaded());
  sum->set_filtered(sum->filtered() + more.filtered());
  sum->set_quarantined(sum->quarantined() + more.quarantined());
  sum->set_bytes_read(sum->bytes_read() + more.bytes_read());
  for (const auto& [reason, rows] : more.filtered_by_reason()) (*sum->mutable_filtered_by_reason())[reason] += rows;
}

void AddFiltered(std::string_view reason, int64_t rows, v1::RowCounts* counts) {
  if (rows == 0) return;
  counts->set_filtered(counts->filtered() + rows);
  (*counts->mutable_filtered_by_reason())[std::string(reason)] += rows;
}

int64_t Remaining(const v1::RowCounts& counts) { return counts.read() - counts.filtered() - counts.quarantined(); }

std::string Summary(const v1::RowCounts& counts) {
  const bool equal = counts.read() == counts.loaded() + counts.filtered() + counts.quarantined();
  return absl::StrCat("read ", FormatCount(counts.read()), equal ? " = " : " <> ", "loaded ",
                      FormatCount(counts.loaded()), " + filtered ", FormatCount(counts.filtered()), " + quarantined ",
                      FormatCount(counts.quarantined()));
}

std::string FormatCount(int64_t count) {
  std::string digits = absl::StrCat(count);
  const size_t first = count < 0 ? 1 : 0;
  for (size_t at = digits.size(); at > first + 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

}  // namespace tidemark
