#pragma once

#include <string>

#include "absl/status/status.h"

namespace grpc {
class ServerContextBase;
}  // namespace grpc

namespace tidemark {

// Who makes a call.
struct Caller {
  // The subject of its certificate, as RFC 2253 writes it; without one its address. For logs and audits.
  std::string name;
  // It showed a certificate, and the server's `ca` has signed it.
  bool has_certificate = false;
  // Of this machine: over loopback, a socket file, or in this process.
  bool is_local = false;
};

Caller CallerOf(const grpc::ServerContextBase& context);

// Connection strings travel over a worker's control port: OK for a caller on this machine and one with a certificate,
// PermissionDenied for anyone else.
absl::Status MayBeWorker(const Caller& caller);

}  // namespace tidemark
