#include "common/secret/dsn.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"

namespace tidemark {
namespace {

// Where a secret stands in a DSN.
struct Span {
  size_t begin;
  size_t end;
};

bool NamesSecret(std::string_view parameter) {
  const std::string name = absl::AsciiStrToLower(Abs(parameter));
  for (const char* word : {"password", "passwd", "pwd", "secret", "token", "apikey", "api_key", "access_key",
                           "passfile", "passphrase", "credential"}) {
    if (absl::StrContains(name, word)) return true;
  }
  return name == "key" || name == "sig" || name == "signature";
}

// Of a URL: a misspelled name may stand before a password.
bool IsHarmless(std::string_view parameter) {
  for (const char* name :
       {"host", "hostaddr", "port", "dbname", "user", "sslmode", "sslrootcert", "sslcert", "channel_binding",
        "application_name", "connect_timeout", "target_session_attrs", "gssencmode", "mode"}) {
    if (parameter == name) return true;
  }
  return false;
}

// `authority` is where the user information begins, if there is any. A password may itself hold an unencoded @, / or ?,
// so all up to the last @ is taken for it, and every ? for the beginning of parameters.
void FindUrlSecrets(std::string_view dsn, size_t authority, std::vector<Span>* passwords, std::vector<Span>* hidden) {
  const size_t at = dsn.rfind('@');
  if (at != dsn.npos && at >= authority) {
    hidden->push_back({authority, at});
    const size_t colon = dsn.find(':', authority);
    if (colon < at) passwords->push_back({colon + 1, at});
  }
  for (size_t mark = dsn.find('?', authority); mark != dsn.npos; mark = dsn.find_first_of("?&", mark + 1)) {
    const size_t begin = mark + 1;
    const size_t end = std::min(dsn.find_first_of("&#", begin), dsn.size());
    const size_t equals = dsn.find('=', begin);
    if (equals >= end) continue;
    const std::string_view name = dsn.substr(begin, equals - begin);
    if (NamesSecret(name)) passwords->push_back({equals + 1, end});
    if (!IsHarmless(name)) hidden->push_back({equals + 1, end});
  }
}

// libpq's keyword = 'value' list: spaces around the equals sign, quotes, backslashes.
void FindKeywordSecrets(std::string_view dsn, std::vector<Span>* passwords) {
  size_t at = 0;
  const auto skip_spaces = [&] {
    while (at < dsn.size() && absl::ascii_isspace(dsn[at])) ++at;
  };
  while (true) {
    skip_spaces();
    const size_t name = at;
    while (at < dsn.size() && dsn[at] != '=' && !absl::ascii_isspace(dsn[at])) ++at;
    const std::string_view keyword = dsn.substr(name, at - name);
    skip_spaces();
    if (at >= dsn.size() || dsn[at] != '=') return;
    ++at;
    skip_spaces();
    const bool quoted = at < dsn.size() && dsn[at] == '\'';
    if (quoted) ++at;
    const size_t value = at;
    while (at < dsn.size() && (quoted ? dsn[at] != '\'' : !absl::ascii_isspace(dsn[at]))) at += dsn[at] == '\\' ? 2 : 1;
    at = std::min(at, dsn.size());
    if (NamesSecret(keyword)) passwords->push_back({value, at});
    if (quoted && at < dsn.size()) ++at;
  }
}

// adbc:DRIVER?OPTION=VALUE&...: what an option of an unknown driver means nobody knows, so that all are hidden; a URL
// among them has its password encoded within it.
void FindOptionSecrets(std::string_view dsn, std::vector<Span>* passwords, std::vector<Span>* hidden) {
  for (size_t mark = dsn.find('?'); mark != dsn.npos; mark = dsn.find('&', mark + 1)) {
    const size_t end = std::min(dsn.find('&', mark + 1), dsn.size());
    const size_t equals = dsn.find('=', mark);
    if (equals >= end) continue;
    const std::string_view name = dsn.substr(mark + 1, equals - mark - 1);
    if (NamesSecret(name)) passwords->push_back({equals + 1, end});
    if (name != "entrypoint") hidden->push_back({equals + 1, end});
  }
}

bool HasOptions(std::string_view dsn) { return dsn.starts_with("adbc:"); }

void FindSecrets(std::string_view dsn, std::vector<Span>* passwords, std::vector<Span>* hidden) {
  if (HasOptions(dsn)) return FindOptionSecrets(dsn, passwords, hidden);
  const size_t colon = dsn.find_first_of(":=?@/ ");
  const bool scheme = colon != dsn.npos && dsn[colon] == ':';
  // One slash or none is a mistake that must not show a password.
  if (scheme && (dsn.find('@') != dsn.npos || dsn.substr(colon + 1).starts_with('/'))) {
    FindUrlSecrets(dsn, std::min(dsn.find_first_not_of('/', colon + 1), dsn.size()), passwords, hidden);
  } else {
    FindKeywordSecrets(dsn, passwords);
  }
}

}  // namespace

std::string RedactDsn(std::string_view dsn) {
  std::vector<Span> spans;
  std::vector<Span> hidden;
  FindSecrets(dsn, &spans, &hidden);
  spans.insert(spans.end(), hidden.begin(), hidden.end());
  // Of two at one place the longer: a user's information holds his password.
  std::sort(spans.begin(), spans.end(),
            [](const Span& a, const Span& b) { return std::pair(a.begin, b.end) < std::pair(b.begin, a.end); });
  std::string redacted;
  size_t copied = 0;
  for (const Span& span : spans) {
    if (span.begin >= copied) absl::StrAppend(&redacted, Abs(dsn.substr(copied, span.begin - copied)), "***");
    copied = std::max(copied, span.end);
  }
  absl::StrAppend(&redacted, Abs(dsn.substr(copied)));
  return redacted;
}

std::vector<std::string> DsnPasswords(std::string_view dsn) {
  std::vector<Span> spans;
  std::vector<Span> hidden;
  FindSecrets(dsn, &spans, &hidden);
  std::vector<std::string> passwords;
  for (const Span& span : spans) {
    if (span.begin == span.end) continue;
    const std::string_view written = dsn.substr(span.begin, span.end - span.begin);
    passwords.emplace_back(written);
    std::string decoded = PercentDecode(written);
    if (decoded != written) passwords.push_back(std::move(decoded));
  }
  if (!HasOptions(dsn)) return passwords;
  for (const Span& span : hidden) {
    const std::string value = PercentDecode(dsn.substr(span.begin, span.end - span.begin));
    for (std::string& password : DsnPasswords(value)) passwords.push_back(std::move(password));
  }
  return passwords;
}

std::string PercentEncode(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    if (absl::ascii_isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~') {
      encoded += c;
    } else {
      absl::StrAppend(&encoded, "%", absl::Hex(static_cast<uint8_t>(c), absl::kZeroPad2));
    }
  }
  return encoded;
}

std::string PercentDecode(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && absl::ascii_isxdigit(text[i + 1]) &&
        absl::ascii_isxdigit(text[i + 2])) {
      decoded += absl::HexStringToBytes(Abs(text.substr(i + 1, 2)));
      i += 2;
    } else {
      decoded += text[i];
    }
  }
  return decoded;
}

}  // namespace tidemark
