#pragma once

#include <memory>

#include "common/base/clock.h"
#include "common/telemetry/metric_registry.h"

namespace grpc::experimental {
class ServerInterceptorFactoryInterface;
}  // namespace grpc::experimental

namespace tidemark {

// For a server's builder: counts every call of its services when it ends and how long it took, by method; a call whose
// caller went away is counted as Canceled whatever its handler returned. `clock` and `registry` must outlive the
// server.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> NewServerMetrics(const Clock* clock,
                                                                                        MetricRegistry* registry);

}  // namespace tidemark
