#include "common/config/diagnostics.h"

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "common/base/printable.h"

namespace tidemark {
namespace {

// Names of the file's own choice stand in them.
constexpr size_t kLongestPath = 300;
constexpr size_t kLongestMessage = 2000;

}  // namespace

void Diagnostics::Add(Location at, std::string_view path, std::string_view message) {
  entries_.push_back({at, std::string(path), Elided(message, kLongestMessage)});
}

bool Diagnostics::Has(std::string_view path) const {
  return std::any_of(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return entry.path.starts_with(path) && (entry.path.size() == path.size() || entry.path[path.size()] == '[');
  });
}

absl::Status Diagnostics::ToStatus() const {
  if (entries_.empty()) return absl::OkStatus();
  std::vector<Entry> sorted = entries_;
  std::stable_sort(sorted.begin(), sorted.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.at.line, a.at.column) < std::tie(b.at.line, b.at.column);
  });
  std::string text;
  for (const Entry& entry : sorted) {
    absl::StrAppend(&text, text.empty() ? "" : "\n", file_, ":", entry.at.line, ":", entry.at.column, ": ",
                    Printable(Elided(entry.path, kLongestPath)), entry.path.empty() ? "" : ": ",
                    Printable(entry.message));
  }
  return absl::InvalidArgumentError(text);
}

}  // namespace tidemark
