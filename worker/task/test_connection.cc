#include "worker/task/test_connection.h"

#include <string>
#include <utility>

#include "common/model/duration.h"
#include "worker/task/task_error.h"

namespace tidemark {

absl::StatusOr<v1::TestResult> TestConnection(const v1::ConnectionSpec& connection, Connector& connector,
                                              const SessionOptions& options, const Clock& clock) {
  const absl::Duration begin = clock.Monotonic();
  absl::StatusOr<std::string> server = connector.Test(connection, options);
  if (!server.ok()) return FromSource(server.status());
  v1::TestResult result;
  result.set_server(*std::move(server));
  *result.mutable_round_trip() = ToProto(clock.Monotonic() - begin);
  return result;
}

}  // namespace tidemark
