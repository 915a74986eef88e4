#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "common/rpc/tls_files.h"

namespace grpc {
class ChannelCredentials;
class ServerCredentials;
}  // namespace grpc

namespace tidemark {

// Of a server: plain text if `files` is empty, TLS with its certificate otherwise, and where `ca` is set only with
// clients that show one signed by it. The files are looked at again every few seconds, so that a certificate can be
// renewed under a server that runs. InvalidArgument: what is wrong with the files.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> ServerCredentials(const TlsFiles& files);

// Of a client, likewise: TLS as soon as any file is set, with the server's host name checked, showing `cert` to a
// server that asks.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> ChannelCredentials(const TlsFiles& files);

}  // namespace tidemark
