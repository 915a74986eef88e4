#include "common/model/host_port.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"

namespace tidemark {

std::optional<HostPort> ParseHostPort(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == text.npos) return std::nullopt;
  HostPort address;
  const std::string_view port = text.substr(colon + 1);
  if (port.find_first_not_of("0123456789") != port.npos || !absl::SimpleAtoi(Abs(port), &address.port) ||
      address.port > 65535) {
    return std::nullopt;
  }
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  // Without brackets nobody knows where an IPv6 address ends.
  if (host.empty() || host.find_first_of("[]/@ \t") != host.npos || (!bracketed && host.find(':') != host.npos)) {
    return std::nullopt;
  }
  address.host = host;
  return address;
}

std::string HostPortText(const HostPort& address) {
  const bool brackets = address.host.find(':') != std::string::npos;
  return absl::StrCat(brackets ? "[" : "", address.host, brackets ? "]:" : ":", address.port);
}

}  // namespace tidemark
