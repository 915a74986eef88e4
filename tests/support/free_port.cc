#include "tests/support/free_port.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

#include "absl/cleanup/cleanup.h"

namespace tidemark::test {

namespace {

// `port`, or any for 0.
absl::StatusOr<int> Bind(int port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  absl::Cleanup closer = [fd] { close(fd); };
  struct sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  socklen_t size = sizeof(address);
  if (fd < 0 || bind(fd, reinterpret_cast<struct sockaddr*>(&address), size) != 0 ||
      getsockname(fd, reinterpret_cast<struct sockaddr*>(&address), &size) != 0) {
    return absl::ErrnoToStatus(errno, "no free loopback port");
  }
  return ntohs(address.sin_port);
}

}  // namespace

absl::StatusOr<int> FreePort() { return Bind(0); }

absl::StatusOr<int> FreeFixedPort() {
  constexpr int kFirst = 12'000;
  constexpr int kPorts = 20'000;
  // Tests that run at the same time begin far from each other.
  static std::atomic<int> next{static_cast<int>(getpid() * 7919LL % kPorts)};
  absl::StatusOr<int> port;
  for (int tries = 0; tries < kPorts; ++tries) {
    port = Bind(kFirst + next++ % kPorts);
    if (port.ok()) break;
  }
  return port;
}

}  // namespace tidemark::test
