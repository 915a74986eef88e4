#include "worker/connectors/postgres/postgres_name.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace tidemark::postgres {
namespace {

// NAMEDATALEN - 1.
constexpr size_t kMaxNameBytes = 63;

std::string Quote(std::string_view text, char quote) {
  std::string quoted;
  quoted.reserve(text.size() + 2);
  quoted.push_back(quote);
  for (const char c : text) {
    if (c == quote) quoted.push_back(quote);
    quoted.push_back(c);
  }
  quoted.push_back(quote);
  return quoted;
}

// One part of a name, up to the dot or the end; removes it from `rest`.
absl::StatusOr<std::string> TakePart(std::string_view* rest, const std::string& whole) {
  std::string part;
  if (!rest->empty() && rest->front() == '"') {
    size_t i = 1;
    for (; i < rest->size(); ++i) {
      if ((*rest)[i] != '"') {
        part.push_back((*rest)[i]);
      } else if (i + 1 < rest->size() && (*rest)[i + 1] == '"') {
        part.push_back('"');
        ++i;
      } else {
        break;
      }
    }
    if (i == rest->size()) return absl::InvalidArgumentError(absl::StrCat("unclosed quote in the name ", whole));
    rest->remove_prefix(i + 1);
    if (!rest->empty() && rest->front() != '.') {
      return absl::InvalidArgumentError(
          absl::StrCat("a dot or the end must follow the closing quote in the name ", whole));
    }
  } else {
    const size_t end = rest->find('.');
    part = std::string(rest->substr(0, end));
    rest->remove_prefix(end == std::string_view::npos ? rest->size() : end);
  }
  if (part.empty()) return absl::InvalidArgumentError(absl::StrCat("empty part in the name '", whole, "'"));
  if (part.size() > kMaxNameBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the name ", part, " has ", part.size(), " bytes; PostgreSQL names have at most 63"));
  }
  if (part.find('\0') != std::string::npos) return absl::InvalidArgumentError("a name cannot hold a zero byte");
  return part;
}

}  // namespace

std::string QuoteIdentifier(std::string_view name) { return Quote(name, '"'); }

std::string QuoteLiteral(std::string_view text) { return Quote(text, '\''); }

std::string QualifiedName::Sql() const {
  if (schema.empty()) return QuoteIdentifier(name);
  return absl::StrCat(QuoteIdentifier(schema), ".", QuoteIdentifier(name));
}

absl::StatusOr<QualifiedName> ParseQualifiedName(const std::string& text) {
  std::string_view rest = text;
  std::vector<std::string> parts;
  while (true) {
    TM_ASSIGN_OR_RETURN(std::string part, TakePart(&rest, text));
    parts.push_back(std::move(part));
    if (rest.empty()) break;
    rest.remove_prefix(1);  // the dot
  }
  if (parts.size() > 2) {
    return absl::InvalidArgumentError(absl::StrCat("the name ", text, " has ", parts.size(),
                                                   " parts; write schema.table, and quote a name that holds a dot"));
  }
  QualifiedName name;
  if (parts.size() == 2) name.schema = std::move(parts[0]);
  name.name = std::move(parts.back());
  return name;
}

}  // namespace tidemark::postgres
