#pragma once

#include <memory>
#include <string>
#include <utility>

#include "worker/connector/connector.h"
#include "worker/connectors/adbc/adbc_driver_library.h"

namespace tidemark::adbc {

// Whatever has an ADBC driver, as a source. DSN: adbc:DRIVER?OPTION=VALUE&..., names and values percent-encoded; the
// parameter entrypoint is not an option but names the driver's entry point.
class AdbcConnector final : public Connector {
 public:
  explicit AdbcConnector(DriverPolicy policy) : policy_(std::move(policy)) {}

  absl::Status CheckDsn(const std::string& dsn) const override;
  absl::StatusOr<std::unique_ptr<SourceSession>> OpenSource(const v1::ConnectionSpec& connection,
                                                            const v1::JobSpec& job,
                                                            const SessionOptions& options) override;
  absl::StatusOr<std::unique_ptr<TargetSession>> OpenTarget(const v1::ConnectionSpec& connection,
                                                            const v1::JobSpec& job,
                                                            const SessionOptions& options) override;
  absl::StatusOr<std::string> Test(const v1::ConnectionSpec& connection, const SessionOptions& options) override;

 private:
  const DriverPolicy policy_;
};

}  // namespace tidemark::adbc
