#pragma once

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/connector/connector.h"

namespace tidemark {

// Connects, asks the server who it is, and closes the connection.
absl::StatusOr<v1::TestResult> TestConnection(const v1::ConnectionSpec& connection, Connector& connector,
                                              const SessionOptions& options, const Clock& clock);

}  // namespace tidemark
