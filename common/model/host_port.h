#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tidemark {

// An address as users write it: "db.example:8471", "10.0.0.7:8471", "[::1]:8471".
struct HostPort {
  // Without brackets.
  std::string host;
  // 0 to 65535.
  int port = 0;
};
// nullopt unless both parts are there.
std::optional<HostPort> ParseHostPort(std::string_view text);

// The other way round, with brackets where the host needs them.
std::string HostPortText(const HostPort& address);

}  // namespace tidemark
