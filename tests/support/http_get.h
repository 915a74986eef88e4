#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace tidemark::test {

struct HttpResponse {
  int status = 0;
  std::string body;
};

// GET http://`address`/`path` for an address 127.0.0.1:PORT. Unavailable if nobody answers.
absl::StatusOr<HttpResponse> HttpGet(const std::string& address, const std::string& path);

}  // namespace tidemark::test
