#include "tests/support/http_get.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace tidemark::test {

absl::StatusOr<HttpResponse> HttpGet(const std::string& address, const std::string& path) {
  int port = 0;
  if (!absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port)) return absl::InvalidArgumentError(address);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto closing = absl::MakeCleanup([fd] { close(fd); });
  sockaddr_in server = {};
  server.sin_family = AF_INET;
  server.sin_port = htons(static_cast<uint16_t>(port));
  server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&server), sizeof(server)) != 0) {
    return absl::UnavailableError(absl::StrCat("nobody listens on ", address));
  }
  const std::string request =
      absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: ", address, "\r\nConnection: close\r\n\r\n");
  if (send(fd, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size())) {
    return absl::UnavailableError("the request could not be sent");
  }
  std::string answer;
  char buffer[4096];
  for (ssize_t read = 0; (read = recv(fd, buffer, sizeof(buffer), 0)) > 0;) answer.append(buffer, read);
  HttpResponse response;
  const size_t head = answer.find("\r\n\r\n");
  if (head == answer.npos || !absl::SimpleAtoi(answer.substr(answer.find(' ') + 1, 3), &response.status)) {
    return absl::UnavailableError(absl::StrCat("no HTTP: ", answer));
  }
  response.body = answer.substr(head + 4);
  return response;
}

}  // namespace tidemark::test
