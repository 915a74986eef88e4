#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "tidemark/v1/worker_control.pb.h"

namespace tidemark::coordinator {

// What a simulated cluster reads and writes: exact models of a source and of targets, with the fences and ledgers of
// real ones.

// Rows 1, 2, 3, ...; row n has key n and watermark n. Rows are only ever added.
struct SimulatedSource {
  struct Session {
    std::string owner;  // RateKey of the worker.
    std::string connection;
    // Its DSN.
    std::string server;
    // Rows its snapshot shows; absent outside of one.
    std::optional<int64_t> snapshot_rows;
    bool reading = false;
    // The owner died: the server ends the session then (monotonic).
    absl::Duration dies_at = absl::InfiniteDuration();
  };
  int64_t rows = 0;
  // Rows that each replica, by its DSN, has replayed.
  std::map<std::string, int64_t> replayed;
  std::map<std::string, Session> sessions;
  // By snapshot: the session that exports it.
  std::map<std::string, std::string> exporters;
  // Tasks that came with a session that another one was reading on.
  int shared_sessions = 0;
  // Sessions that were to import a snapshot of another server.
  int foreign_imports = 0;

  int64_t RowsOn(const std::string& server) const {
    const auto replica = replayed.find(server);
    return replica == replayed.end() ? rows : replica->second;
  }
};

struct LedgerRow {
  std::string run_id;
  int64_t sequence = 0;
  v1::WindowKind kind = v1::WINDOW_KIND_UNSPECIFIED;
  int64_t high = 0;
  std::string cluster_id;
  std::string job_uid;
  v1::RowCounts counts;
};

// One target table with its control tables. Every method is one transaction.
class SimulatedTarget {
 public:
  // `fence_epoch` of the error if the fence refuses. The window says whether the table may be taken from another owner.
  std::optional<v1::TaskError> Prepare(const v1::Task& task);
  // Stages the rows of a partition; true if an earlier attempt had.
  std::optional<v1::TaskError> Move(const v1::Task& task, const std::vector<int64_t>& rows, v1::MoveResult& result);
  std::optional<v1::TaskError> Commit(const v1::Task& task, v1::CommitResult& result);
  v1::ProbeResult Probe(const v1::Task& task) const;
  std::optional<v1::TaskError> Abort(const v1::Task& task);
  v1::LedgerHead Head() const;

  const std::vector<LedgerRow>& ledger() const { return ledger_; }
  // Keys in the order they were loaded.
  const std::vector<int64_t>& table() const { return table_; }
  std::vector<LedgerRow>& mutable_ledger() { return ledger_; }

 private:
  std::optional<v1::TaskError> CheckFence(const v1::Task& task);
  bool Owns(const v1::Task& task) const;
  // The chain of whoever loaded the table last becomes the task's job's.
  void AdoptChain(const v1::Task& task);
  const LedgerRow* Find(const std::string& run_id) const;

  // Nobody's at first.
  std::string cluster_id_;
  std::string job_uid_;
  int64_t fence_ = 0;
  // By run, by partition.
  std::map<std::string, std::map<int, std::vector<int64_t>>> staging_;
  std::vector<LedgerRow> ledger_;
  std::vector<int64_t> table_;
};

v1::Watermark SimulatedWatermark(int64_t value);
int64_t ValueOf(const v1::Watermark& watermark);
v1::TaskError SimulatedError(int code, const std::string& message, bool retryable);

// Keys of the window's rows that lie in the range, of a source that shows `rows` rows.
std::vector<int64_t> RowsOf(const v1::MoveWork& work, const v1::JobSpec& job, int64_t rows);

}  // namespace tidemark::coordinator
