#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "tidemark/v1/spec.pb.h"
#include "worker/connector/connector.h"
#include "worker/connector/source.h"
#include "worker/connectors/postgres/postgres_connection.h"
#include "worker/connectors/postgres/postgres_read_sql.h"
#include "worker/connectors/postgres/postgres_relation.h"

namespace tidemark::postgres {

// A session on a PostgreSQL source; see SourceSession. Every transaction is READ ONLY and marked as a reader, so that
// it does not hold back the horizon of other jobs. While the session holds a snapshot and nothing is read, a thread of
// its own sends a statement now and then: the server may then end the session soon after this process has stopped, and
// does not while it lives.
class PostgresSource final : public SourceSession {
 public:
  static absl::StatusOr<std::unique_ptr<SourceSession>> Open(const v1::ConnectionSpec& connection,
                                                             const v1::JobSpec& job, const SessionOptions& options);
  // With other timeouts than the usual ones.
  static absl::StatusOr<std::unique_ptr<SourceSession>> Open(const v1::ConnectionSpec& connection,
                                                             const v1::JobSpec& job, const SessionOptions& options,
                                                             const ServerTimeouts& timeouts);
  ~PostgresSource() override;

  absl::StatusOr<SourceDescription> Describe() override;
  absl::StatusOr<std::string> Identity() override;
  absl::StatusOr<HorizonProbe> ProbeHorizon(const std::optional<LastWindow>& last) override;
  absl::StatusOr<std::string> Position() override;
  absl::StatusOr<absl::Duration> AwaitPosition(std::string_view position, absl::Duration limit) override;
  absl::StatusOr<bool> MayHoldRowsAbove(const v1::Watermark& high) override;
  absl::StatusOr<bool> IsAbove(const v1::Watermark& value, const v1::Watermark& bound) override;
  absl::StatusOr<bool> HorizonReached(const v1::Watermark& until) override;
  absl::StatusOr<int64_t> CountNullWatermarks() override;
  absl::StatusOr<std::string> OpenSnapshot() override;
  absl::Status ImportSnapshot(std::string_view snapshot) override;
  absl::StatusOr<std::vector<v1::PartitionFacts>> DescribePartitions(const v1::Window& window, std::string_view by,
                                                                     int wanted) override;
  absl::StatusOr<std::unique_ptr<ChunkReader>> Read(const ReadRequest& request) override;
  void Cancel() override;

 private:
  PostgresSource(std::unique_ptr<Connection> connection, v1::JobSpec job, int64_t max_rows_per_second)
      : connection_(std::move(connection)), job_(std::move(job)), max_rows_per_second_(max_rows_per_second) {}

  // The relation, read from the catalog once.
  absl::Status Load() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // And what it reads, by the server's plan.
  absl::Status LoadReads() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status LoadWithWatermark() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckIdle() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckOutsideSnapshot() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What an error means where a snapshot may have gone with it.
  absl::Status Explain(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::string> CopySql(const ReadRequest& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Keeps the relation from being truncated or replaced, which no snapshot sees through: its rows would be gone.
  absl::Status LockRelation() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status BeginRead() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // `read`: how the reading went. Ends what BeginRead began; a snapshot survives a failed read.
  absl::Status EndRead(const absl::Status& read) ABSL_LOCKS_EXCLUDED(mutex_);
  void StayAlive() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void KeepAlive();

  const std::unique_ptr<Connection> connection_;
  const v1::JobSpec job_;
  const int64_t max_rows_per_second_;

  // Held during every statement but a COPY's, so that the thread that keeps the session alive comes between none.
  absl::Mutex mutex_;
  std::optional<Relation> relation_ ABSL_GUARDED_BY(mutex_);
  std::optional<ReadSql> sql_ ABSL_GUARDED_BY(mutex_);
  bool in_snapshot_ ABSL_GUARDED_BY(mutex_) = false;
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<std::thread> keeper_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tidemark::postgres
