#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "worker/connector/connector.h"
#include "worker/connector/writer_queue.h"

namespace tidemark::sqlite {

// SQLite files, as sources and as targets. DSN: sqlite:PATH (sqlite:///PATH is read as /PATH). A local file: all
// sessions on it must be in one process, where its writers queue; it is open only while sessions are.
class SqliteConnector final : public Connector {
 public:
  absl::Status CheckDsn(const std::string& dsn) const override;
  absl::StatusOr<std::unique_ptr<SourceSession>> OpenSource(const v1::ConnectionSpec& connection,
                                                            const v1::JobSpec& job,
                                                            const SessionOptions& options) override;
  absl::StatusOr<std::unique_ptr<TargetSession>> OpenTarget(const v1::ConnectionSpec& connection,
                                                            const v1::JobSpec& job,
                                                            const SessionOptions& options) override;
  absl::StatusOr<std::string> Test(const v1::ConnectionSpec& connection, const SessionOptions& options) override;

 private:
  absl::Mutex mutex_;
  // By canonical path; of files that have sessions. SQLite itself would let one of many writers in by chance, after naps.
  std::map<std::string, std::weak_ptr<WriterQueue>> queues_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tidemark::sqlite
