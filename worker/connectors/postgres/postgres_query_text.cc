#include "worker/connectors/postgres/postgres_query_text.h"

#include <cctype>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace tidemark::postgres {
namespace {

constexpr std::string_view kLow = "last_watermark";
constexpr std::string_view kHigh = "watermark_snapshot";

bool NameByte(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || (c & 0x80) != 0; }

// Past a quoted run that starts at `i`; `escapes`: backslash hides the next byte.
size_t SkipQuoted(std::string_view sql, size_t i, bool escapes) {
  const char quote = sql[i];
  for (++i; i < sql.size(); ++i) {
    if (escapes && sql[i] == '\\') {
      ++i;
    } else if (sql[i] == quote) {
      return i + 1;  // a doubled quote starts another run at once, to the same effect
    }
  }
  return sql.size();
}

size_t SkipBlockComment(std::string_view sql, size_t i) {
  int depth = 0;
  while (i < sql.size()) {
    const std::string_view two = sql.substr(i, 2);
    if (two == "/*") {
      ++depth;
      i += 2;
    } else if (two == "*/") {
      i += 2;
      if (--depth == 0) return i;
    } else {
      ++i;
    }
  }
  return sql.size();
}

// Past a $tag$ ... $tag$ string; i + 1 if there is none at `i`.
size_t SkipDollar(std::string_view sql, size_t i) {
  size_t end = i + 1;
  while (end < sql.size() && NameByte(sql[end])) ++end;
  if (end >= sql.size() || sql[end] != '$' || std::isdigit(static_cast<unsigned char>(sql[i + 1]))) return i + 1;
  const std::string_view tag = sql.substr(i, end - i + 1);
  const size_t close = sql.find(tag, end + 1);
  return close == std::string_view::npos ? sql.size() : close + tag.size();
}

// Past whatever starts at `i` that is not plain SQL text; `i` itself if plain text does.
size_t SkipOpaque(std::string_view sql, size_t i) {
  const char c = sql[i];
  const bool after_name = i > 0 && NameByte(sql[i - 1]);
  if (c == '\'') {
    const bool escapes = i > 0 && (sql[i - 1] == 'E' || sql[i - 1] == 'e') && (i < 2 || !NameByte(sql[i - 2]));
    return SkipQuoted(sql, i, escapes);
  }
  if (c == '"') return SkipQuoted(sql, i, false);
  if (c == '$' && !after_name) {
    const size_t end = SkipDollar(sql, i);
    return end == i + 1 ? i : end;
  }
  if (sql.substr(i, 2) == "--") {
    const size_t end = sql.find('\n', i);
    return end == std::string_view::npos ? sql.size() : end;
  }
  if (sql.substr(i, 2) == "/*") return SkipBlockComment(sql, i);
  return i;
}

}  // namespace

absl::StatusOr<std::string> CleanQuery(std::string_view query) {
  std::string cleaned;
  bool ended = false;
  for (size_t i = 0; i < query.size();) {
    const size_t end = SkipOpaque(query, i);
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
    const size_t end = SkipOpaque(query, i);
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
    while (name_end < query.size() && NameByte(query[name_end])) ++name_end;
    const std::string_view name = query.substr(i + 1, name_end - i - 1);
    if (name == kLow) {
      bound.append(low);
    } else if (name == kHigh) {
      bound.append(high);
    } else if (name.empty() || std::isdigit(static_cast<unsigned char>(name[0])) ||
               bound.find('[') != std::string::npos) {
      bound.append(query.substr(i, name_end - i));  // an array slice
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

}  // namespace tidemark::postgres
