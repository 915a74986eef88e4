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
  wrong_.emplace(path);
  if (path.ends_with(']')) wrong_.emplace(path.substr(0, path.rfind('[')));
}

bool Diagnostics::Has(std::string_view path) const { return wrong_.contains(path); }

const std::string* Diagnostics::VariableOf(std::string_view path) const {
  const auto found = variables_.find(path.substr(0, path.find('[')));
  return found == variables_.end() ? nullptr : &found->second;
}

absl::Status Diagnostics::ToStatus() const {
  if (entries_.empty()) return absl::OkStatus();
  std::vector<Entry> sorted = entries_;
  const auto place = [this](const Entry& entry) {
    const bool in_file = VariableOf(entry.path) == nullptr;
    return in_file ? std::tuple(1, entry.at.line, entry.at.column) : std::tuple(0, 0, 0);
  };
  std::stable_sort(sorted.begin(), sorted.end(), [&](const Entry& a, const Entry& b) { return place(a) < place(b); });
  std::string text;
  for (const Entry& entry : sorted) {
    if (!text.empty()) text += '\n';
    if (const std::string* variable = VariableOf(entry.path)) {
      absl::StrAppend(&text, *variable, ": ", Printable(entry.message));
      continue;
    }
    if (!file_.empty()) absl::StrAppend(&text, file_, ":", entry.at.line, ":", entry.at.column, ": ");
    absl::StrAppend(&text, Printable(Elided(entry.path, kLongestPath)), entry.path.empty() ? "" : ": ",
                    Printable(entry.message));
  }
  return absl::InvalidArgumentError(text);
}

}  // namespace tidemark
