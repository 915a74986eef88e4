#include "common/rpc/grpc_channel.h"

#include "common/base/status_macros.h"
#include "common/rpc/grpc_credentials.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/support/channel_arguments.h"

namespace tidemark {
namespace {

constexpr int kPingMillis = 5'000;
constexpr int kPingTimeoutMillis = 5'000;
constexpr int kFirstReconnectMillis = 100;
constexpr int kLongestReconnectMillis = 1'000;
// Of one attempt to connect, handshake included.
constexpr int kConnectMillis = 3'000;
// Messages of errors and their details travel in trailers.
constexpr int kMetadataBytes = 64 << 10;

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ChannelInterface>> NewChannel(const std::string& address, const TlsFiles& tls) {
  TM_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ChannelCredentials> credentials, ChannelCredentials(tls));
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetInt(GRPC_ARG_MAX_METADATA_SIZE, kMetadataBytes);
  // Connection strings go straight to where they belong, whatever proxy the environment names.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kPingMillis);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingTimeoutMillis);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kFirstReconnectMillis);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kLongestReconnectMillis);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectMillis);
  return grpc::CreateCustomChannel(address, credentials, arguments);
}

}  // namespace tidemark
