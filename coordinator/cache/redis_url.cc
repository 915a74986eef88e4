#include "coordinator/cache/redis_url.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "common/secret/dsn.h"

namespace tidemark::coordinator {
namespace {

constexpr std::string_view kScheme = "redis://";

absl::Status Bad(absl::string_view why) { return absl::InvalidArgumentError(absl::StrCat("redis: ", why)); }

}  // namespace

absl::StatusOr<RedisAddress> ParseRedisUrl(std::string_view url) {
  if (url.starts_with("rediss://")) return Bad("rediss:// (TLS) is not supported; give redis://, or a tunnel to it");
  if (!url.starts_with(kScheme)) return Bad("expected redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]");
  url.remove_prefix(kScheme.size());
  RedisAddress address;
  // A password may itself hold an unencoded @ or /.
  if (const size_t at = url.rfind('@'); at != url.npos) {
    const std::string_view who = url.substr(0, at);
    const size_t colon = who.find(':');
    if (colon == who.npos) return Bad("a password stands after a colon, as in redis://:PASSWORD@HOST");
    address.user = PercentDecode(who.substr(0, colon));
    address.password = PercentDecode(who.substr(colon + 1));
    if (address.password.empty()) return Bad("the password before @ is empty");
    url.remove_prefix(at + 1);
  }
  if (url.find_first_of("?#") != url.npos) return Bad("the URL takes no parameters");
  const size_t slash = std::min(url.find('/'), url.size());
  std::string_view database = url.substr(slash);
  if (!database.empty()) database.remove_prefix(1);
  if (!database.empty() && (!absl::SimpleAtoi(Abs(database), &address.database) || address.database < 0)) {
    return Bad("the database after / is a number from 0");
  }
  std::string_view authority = url.substr(0, slash);
  if (authority.starts_with("[")) {
    const size_t bracket = authority.find(']');
    if (bracket == authority.npos) return Bad("no ] after the address");
    address.host = authority.substr(1, bracket - 1);
    authority.remove_prefix(bracket + 1);
  } else {
    const size_t colon = std::min(authority.find(':'), authority.size());
    address.host = authority.substr(0, colon);
    authority.remove_prefix(colon);
  }
  if (address.host.empty()) return Bad("no host");
  if (authority.empty()) return address;
  if (authority.front() != ':' || !absl::SimpleAtoi(Abs(authority.substr(1)), &address.port) || address.port < 1 ||
      address.port > 65535) {
    return Bad("the port is a number from 1 to 65535");
  }
  return address;
}

}  // namespace tidemark::coordinator
