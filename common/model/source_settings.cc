#include "common/model/source_settings.h"

#include "common/model/duration.h"

namespace tidemark {

absl::Duration HorizonWait(const v1::SourceSpec& source) {
  return source.has_horizon_wait() ? FromProto(source.horizon_wait()) : absl::Seconds(2);
}

absl::Duration Lookback(const v1::SourceSpec& source) {
  return source.has_lookback() ? FromProto(source.lookback()) : absl::Minutes(15);
}

int MaxConnections(const v1::ConnectionSpec& connection) {
  return connection.max_connections() > 0 ? connection.max_connections() : 4;
}

absl::Duration MaxLag(const v1::ConnectionSpec& connection) {
  return connection.has_max_lag() ? FromProto(connection.max_lag()) : absl::Seconds(30);
}

}  // namespace tidemark
