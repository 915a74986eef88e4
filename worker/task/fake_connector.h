#pragma once

// For tests: the fakes behind the scheme "fake:".

#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "worker/connector/connector.h"
#include "worker/task/fake_source.h"
#include "worker/task/fake_target.h"

namespace tidemark::test {

class FakeConnector final : public Connector {
 public:
  FakeConnector(std::shared_ptr<FakeSource> source, std::shared_ptr<FakeTarget> target)
      : source_(std::move(source)), target_(std::move(target)) {}

  absl::Status CheckDsn(const std::string& dsn) const override { return absl::OkStatus(); }
  absl::StatusOr<std::unique_ptr<SourceSession>> OpenSource(const v1::ConnectionSpec& connection,
                                                            const v1::JobSpec& job,
                                                            const SessionOptions& options) override {
    absl::MutexLock lock(&mutex_);
    source_dsn_ = connection.dsn();
    return std::make_unique<FakeSourceSession>(source_);
  }
  absl::StatusOr<std::unique_ptr<TargetSession>> OpenTarget(const v1::ConnectionSpec& connection,
                                                            const v1::JobSpec& job,
                                                            const SessionOptions& options) override {
    {
      absl::MutexLock lock(&mutex_);
      target_dsn_ = connection.dsn();
    }
    return FakeTargetSession::Open(target_);
  }
  absl::StatusOr<std::string> Test(const v1::ConnectionSpec& connection, const SessionOptions& options) override {
    return std::string("a fake");
  }

  // What the last session was opened with.
  std::string source_dsn() const {
    absl::MutexLock lock(&mutex_);
    return source_dsn_;
  }
  std::string target_dsn() const {
    absl::MutexLock lock(&mutex_);
    return target_dsn_;
  }

 private:
  const std::shared_ptr<FakeSource> source_;
  const std::shared_ptr<FakeTarget> target_;
  mutable absl::Mutex mutex_;
  std::string source_dsn_ ABSL_GUARDED_BY(mutex_);
  std::string target_dsn_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tidemark::test
