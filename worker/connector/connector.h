#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "tidemark/v1/spec.pb.h"
#include "worker/connector/source.h"
#include "worker/connector/target.h"

namespace tidemark {

// What every session is opened with.
struct SessionOptions {
  // For pg_stat_activity and its like: "tidemark JOB RUN".
  std::string application_name = "tidemark";
  absl::Duration connect_timeout = absl::Seconds(10);
};

// One kind of store. Stateless but for what its stores force on it (a local file's single handle); thread-safe.
class Connector {
 public:
  virtual ~Connector() = default;

  // InvalidArgument if the DSN cannot be one of this kind of store; says how it is written and never repeats a part of
  // it that may be secret. Connects nowhere.
  virtual absl::Status CheckDsn(const std::string& dsn) const = 0;

  // Unimplemented for a store that is only a target, or only a source.
  virtual absl::StatusOr<std::unique_ptr<SourceSession>> OpenSource(const v1::ConnectionSpec& connection,
                                                                    const v1::JobSpec& job,
                                                                    const SessionOptions& options) = 0;
  virtual absl::StatusOr<std::unique_ptr<TargetSession>> OpenTarget(const v1::ConnectionSpec& connection,
                                                                    const v1::JobSpec& job,
                                                                    const SessionOptions& options) = 0;

  // Connects and asks the server who it is: one line for `connections test`, e.g. "PostgreSQL 15.20, primary".
  virtual absl::StatusOr<std::string> Test(const v1::ConnectionSpec& connection, const SessionOptions& options) = 0;
};

// The connectors by the scheme of their DSNs. Built once at start, then read only; thread-safe after that.
class ConnectorRegistry {
 public:
  // `scheme` without the colon, e.g. "postgresql"; one connector may serve several.
  void Add(std::string scheme, std::shared_ptr<Connector> connector);

  // By the part of the DSN before its first colon. NotFound names the schemes there are, and never repeats the DSN.
  absl::StatusOr<Connector*> Find(std::string_view dsn) const;

 private:
  std::map<std::string, std::shared_ptr<Connector>, std::less<>> connectors_;
};

}  // namespace tidemark
