#include "tests/support/free_port.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "absl/cleanup/cleanup.h"

namespace tidemark::test {

absl::StatusOr<int> FreePort() {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  absl::Cleanup closer = [fd] { close(fd); };
  struct sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (fd < 0 || bind(fd, reinterpret_cast<struct sockaddr*>(&address), size) != 0 ||
      getsockname(fd, reinterpret_cast<struct sockaddr*>(&address), &size) != 0) {
    return absl::ErrnoToStatus(errno, "no free loopback port");
  }
  return ntohs(address.sin_port);
}

}  // namespace tidemark::test
