#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace tidemark::coordinator {

// Where a Redis is, and who we are there.
struct RedisAddress {
  std::string host;
  int port = 6379;
  std::string user;      // Empty: the default one.
  std::string password;  // Empty: none is needed.
  int database = 0;
};

// redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE], user and password percent-encoded, an IPv6 address in brackets.
// InvalidArgument says what is wrong and shows nothing of the URL.
absl::StatusOr<RedisAddress> ParseRedisUrl(std::string_view url);

}  // namespace tidemark::coordinator
