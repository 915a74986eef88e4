#include "tests/conformance/target_driver.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/base/status_macros.h"

namespace tidemark::conformance {
namespace {

v1::Watermark WatermarkOf(int64_t seconds) {
  v1::Watermark watermark;
  watermark.set_type("timestamptz");
  watermark.set_precision(6);
  watermark.set_text(absl::FormatTime("%Y-%m-%d %H:%M:%S+00", absl::FromUnixSeconds(seconds), absl::UTCTimeZone()));
  return watermark;
}

}  // namespace

TargetDriver::TargetDriver(StoreUnderTest& store, v1::LoadStrategy strategy)
    : store_(store), connection_(store.NewDatabase()) {
  job_ = ReadJob("events", "w");
  job_.mutable_target()->set_strategy(strategy);
  if (strategy == v1::LOAD_STRATEGY_UPSERT) job_.mutable_target()->add_key("id");
}

std::unique_ptr<TargetSession> TargetDriver::Open() const {
  auto session = store_.connector().OpenTarget(connection_, job_, {});
  if (!session.ok()) {
    std::fprintf(stderr, "OpenTarget: %s\n", session.status().ToString().c_str());
    std::abort();
  }
  return *std::move(session);
}

RunIdentity TargetDriver::Run(const std::string& id, int64_t sequence, int64_t epoch) const {
  return {.cluster_id = "cluster", .job_uid = "job", .run_id = id, .epoch = epoch, .sequence = sequence};
}

v1::Window TargetDriver::WindowOf(v1::WindowKind kind, int64_t low, int64_t high) {
  v1::Window window;
  window.set_kind(kind);
  if (low >= 0) *window.mutable_low() = WatermarkOf(low);
  if (high >= 0) *window.mutable_high() = WatermarkOf(high);
  return window;
}

absl::Status TargetDriver::Prepare(const RunIdentity& run, TakeOver take_over) const {
  return Open()->Prepare(run, RowSchema(), take_over);
}

absl::StatusOr<MoveOutcome> TargetDriver::Move(const RunIdentity& run, int partition,
                                               const std::vector<Row>& rows) const {
  std::vector<Chunk> chunks;
  if (!rows.empty()) chunks.push_back(RowChunk(rows));
  return MoveChunks(run, partition, RowSchema(), chunks);
}

absl::StatusOr<MoveOutcome> TargetDriver::MoveChunks(const RunIdentity& run, int partition,
                                                     const v1::TableSchema& schema,
                                                     const std::vector<Chunk>& chunks) const {
  const auto session = Open();
  TM_ASSIGN_OR_RETURN(const auto writer, session->BeginMove(run, partition, schema, v1::CHUNK_FORMAT_ARROW));
  for (const Chunk& chunk : chunks) TM_RETURN_IF_ERROR(writer->Write(chunk));
  return writer->Commit();
}

absl::StatusOr<v1::CommitResult> TargetDriver::Commit(const RunIdentity& run, const v1::Window& window,
                                                      const std::vector<int64_t>& rows_per_partition,
                                                      const v1::TableSchema& schema) const {
  v1::CommitWork work;
  *work.mutable_window() = window;
  *work.mutable_schema() = schema;
  for (size_t i = 0; i < rows_per_partition.size(); ++i) {
    v1::StagedMove* move = work.add_moves();
    move->set_partition(static_cast<int>(i));
    move->set_rows(rows_per_partition[i]);
  }
  return Open()->Commit(run, work);
}

absl::StatusOr<v1::CommitResult> TargetDriver::Load(const RunIdentity& run, const v1::Window& window,
                                                    const std::vector<std::vector<Row>>& partitions,
                                                    TakeOver take_over) const {
  TM_RETURN_IF_ERROR(Prepare(run, take_over));
  std::vector<int64_t> rows;
  for (size_t i = 0; i < partitions.size(); ++i) {
    TM_ASSIGN_OR_RETURN(const MoveOutcome outcome, Move(run, static_cast<int>(i), partitions[i]));
    rows.push_back(outcome.rows);
  }
  return Commit(run, window, rows);
}

absl::StatusOr<v1::ProbeResult> TargetDriver::Probe(const RunIdentity& run) const { return Open()->Probe(run); }

std::vector<Cells> TargetDriver::Loaded() const {
  const auto session = store_.connector().OpenSource(connection_, ReadJob(job_.target().table()), {});
  if (!session.ok()) return {};
  auto request = EverythingOf(**session);
  if (!request.ok()) return {};
  auto rows = ReadRows(**session, *request);
  if (!rows.ok()) {
    std::fprintf(stderr, "reading the target: %s\n", rows.status().ToString().c_str());
    std::abort();
  }
  std::sort(rows->begin(), rows->end());
  return *std::move(rows);
}

std::vector<std::string> TargetDriver::Tables() const {
  std::vector<std::string> names;
  for (const auto& row : Sql()->Query(store_.UserTables())) names.push_back(row.at(0));
  return names;
}

int64_t TargetDriver::CountControl(const std::string& table, const std::string& condition) const {
  const auto sql = Sql();
  return std::stoll(
      Scalar(*sql, absl::StrCat("SELECT count(*) FROM ", store_.ControlTable(table), " WHERE ", condition)));
}

std::string Balance(const v1::RowCounts& counts) {
  std::map<std::string, int64_t> reasons(counts.filtered_by_reason().begin(), counts.filtered_by_reason().end());
  std::string why;
  for (const auto& [reason, rows] : reasons) absl::StrAppend(&why, why.empty() ? " (" : ", ", reason, " ", rows);
  return absl::StrCat("read ", counts.read(), " = loaded ", counts.loaded(), " + filtered ", counts.filtered(), why,
                      why.empty() ? "" : ")", " + quarantined ", counts.quarantined());
}

}  // namespace tidemark::conformance
