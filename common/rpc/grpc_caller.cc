#include "common/rpc/grpc_caller.h"

#include <memory>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/printable.h"
#include "grpc/grpc_security_constants.h"
#include "grpcpp/security/auth_context.h"
#include "grpcpp/server_context.h"

namespace tidemark {
namespace {

// As gRPC writes addresses: ipv4:127.0.0.1:50051, ipv6:%5B::1%5D:50051, unix:/path.
bool IsLocalAddress(std::string_view peer) {
  return peer.starts_with("ipv4:127.") || peer.starts_with("ipv6:[::1]:") || peer.starts_with("unix:") ||
         peer.starts_with("unix-abstract:");
}

// A call within the process has no address, and nothing is known of its transport's security, not even that there is
// none.
bool IsInProcess(std::string_view peer, const grpc::AuthContext* authenticated) {
  return peer == "unknown" && (authenticated == nullptr || authenticated->begin() == authenticated->end());
}

}  // namespace

Caller CallerOf(const grpc::ServerContextBase& context) {
  Caller caller;
  const std::string peer = absl::StrReplaceAll(context.peer(), {{"%5B", "["}, {"%5D", "]"}, {"%25", "%"}});
  const std::shared_ptr<const grpc::AuthContext> authenticated = context.auth_context();
  const bool in_process = IsInProcess(peer, authenticated.get());
  caller.is_local = in_process || IsLocalAddress(peer);
  caller.name = in_process ? "this process" : peer;
  if (authenticated == nullptr || !authenticated->IsPeerAuthenticated()) return caller;
  caller.has_certificate = true;
  for (const char* property : {GRPC_X509_SUBJECT_PROPERTY_NAME, GRPC_X509_CN_PROPERTY_NAME}) {
    const std::vector<grpc::string_ref> values = authenticated->FindPropertyValues(property);
    if (values.empty() || values.front().empty()) continue;
    caller.name = Printable(std::string_view(values.front().data(), values.front().size()));
    break;
  }
  return caller;
}

absl::Status MayBeWorker(const Caller& caller) {
  if (caller.is_local || caller.has_certificate) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrCat(caller.name,
                   " may not call this port without a client certificate: set tls.cert, tls.key and tls.ca "
                   "on the coordinator and its workers"));
}

}  // namespace tidemark
