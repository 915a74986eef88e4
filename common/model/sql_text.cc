#include "common/model/sql_text.h"

#include <algorithm>
#include <cctype>
#include <initializer_list>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"

namespace tidemark {
namespace {

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
  while (end < sql.size() && IsNameByte(sql[end])) ++end;
  if (end >= sql.size() || sql[end] != '$' || std::isdigit(static_cast<unsigned char>(sql[i + 1]))) return i + 1;
  const std::string_view tag = sql.substr(i, end - i + 1);
  const size_t close = sql.find(tag, end + 1);
  return close == std::string_view::npos ? sql.size() : close + tag.size();
}

}  // namespace

bool IsNameByte(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || (c & 0x80) != 0; }

size_t SkipOpaqueSql(std::string_view sql, size_t i) {
  const char c = sql[i];
  const bool after_name = i > 0 && IsNameByte(sql[i - 1]);
  if (c == '\'') {
    const bool escapes = i > 0 && (sql[i - 1] == 'E' || sql[i - 1] == 'e') && (i < 2 || !IsNameByte(sql[i - 2]));
    return SkipQuoted(sql, i, escapes);
  }
  if (c == '"' || c == '`') return SkipQuoted(sql, i, false);
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

namespace {

// Whether `word` begins a clause that leaves rows out, by what follows it: the words are names elsewhere.
bool LeavesOut(std::string_view word, std::string_view rest) {
  size_t begin = 0;
  while (begin < rest.size() && std::isspace(static_cast<unsigned char>(rest[begin]))) ++begin;
  rest.remove_prefix(begin);
  if (rest.empty()) return false;
  const bool number = std::isdigit(static_cast<unsigned char>(rest[0])) || rest[0] == '(' || rest[0] == '$' ||
                      rest[0] == '?' || (rest[0] == ':' && rest.substr(0, 2) != "::");
  if (absl::EqualsIgnoreCase(Abs(word), "limit")) return number;
  if (absl::EqualsIgnoreCase(Abs(word), "offset")) {
    const bool none = rest[0] == '0' && (rest.size() == 1 || !IsNameByte(rest[1]));
    return number && !none;
  }
  return absl::EqualsIgnoreCase(Abs(word), "fetch") &&
         (absl::StartsWithIgnoreCase(Abs(rest), "first") || absl::StartsWithIgnoreCase(Abs(rest), "next"));
}

}  // namespace

bool LimitsRows(std::string_view query) {
  int depth = 0;
  for (size_t i = 0; i < query.size();) {
    if (const size_t end = SkipOpaqueSql(query, i); end > i) {
      i = end;
      continue;
    }
    if (query[i] == '(') ++depth;
    if (query[i] == ')') --depth;
    size_t end = i;
    while (end < query.size() && IsNameByte(query[end])) ++end;
    const std::string_view word = query.substr(i, end - i);
    const bool column = i > 0 && query[i - 1] == '.';
    if (depth == 0 && !column && LeavesOut(word, query.substr(end))) return true;
    i = end > i ? end : i + 1;
  }
  return false;
}

namespace {

bool IsOneOf(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(),
                     [&](std::string_view known) { return absl::EqualsIgnoreCase(Abs(word), Abs(known)); });
}

// Whether the string, quoted name or comment `text` ends before the query does.
bool IsClosed(std::string_view text) {
  if (text.starts_with("--")) return true;
  if (text.starts_with("/*")) return text.size() >= 4 && text.ends_with("*/");
  const size_t tag = text[0] == '$' ? text.find('$', 1) + 1 : 1;
  return text.size() >= 2 * tag && text.ends_with(text.substr(0, tag));
}

absl::Status NoSelect(std::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("must be one SELECT: ", Abs(why)));
}

// Reads the words of a query one after the other.
class SelectCheck {
 public:
  // A word, or one byte that is no part of one.
  absl::Status Add(std::string_view word) {
    if (ended_ && word != ";") return NoSelect("there is more after its semicolon");
    if (word == ";") {
      ended_ = begun_;
    } else if (word == "(") {
      ++depth_;
    } else if (word == ")" && --depth_ < 0) {
      return NoSelect("it closes a parenthesis that it has not opened");
    } else if (!begun_ && !IsOneOf(word, {"SELECT", "WITH", "VALUES", "TABLE"})) {
      return NoSelect(absl::StrCat("it starts with ", Abs(word)));
    } else if (depth_ == 0 && last_ != "." && IsOneOf(word, {"INTO"})) {
      return NoSelect("its INTO would write a table");
    } else if (depth_ == 0 && IsOneOf(last_, {"FOR"}) && IsOneOf(word, {"UPDATE", "SHARE", "NO", "KEY"})) {
      return NoSelect(absl::StrCat("FOR ", Abs(word), " locks rows of the source"));
    } else if (last_ == "(" && IsOneOf(before_last_, {"AS", "MATERIALIZED"}) &&
               IsOneOf(word, {"INSERT", "UPDATE", "DELETE", "MERGE"})) {
      return NoSelect(absl::StrCat("the ", Abs(word), " in its WITH changes rows"));
    }
    begun_ = begun_ || IsNameByte(word[0]);
    before_last_ = last_;
    last_ = word;
    return absl::OkStatus();
  }

  absl::Status End() const {
    if (!begun_) return NoSelect("there is nothing in it");
    return depth_ > 0 ? NoSelect("it has a parenthesis that is never closed") : absl::OkStatus();
  }

 private:
  bool begun_ = false;
  bool ended_ = false;
  int depth_ = 0;
  std::string_view last_;
  std::string_view before_last_;
};

}  // namespace

absl::Status CheckSelect(std::string_view query) {
  SelectCheck check;
  for (size_t i = 0; i < query.size();) {
    if (std::isspace(static_cast<unsigned char>(query[i]))) {
      ++i;
      continue;
    }
    size_t end = SkipOpaqueSql(query, i);
    if (end == i) {
      while (end < query.size() && IsNameByte(query[end])) ++end;
      end = std::max(end, i + 1);
      TM_RETURN_IF_ERROR(check.Add(query.substr(i, end - i)));
    } else {
      const std::string_view opaque = query.substr(i, end - i);
      const bool comment = opaque.starts_with("--") || opaque.starts_with("/*");
      if (!IsClosed(opaque)) {
        return NoSelect(comment ? "it has a comment that is never closed" : "it has a quote that is never closed");
      }
      if (!comment) TM_RETURN_IF_ERROR(check.Add(opaque));
    }
    i = end;
  }
  return check.End();
}

}  // namespace tidemark
