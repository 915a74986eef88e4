#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/conformance/arrow_rows.h"
#include "tests/conformance/store_under_test.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/connector/target.h"

namespace tidemark::conformance {

// One job on one target table, driven run by run as a worker would. A session that cannot be opened ends the test
// program.
class TargetDriver {
 public:
  TargetDriver(StoreUnderTest& store, v1::LoadStrategy strategy);

  v1::JobSpec& job() { return job_; }
  const v1::ConnectionSpec& connection() const { return connection_; }
  std::unique_ptr<TargetSession> Open() const;
  std::unique_ptr<SqlSession> Sql() const { return store_.Open(connection_); }

  RunIdentity Run(const std::string& id, int64_t sequence, int64_t epoch = 1) const;
  // [low, high] in seconds since 1970; negative: absent.
  static v1::Window WindowOf(v1::WindowKind kind, int64_t low, int64_t high);

  absl::Status Prepare(const RunIdentity& run, TakeOver take_over = TakeOver::kNothing) const;
  // One move on a session of its own.
  absl::StatusOr<MoveOutcome> Move(const RunIdentity& run, int partition, const std::vector<Row>& rows) const;
  absl::StatusOr<MoveOutcome> MoveChunks(const RunIdentity& run, int partition, const v1::TableSchema& schema,
                                         const std::vector<Chunk>& chunks) const;
  absl::StatusOr<v1::CommitResult> Commit(const RunIdentity& run, const v1::Window& window,
                                          const std::vector<int64_t>& rows_per_partition,
                                          const v1::TableSchema& schema = RowSchema()) const;
  // All of it: partition i holds partitions[i].
  absl::StatusOr<v1::CommitResult> Load(const RunIdentity& run, const v1::Window& window,
                                        const std::vector<std::vector<Row>>& partitions,
                                        TakeOver take_over = TakeOver::kNothing) const;
  absl::StatusOr<v1::ProbeResult> Probe(const RunIdentity& run) const;

  // The target table through the store's own source, sorted; empty if it does not exist.
  std::vector<Cells> Loaded() const;
  // What there is beside Tidemark's control tables.
  std::vector<std::string> Tables() const;
  int64_t CountControl(const std::string& table, const std::string& condition) const;

 private:
  StoreUnderTest& store_;
  v1::ConnectionSpec connection_;
  v1::JobSpec job_;
};

// "read 3 = loaded 2 + filtered 1 (superseded 1) + quarantined 0"
std::string Balance(const v1::RowCounts& counts);

}  // namespace tidemark::conformance
