#include "common/model/dsn.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "common/base/absl_view.h"

namespace tidemark {
namespace {

constexpr std::string_view kLocalSchemes[] = {"sqlite", "duckdb", "file"};

bool BelongsToScheme(char c) {
  return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '+' || c == '-' || c == '.';
}

// HOST, HOST:PORT or [V6]:PORT.
bool IsPlace(std::string_view place) {
  const size_t bracket = place.starts_with('[') ? place.find(']') : 0;
  const size_t colon = place.find(':', bracket);
  if (bracket == place.npos || colon == place.npos) return bracket != place.npos;
  const std::string_view port = place.substr(colon + 1);
  int number = 0;
  return port.empty() || (absl::SimpleAtoi(Abs(port), &number) && number > 0 && number < 65536);
}

}  // namespace

std::string_view DsnScheme(std::string_view dsn) {
  const size_t colon = dsn.find(':');
  if (colon == std::string_view::npos || colon == 0 || !absl::ascii_islower(dsn.front())) return {};
  const std::string_view scheme = dsn.substr(0, colon);
  return std::all_of(scheme.begin(), scheme.end(), BelongsToScheme) ? scheme : std::string_view();
}

std::optional<std::string_view> DsnLocalPath(std::string_view dsn) {
  const std::string_view scheme = DsnScheme(dsn);
  if (std::find(std::begin(kLocalSchemes), std::end(kLocalSchemes), scheme) == std::end(kLocalSchemes)) {
    return std::nullopt;
  }
  dsn.remove_prefix(scheme.size() + 1);
  if (dsn.starts_with("//")) dsn.remove_prefix(2);
  return dsn;
}

absl::Status UnreadablePostgresUrl() {
  return absl::InvalidArgumentError(
      "the connection string cannot be read; write postgresql://user:password@host:port/database and percent-encode "
      "special characters in the password (/ is %2F, @ is %40)");
}

absl::Status CheckPostgresUrl(std::string_view dsn) {
  const std::string_view scheme = DsnScheme(dsn);
  std::string_view rest = dsn.substr(scheme.empty() ? 0 : scheme.size() + 1);
  if ((scheme != "postgresql" && scheme != "postgres") || !rest.starts_with("//")) return UnreadablePostgresUrl();
  rest.remove_prefix(2);
  // As libpq reads it: the user information ends at the first @ before a /, the hosts at the / or ? after it.
  const size_t end = rest.find_first_of("@/");
  const bool user = end != rest.npos && rest[end] == '@';
  const bool password = rest.find(':') < rest.find('/');
  if (user) rest.remove_prefix(end + 1);
  const std::string_view hosts = rest.substr(0, rest.find_first_of("/?"));
  const std::string_view database = rest.substr(hosts.size(), rest.find('?', hosts.size()) - hosts.size());
  if (hosts.find('@') != hosts.npos || (password && database.find('@') != database.npos)) {
    return UnreadablePostgresUrl();
  }
  for (const absl::string_view place : absl::StrSplit(Abs(hosts), ',')) {
    if (!IsPlace(Std(place))) return UnreadablePostgresUrl();
  }
  return absl::OkStatus();
}

}  // namespace tidemark
