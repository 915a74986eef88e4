#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/telemetry/metric_registry.h"

namespace tidemark {

// Serves a registry over HTTP, on threads of its own: GET /metrics in Prometheus' text format, and GET /healthz, which
// answers 200 as long as the process can.
class MetricsServer {
 public:
  // `listen` is HOST:PORT; port 0 takes a free one. Unavailable if it cannot listen there, InvalidArgument if that is
  // no address.
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(const std::string& listen,
                                                              const MetricRegistry& registry);
  ~MetricsServer();
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  // HOST:PORT with the real port.
  const std::string& address() const { return address_; }

 private:
  class Impl;
  MetricsServer(std::unique_ptr<Impl> impl, std::string address);

  std::unique_ptr<Impl> impl_;
  const std::string address_;
};

}  // namespace tidemark
