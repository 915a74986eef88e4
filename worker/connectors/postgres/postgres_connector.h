#pragma once

#include <memory>
#include <string>

#include "worker/connector/connector.h"

namespace tidemark::postgres {

// PostgreSQL as source and as target: the schemes postgresql: and postgres:.
class PostgresConnector final : public Connector {
 public:
  absl::Status CheckDsn(const std::string& dsn) const override;
  absl::StatusOr<std::unique_ptr<SourceSession>> OpenSource(const v1::ConnectionSpec& connection,
                                                            const v1::JobSpec& job,
                                                            const SessionOptions& options) override;
  absl::StatusOr<std::unique_ptr<TargetSession>> OpenTarget(const v1::ConnectionSpec& connection,
                                                            const v1::JobSpec& job,
                                                            const SessionOptions& options) override;
  absl::StatusOr<std::string> Test(const v1::ConnectionSpec& connection, const SessionOptions& options) override;
};

}  // namespace tidemark::postgres
