#include "coordinator/run/simulated_stores.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace tidemark::coordinator {

v1::Watermark SimulatedWatermark(int64_t value) {
  v1::Watermark watermark;
  watermark.set_type("bigint");
  watermark.set_text(absl::StrCat(value));
  return watermark;
}

int64_t ValueOf(const v1::Watermark& watermark) {
  int64_t value = 0;
  return absl::SimpleAtoi(watermark.text(), &value) ? value : 0;
}

v1::TaskError SimulatedError(int code, const std::string& message, bool retryable) {
  v1::TaskError error;
  error.set_code(code);
  error.set_message(message);
  error.set_retryable(retryable);
  return error;
}

std::vector<int64_t> RowsOf(const v1::MoveWork& work, const v1::JobSpec& job, int64_t rows) {
  const auto bound = [](const v1::KeyBound& key) {
    int64_t value = 0;
    (void)absl::SimpleAtoi(key.values(0), &value);
    return value;
  };
  const bool everything = job.target().strategy() == v1::LOAD_STRATEGY_FULL;
  std::vector<int64_t> keys;
  for (int64_t key = 1; key <= rows; ++key) {
    if (work.range().has_lower() && key < bound(work.range().lower())) continue;
    if (work.range().has_upper() && key >= bound(work.range().upper())) continue;
    if (!everything && work.window().has_low() && key <= ValueOf(work.window().low())) continue;
    if (!everything && work.window().has_high() && key > ValueOf(work.window().high())) continue;
    keys.push_back(key);
  }
  return keys;
}

bool SimulatedTarget::Owns(const v1::Task& task) const {
  return cluster_id_ == task.cluster_id() && job_uid_ == task.job_uid();
}

std::optional<v1::TaskError> SimulatedTarget::CheckFence(const v1::Task& task) {
  if (!Owns(task))
    return SimulatedError(static_cast<int>(absl::StatusCode::kFailedPrecondition), "another owner's", false);
  if (task.epoch() < fence_) {
    v1::TaskError error = SimulatedError(static_cast<int>(absl::StatusCode::kFailedPrecondition), "fenced out", false);
    error.set_fence_epoch(fence_);
    return error;
  }
  fence_ = task.epoch();
  return std::nullopt;
}

const LedgerRow* SimulatedTarget::Find(const std::string& run_id) const {
  for (const LedgerRow& row : ledger_) {
    if (row.run_id == run_id) return &row;
  }
  return nullptr;
}

void SimulatedTarget::AdoptChain(const v1::Task& task) {
  if (ledger_.empty()) return;
  const std::string cluster_id = ledger_.back().cluster_id;
  const std::string job_uid = ledger_.back().job_uid;
  if (cluster_id == task.cluster_id() && job_uid == task.job_uid()) return;
  int64_t last = 0;
  for (const LedgerRow& row : ledger_) {
    if (row.cluster_id == task.cluster_id() && row.job_uid == task.job_uid()) last = std::max(last, row.sequence);
  }
  for (LedgerRow& row : ledger_) {
    if (row.cluster_id != cluster_id || row.job_uid != job_uid) continue;
    row.cluster_id = task.cluster_id();
    row.job_uid = task.job_uid();
    row.sequence += last;
  }
}

std::optional<v1::TaskError> SimulatedTarget::Prepare(const v1::Task& task) {
  const v1::Window& window = task.describe().window();
  if (!Owns(task) && (cluster_id_.empty() || window.full_refresh() || window.adopt())) {
    cluster_id_ = task.cluster_id();
    job_uid_ = task.job_uid();
    fence_ = 0;
    staging_.clear();
  }
  if (std::optional<v1::TaskError> fenced = CheckFence(task)) return fenced;
  if (window.adopt() && !window.full_refresh()) AdoptChain(task);
  staging_[task.run_id()].clear();
  return std::nullopt;
}

