#include "common/rpc/grpc_status.h"

#include <map>
#include <string>

#include "absl/strings/cord.h"
#include "common/base/absl_view.h"
#include "common/base/printable.h"
#include "common/base/utf8.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/status.h"

namespace tidemark {
namespace {

constexpr char kAnyPrefix[] = "type.googleapis.com/";
// A client that sets nothing takes 8 KB of metadata, the message among it twice: once percent-encoded.
constexpr size_t kLongestMessage = 3 << 10;
constexpr size_t kLargestDetails = 4 << 10;

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  // The canonical codes are numbered alike.
  const auto code = static_cast<grpc::StatusCode>(status.code());
  const std::string message = ValidUtf8(Elided(Std(status.message()), kLongestMessage));
  // In an order of its own, whatever order they were set in.
  std::map<std::string, std::string> payloads;
  status.ForEachPayload([&](absl::string_view type, const absl::Cord& payload) {
    if (Std(type).starts_with(kAnyPrefix)) payloads.emplace(type, payload);
  });
  if (payloads.empty()) return grpc::Status(code, message);
  google::rpc::Status details;
  details.set_code(code);
  size_t size = 0;
  for (const auto& [type, payload] : payloads) {
    size += type.size() + payload.size();
    if (size > kLargestDetails) break;
    google::protobuf::Any& any = *details.add_details();
    any.set_type_url(type);
    any.set_value(payload);
  }
  // Once more in the details where there is room, as their readers expect.
  if (size + message.size() <= kLargestDetails) details.set_message(message);
  return grpc::Status(code, message, details.SerializeAsString());
}

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status converted(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  google::rpc::Status details;
  if (!status.error_details().empty() && details.ParseFromString(status.error_details())) {
    for (const google::protobuf::Any& any : details.details()) {
      converted.SetPayload(any.type_url(), absl::Cord(any.value()));
    }
  }
  return converted;
}

}  // namespace tidemark
