#include "worker/connector/query_text.h"

#include <cctype>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model/sql_text.h"

namespace tidemark {
namespace {

constexpr std::string_view kLow = "last_watermark";
constexpr std::string_view kHigh = "watermark_snapshot";

}  // namespace

absl::StatusOr<std::string> CleanQuery(std::string_view query) {
  std::string cleaned;
  bool ended = false;
  for (size_t i = 0; i < query.size();) {
    const size_t end = SkipOpaqueSql(query, i);
    const bool comment = end > i && (query.substr(i, 2) == "--" || query.substr(i, 2) == "/*");
    if (end == i && query[i] == ';') {
      ended = true;
      ++i;
      continue;
    }
    if (ended && !comment && !std::isspace(static_cast<unsigned char>(query[i]))) {
      return absl::InvalidArgumentError(
          "the source query must be a single SELECT: there is something after its semicolon");
    }
    const size_t next = end > i ? end : i + 1;
    if (!ended) cleaned.append(query.substr(i, next - i));
    i = next;
  }
  while (!cleaned.empty() && std::isspace(static_cast<unsigned char>(cleaned.back()))) cleaned.pop_back();
  if (cleaned.empty()) return absl::InvalidArgumentError("the source query is empty");
  return cleaned;
}

absl::StatusOr<std::string> BindPlaceholders(std::string_view query, std::string_view low, std::string_view high) {
  std::string bound;
  for (size_t i = 0; i < query.size();) {
    const size_t end = SkipOpaqueSql(query, i);
    if (end > i) {
      bound.append(query.substr(i, end - i));
      i = end;
      continue;
    }
    if (query.substr(i, 2) == "::" || query.substr(i, 2) == ":=") {
      bound.append(query.substr(i, 2));
      i += 2;
      continue;
    }
    if (query[i] != ':') {
      bound.push_back(query[i++]);
      continue;
    }
    size_t name_end = i + 1;
    while (name_end < query.size() && IsNameByte(query[name_end])) ++name_end;
    const std::string_view name = query.substr(i + 1, name_end - i - 1);
    if (name == kLow) {
      bound.append(low);
    } else if (name == kHigh) {
      bound.append(high);
    } else if (name.empty() || std::isdigit(static_cast<unsigned char>(name[0])) ||
               bound.find_first_of("[{") != std::string::npos) {
      bound.append(query.substr(i, name_end - i));  // an array slice, or a field of a struct
    } else {
      return absl::InvalidArgumentError(absl::StrCat("the source query uses :", std::string(name),
                                                     "; only :last_watermark and :watermark_snapshot are bound"));
    }
    i = name_end;
  }
  return bound;
}

bool HasPlaceholders(std::string_view query) {
  const auto bound = BindPlaceholders(query, "", "");
  return bound.ok() && bound->size() != query.size();
}

std::string AsSubselect(std::string_view query) { return absl::StrCat("(", std::string(query), "\n) AS \"source\""); }

}  // namespace tidemark