std::optional<v1::TaskError> SimulatedTarget::Move(const v1::Task& task, const std::vector<int64_t>& rows,
                                                   v1::MoveResult& result) {
  if (std::optional<v1::TaskError> fenced = CheckFence(task)) return fenced;
  const auto staging = staging_.find(task.run_id());
  if (staging == staging_.end()) {
    return SimulatedError(static_cast<int>(absl::StatusCode::kNotFound), "no staging", false);
  }
  const auto [move, added] = staging->second.emplace(task.move().partition(), rows);
  result.set_already_done(!added);
  result.mutable_counts()->set_read(static_cast<int64_t>(move->second.size()));
  return std::nullopt;
}

std::optional<v1::TaskError> SimulatedTarget::Commit(const v1::Task& task, v1::CommitResult& result) {
  if (const LedgerRow* done = Find(task.run_id())) {
    *result.mutable_counts() = done->counts;
    result.set_already_done(true);
    return std::nullopt;
  }
  if (std::optional<v1::TaskError> fenced = CheckFence(task)) return fenced;
  const auto refuse = [](const std::string& why) {
    return SimulatedError(static_cast<int>(absl::StatusCode::kFailedPrecondition), why, false);
  };
  const auto staging = staging_.find(task.run_id());
  if (staging == staging_.end()) return refuse("no staging");
  if (static_cast<int>(staging->second.size()) != task.commit().moves_size()) return refuse("moves are missing");
  for (const v1::StagedMove& move : task.commit().moves()) {
    const auto staged = staging->second.find(move.partition());
    if (staged == staging->second.end() || static_cast<int64_t>(staged->second.size()) != move.rows()) {
      return refuse("a move differs from what was reported");
    }
  }
  const v1::Window& window = task.commit().window();
  const bool own =
      !ledger_.empty() && ledger_.back().cluster_id == task.cluster_id() && ledger_.back().job_uid == task.job_uid();
  const int64_t head = own ? ledger_.back().high : 0;
  if (own && task.sequence() <= ledger_.back().sequence) return refuse("superseded");
  if (window.kind() == v1::WINDOW_KIND_WINDOW && ValueOf(window.low()) != head)
    return refuse("not the next of the chain");

  LedgerRow row{.run_id = task.run_id(),
                .sequence = task.sequence(),
                .kind = window.kind(),
                .high = ValueOf(window.high()),
                .cluster_id = task.cluster_id(),
                .job_uid = task.job_uid(),
                .counts = {}};
  if (window.kind() == v1::WINDOW_KIND_FULL) table_.clear();
  for (const auto& [partition, rows] : staging->second) {
    table_.insert(table_.end(), rows.begin(), rows.end());
    row.counts.set_read(row.counts.read() + static_cast<int64_t>(rows.size()));
    row.counts.set_loaded(row.counts.read());
  }
  *result.mutable_counts() = row.counts;
  ledger_.push_back(std::move(row));
  staging_.erase(staging);
  return std::nullopt;
}

v1::ProbeResult SimulatedTarget::Probe(const v1::Task& task) const {
  v1::ProbeResult result;
  if (const LedgerRow* done = Find(task.run_id())) {
    result.set_committed(true);
    *result.mutable_counts() = done->counts;
  }
  result.set_staging_exists(staging_.contains(task.run_id()));
  return result;
}

std::optional<v1::TaskError> SimulatedTarget::Abort(const v1::Task& task) {
  // What the run left is its own, whoever owns the table now.
  if (std::optional<v1::TaskError> fenced = CheckFence(task); fenced.has_value() && Owns(task)) return fenced;
  staging_.erase(task.run_id());
  return std::nullopt;
}

v1::LedgerHead SimulatedTarget::Head() const {
  v1::LedgerHead head;
  if (ledger_.empty()) return head;
  const LedgerRow& last = ledger_.back();
  head.set_exists(true);
  head.set_run_id(last.run_id);
  head.set_sequence(last.sequence);
  head.set_kind(last.kind);
  *head.mutable_high() = SimulatedWatermark(last.high);
  head.set_cluster_id(last.cluster_id);
  head.set_job_uid(last.job_uid);
  return head;
}

}  // namespace tidemark::coordinator
