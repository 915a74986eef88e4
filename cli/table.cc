#include "cli/table.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace tidemark::cli {
namespace {

// Columns on the screen, near enough: one for each UTF-8 character.
size_t Width(const std::string& text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; });
}

std::string Cut(std::string text, size_t width) {
  if (Width(text) <= width) return text;
  size_t bytes = 0;
  for (size_t characters = 0; bytes < text.size(); ++bytes) {
    const bool begins = (text[bytes] & 0xc0) != 0x80;
    if (begins && ++characters == width) break;
  }
  return text.substr(0, bytes) + "\u2026";
}

// Narrows the columns until they are no wider than `width` together.
void Fit(const std::vector<TableColumn>& columns, size_t width, std::vector<size_t>* widths) {
  constexpr size_t kGap = 2;
  size_t total = kGap * (columns.size() - 1);
  for (const size_t column : *widths) total += column;
  while (total > width) {
    size_t widest = 0;
    for (size_t i = 1; i < columns.size(); ++i) {
      const bool may_shrink = (*widths)[i] > std::max<size_t>(Width(columns[i].heading), 1);
      if (may_shrink && (widest == 0 || (*widths)[i] > (*widths)[widest])) widest = i;
    }
    if (widest == 0) return;
    --(*widths)[widest];
    --total;
  }
}

std::string CellOf(const Value::Record& row, const std::string& field) {
  for (const auto& [name, value] : row) {
    if (name == field) return ToCell(value);
  }
  return "";
}

struct CellText {
  std::string operator()(std::monostate) const { return ""; }
  std::string operator()(bool value) const { return value ? "yes" : "no"; }
  std::string operator()(int64_t value) const { return absl::StrCat(value); }
  std::string operator()(double value) const { return absl::StrFormat("%.1f", value); }
  // A table has one line per row.
  std::string operator()(const std::string& value) const { return absl::StrJoin(absl::StrSplit(value, '\n'), " "); }
  std::string operator()(const Value::List& list) const {
    return absl::StrJoin(list, ", ", [](std::string* out, const Value& value) { out->append(ToCell(value)); });
  }
  std::string operator()(const Value::Record& record) const {
    return absl::StrJoin(record, ", ", [](std::string* out, const auto& field) {
      absl::StrAppend(out, field.first, "=", ToCell(field.second));
    });
  }
};

}  // namespace

std::string ToCell(const Value& value) { return std::visit(CellText(), value.variant()); }

std::string ToTable(const std::vector<Value::Record>& rows, const std::vector<TableColumn>& columns, int width) {
  std::vector<std::vector<std::string>> lines(1);
  for (const TableColumn& column : columns) lines[0].push_back(column.heading);
  for (const Value::Record& row : rows) {
    std::vector<std::string>& line = lines.emplace_back();
    for (const TableColumn& column : columns) line.push_back(CellOf(row, column.field));
  }
  std::vector<size_t> widths(columns.size(), 0);
  for (const std::vector<std::string>& line : lines) {
    for (size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], Width(line[i]));
  }
  if (width > 0) Fit(columns, static_cast<size_t>(width), &widths);
  std::string text;
  for (std::vector<std::string>& line : lines) {
    std::string padded;
    for (size_t i = 0; i < line.size(); ++i) {
      line[i] = Cut(std::move(line[i]), widths[i]);
      const std::string blanks(widths[i] - Width(line[i]), ' ');
      absl::StrAppend(&padded, i == 0 ? "" : "  ", columns[i].right_aligned ? blanks : "", line[i],
                      columns[i].right_aligned ? "" : blanks);
    }
    padded.erase(padded.find_last_not_of(' ') + 1);
    absl::StrAppend(&text, padded, "\n");
  }
  return text;
}

}  // namespace tidemark::cli
