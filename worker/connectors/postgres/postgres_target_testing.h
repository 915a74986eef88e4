#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tidemark/v1/spec.pb.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/batch/chunk.h"
#include "worker/connector/target.h"

namespace tidemark::postgres {

// A row of the table the target's tests load: events(id bigint, note text, w timestamptz).
struct Event {
  std::optional<int64_t> id;
  std::optional<std::string> note;
  // Seconds since 1970.
  std::optional<int64_t> w;
};

v1::Column MakeColumn(const std::string& name, v1::LogicalType::Kind kind, const std::string& native,
                      bool nullable = true);
v1::TableSchema EventSchema();
// As Arrow.
Chunk EventChunk(const std::vector<Event>& events);
// The tuples of a query's result, as COPY sends them.
Chunk WireChunk(const std::string& dsn, const std::string& query);

// A watermark of column w.
v1::Watermark At(const std::string& text);
// A window of w; empty text: open.
v1::Window WindowOf(v1::WindowKind kind, const std::string& low, const std::string& high);

// One job on one target table, run by run, as a worker would drive it. Aborts the test process if a session cannot be
// opened.
class TargetJob {
 public:
  explicit TargetJob(std::string dsn, v1::LoadStrategy strategy = v1::LOAD_STRATEGY_INCREMENTAL);

  v1::JobSpec& spec() { return job_; }
  RunIdentity Run(const std::string& id, int64_t sequence, int64_t epoch = 1) const;
  std::unique_ptr<TargetSession> Open() const;

  // Prepare and one move of `chunks`; returns the work to commit.
  absl::StatusOr<v1::CommitWork> Stage(const RunIdentity& run, const v1::TableSchema& schema, const v1::Window& window,
                                       const std::vector<Chunk>& chunks, TakeOver take_over = TakeOver::kNothing) const;
  // Stage and commit.
  absl::StatusOr<v1::CommitResult> Load(const RunIdentity& run, const v1::TableSchema& schema, const v1::Window& window,
                                        const std::vector<Chunk>& chunks) const;
  absl::StatusOr<v1::CommitResult> Load(const RunIdentity& run, const v1::Window& window,
                                        const std::vector<Event>& events,
                                        TakeOver take_over = TakeOver::kNothing) const;

 private:
  std::string dsn_;
  v1::JobSpec job_;
};

// "read 3 = loaded 2 + filtered 1 (superseded 1) + quarantined 0"
std::string Balance(const v1::RowCounts& counts);

}  // namespace tidemark::postgres
