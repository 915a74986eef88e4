#include "tests/support/outer_address.h"

#include <ifaddrs.h>
#include <netinet/in.h>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"

namespace tidemark::test {

std::string OuterAddress() {
  ifaddrs* addresses = nullptr;
  if (getifaddrs(&addresses) != 0) return "";
  const auto freeing = absl::MakeCleanup([&] { freeifaddrs(addresses); });
  for (const ifaddrs* at = addresses; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || at->ifa_addr->sa_family != AF_INET) continue;
    const uint32_t ip = ntohl(reinterpret_cast<const sockaddr_in*>(at->ifa_addr)->sin_addr.s_addr);
    if (ip >> 24 == 127) continue;
    return absl::StrCat(ip >> 24, ".", (ip >> 16) & 255, ".", (ip >> 8) & 255, ".", ip & 255);
  }
  return "";
}

}  // namespace tidemark::test
