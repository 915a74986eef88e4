#include "cli/table.h"

#include <algorithm>

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

std::string ToTable(const std::vector<Value::Record>& rows, const std::vector<TableColumn>& columns) {
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
  std::string text;
  for (const std::vector<std::string>& line : lines) {
    std::string padded;
    for (size_t i = 0; i < line.size(); ++i) {
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
