#pragma once

#include "absl/status/status.h"

namespace grpc {
class Status;
}  // namespace grpc

namespace tidemark {

// The status as gRPC carries it. Its payloads (ErrorDetails and their like) go as the details of a google.rpc.Status in
// the trailer grpc-status-details-bin. Trailers are small: of a message over 3 KB the middle is left out, and details
// that do not fit into 4 KB stay behind.
grpc::Status ToGrpcStatus(const absl::Status& status);

// The other way round. Details that cannot be read are dropped.
absl::Status FromGrpcStatus(const grpc::Status& status);

}  // namespace tidemark
