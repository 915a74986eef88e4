#include "worker/connectors/duckdb/duckdb_name.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace tidemark::duckdb {
namespace {

// Takes the part at the beginning of `rest`, and the dot behind it. nullopt if there is none.
std::optional<std::string> TakePart(absl::string_view* rest) {
  std::string part;
  size_t i = 0;
  if (!rest->empty() && rest->front() == '"') {
    for (i = 1;; ++i) {
      if (i == rest->size()) return std::nullopt;
      if ((*rest)[i] == '"' && (++i == rest->size() || (*rest)[i] != '"')) break;
      part.push_back((*rest)[i]);
    }
  } else {
    for (; i < rest->size() && (*rest)[i] != '.'; ++i) part.push_back((*rest)[i]);
  }
  const bool more = i < rest->size();
  if (part.empty() || (more && ((*rest)[i] != '.' || i + 1 == rest->size()))) return std::nullopt;
  rest->remove_prefix(more ? i + 1 : i);
  return part;
}

}  // namespace

std::string Quoted(absl::string_view name) {
  return absl::StrCat("\"", absl::StrReplaceAll(name, {{"\"", "\"\""}}), "\"");
}

std::string Quoted(const TableName& name) { return absl::StrCat(Quoted(name.schema), ".", Quoted(name.table)); }

std::string Literal(absl::string_view text) { return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "''"}}), "'"); }

absl::StatusOr<TableName> ParseTableName(absl::string_view name) {
  std::vector<std::string> parts;
  absl::string_view rest = name;
  while (!rest.empty() || parts.empty()) {
    std::optional<std::string> part = TakePart(&rest);
    if (!part || parts.size() == 2) {
      return absl::InvalidArgumentError(absl::StrCat("table ", name, ": write TABLE or SCHEMA.TABLE"));
    }
    parts.push_back(*std::move(part));
  }
  if (parts.size() == 1) return TableName{"main", parts[0]};
  return TableName{parts[0], parts[1]};
}

std::string KeyOf(const TableName& name) { return absl::AsciiStrToLower(Quoted(name)); }

}  // namespace tidemark::duckdb
