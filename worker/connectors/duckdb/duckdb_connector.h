#pragma once

#include <memory>
#include <string>

#include "worker/connector/connector.h"

namespace tidemark::duckdb {

// DuckDB files, as sources and as targets. DSN: duckdb:PATH (duckdb:///PATH is read as /PATH). A local file: all sessions on it must
// be in one process; it is open only while sessions are.
class DuckdbConnector final : public Connector {
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

}  // namespace tidemark::duckdb
