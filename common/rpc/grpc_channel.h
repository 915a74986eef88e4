#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/rpc/tls_files.h"

namespace grpc {
class ChannelInterface;
}  // namespace grpc

namespace tidemark {

// A channel to the server at `address` (HOST:PORT), connected when it is first called, and again, within about a
// second, as soon as the server is back. A peer that has died without a word is noticed within some ten seconds.
// Messages of any size are taken. InvalidArgument: what is wrong with the files of `tls`.
absl::StatusOr<std::shared_ptr<grpc::ChannelInterface>> NewChannel(const std::string& address, const TlsFiles& tls);

}  // namespace tidemark
