#pragma once

#include <memory>
#include <string>

#include "worker/connector/connector.h"

namespace tidemark::generator {

// A source of any size that is nowhere: DSN `generator:` or `generator:rows=1000000&seed=7&row_bytes=200`; a job's
// source.table of the same form wins over the DSN. Rows never change and none is ever late, so that its horizon is
// exact and every read is a snapshot.
//
// Also the specimen for a new connector. One needs: a Connector that parses its DSN and opens sessions; a
// SourceSession, a TargetSession, or both, whose headers say what each call owes; a line in
// worker/connectors/builtin.cc; an entry in tests/conformance, which then judges it. What the store cannot do is
// answered Unimplemented, and is absent from its capabilities.
class GeneratorConnector final : public Connector {
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

}  // namespace tidemark::generator
