#pragma once

#include <string>

#include "absl/status/status.h"

namespace tidemark {

// Where the PEM files of one end of a connection are. What is absent is empty.
struct TlsFiles {
  // Certificate chain, leaf first, and its private key: both or neither. A server needs them.
  std::string cert = "";
  std::string key = "";
  // Who the other end's certificate must be signed by. At a server: clients must show one, else none is asked for. At a
  // client: empty stands for the system's authorities.
  std::string ca = "";

  bool empty() const { return cert.empty() && key.empty() && ca.empty(); }
};

// InvalidArgument names the file that cannot be read or holds no certificate or key, or a key that is not the
// certificate's. A file's content is in no message. Does I/O.
absl::Status CheckTlsFiles(const TlsFiles& files);

}  // namespace tidemark
