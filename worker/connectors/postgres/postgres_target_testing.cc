#include "worker/connectors/postgres/postgres_target_testing.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/record_batch.h>

#include <cstdlib>
#include <iostream>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/batch/arrow_schema.h"
#include "worker/connectors/postgres/postgres_connection.h"
#include "worker/connectors/postgres/postgres_target.h"

namespace tidemark::postgres {
namespace {

template <typename T>
T OrDie(absl::StatusOr<T> value) {
  if (!value.ok()) {
    std::cerr << value.status() << std::endl;
    std::abort();
  }
  return *std::move(value);
}

void OrDie(const arrow::Status& status) {
  if (!status.ok()) {
    std::cerr << status.ToString() << std::endl;
    std::abort();
  }
}

std::shared_ptr<arrow::Array> Finish(arrow::ArrayBuilder& builder) {
  std::shared_ptr<arrow::Array> array;
  OrDie(builder.Finish(&array));
  return array;
}

}  // namespace

v1::Column MakeColumn(const std::string& name, v1::LogicalType::Kind kind, const std::string& native, bool nullable) {
  v1::Column column;
  column.set_name(name);
  column.mutable_type()->set_kind(kind);
  if (kind == v1::LogicalType::KIND_TIMESTAMPTZ || kind == v1::LogicalType::KIND_TIMESTAMP ||
      kind == v1::LogicalType::KIND_TIME) {
    column.mutable_type()->set_scale(6);
  }
  column.set_native_type(native);
  column.set_wire_type(kind == v1::LogicalType::KIND_OTHER ? "text" : native);
  column.set_nullable(nullable);
  return column;
}

v1::TableSchema EventSchema() {
  v1::TableSchema schema;
  *schema.add_columns() = MakeColumn("id", v1::LogicalType::KIND_INT64, "bigint");
  *schema.add_columns() = MakeColumn("note", v1::LogicalType::KIND_STRING, "text");
  *schema.add_columns() = MakeColumn("w", v1::LogicalType::KIND_TIMESTAMPTZ, "timestamp with time zone");
  return schema;
}

Chunk EventChunk(const std::vector<Event>& events) {
  arrow::Int64Builder ids;
  arrow::StringBuilder notes;
  arrow::TimestampBuilder ws(arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), arrow::default_memory_pool());
  for (const Event& event : events) {
    OrDie(event.id ? ids.Append(*event.id) : ids.AppendNull());
    OrDie(event.note ? notes.Append(*event.note) : notes.AppendNull());
    OrDie(event.w ? ws.Append(*event.w * 1'000'000) : ws.AppendNull());
  }
  return Chunk::FromArrow(arrow::RecordBatch::Make(OrDie(ArrowSchema(EventSchema())),
                                                   static_cast<int64_t>(events.size()),
                                                   {Finish(ids), Finish(notes), Finish(ws)}));
}

Chunk WireChunk(const std::string& dsn, const std::string& query) {
  auto connection = OrDie(Connection::Open(dsn, SessionOptions(), ConnectionSettings()));
  const absl::Status begun = connection->BeginCopyOut(absl::StrCat("COPY (", query, ") TO STDOUT (FORMAT binary)"));
  if (!begun.ok()) OrDie<int>(begun);
  // The header of 19 bytes comes before the first tuple, the trailer after the last one.
  std::string data;
  while (true) {
    const std::optional<std::string_view> message = OrDie(connection->ReadCopy());
    if (!message.has_value()) break;
    data.append(*message);
  }
  data = data.substr(19, data.size() - 21);
  int64_t rows = 0;
  for (size_t at = 0; at < data.size(); ++rows) {
    const int fields = static_cast<uint8_t>(data[at]) << 8 | static_cast<uint8_t>(data[at + 1]);
    at += 2;
    for (int field = 0; field < fields; ++field) {
      uint32_t length = 0;
      for (int i = 0; i < 4; ++i) length = length << 8 | static_cast<uint8_t>(data[at + i]);
      at += 4 + (length == 0xFFFFFFFF ? 0 : length);
    }
  }
  return Chunk::FromPgTuples(std::move(data), rows);
}

v1::Watermark At(const std::string& text) {
  v1::Watermark watermark;
  watermark.set_type("timestamptz");
  watermark.set_text(text);
  watermark.set_precision(6);
  return watermark;
}

v1::Window WindowOf(v1::WindowKind kind, const std::string& low, const std::string& high) {
  v1::Window window;
  window.set_kind(kind);
  if (!low.empty()) *window.mutable_low() = At(low);
  if (!high.empty()) *window.mutable_high() = At(high);
  return window;
}

TargetJob::TargetJob(std::string dsn, v1::LoadStrategy strategy) : dsn_(std::move(dsn)) {
  job_.set_name("events");
  job_.mutable_source()->set_watermark("w");
  job_.mutable_target()->set_table("public.events");
  job_.mutable_target()->set_strategy(strategy);
  if (strategy == v1::LOAD_STRATEGY_UPSERT) job_.mutable_target()->add_key("id");
}

RunIdentity TargetJob::Run(const std::string& id, int64_t sequence, int64_t epoch) const {
  return RunIdentity{"cluster-a", "job-1", id, epoch, sequence};
}

std::unique_ptr<TargetSession> TargetJob::Open() const {
  v1::ConnectionSpec connection;
  connection.set_dsn(dsn_);
  SessionOptions options;
  options.application_name = "tidemark test";
  return OrDie(OpenPostgresTarget(connection, job_, options));
}

absl::StatusOr<v1::CommitWork> TargetJob::Stage(const RunIdentity& run, const v1::TableSchema& schema,
                                                const v1::Window& window, const std::vector<Chunk>& chunks,
                                                TakeOver take_over) const {
  const auto session = Open();
  TM_RETURN_IF_ERROR(session->Prepare(run, schema, take_over));
  v1::CommitWork work;
  *work.mutable_window() = window;
  *work.mutable_schema() = schema;
  if (chunks.empty()) return work;
  TM_ASSIGN_OR_RETURN(auto writer, session->BeginMove(run, 0, schema, chunks.front().format()));
  for (const Chunk& chunk : chunks) TM_RETURN_IF_ERROR(writer->Write(chunk));
  TM_ASSIGN_OR_RETURN(const MoveOutcome outcome, writer->Commit());
  v1::StagedMove* move = work.add_moves();
  move->set_partition(0);
  move->set_rows(outcome.rows);
  return work;
}

absl::StatusOr<v1::CommitResult> TargetJob::Load(const RunIdentity& run, const v1::TableSchema& schema,
                                                 const v1::Window& window, const std::vector<Chunk>& chunks) const {
  TM_ASSIGN_OR_RETURN(const v1::CommitWork work, Stage(run, schema, window, chunks));
  return Open()->Commit(run, work);
}

absl::StatusOr<v1::CommitResult> TargetJob::Load(const RunIdentity& run, const v1::Window& window,
                                                 const std::vector<Event>& events, TakeOver take_over) const {
  TM_ASSIGN_OR_RETURN(const v1::CommitWork work, Stage(run, EventSchema(), window, {EventChunk(events)}, take_over));
  return Open()->Commit(run, work);
}

std::string Balance(const v1::RowCounts& counts) {
  std::string reasons;
  // Sorted: a protobuf map has no order.
  const std::map<std::string, int64_t> by_reason(counts.filtered_by_reason().begin(),
                                                 counts.filtered_by_reason().end());
  for (const auto& [reason, rows] : by_reason)
    absl::StrAppend(&reasons, reasons.empty() ? " (" : ", ", reason, " ", rows);
  if (!reasons.empty()) reasons += ")";
  return absl::StrCat("read ", counts.read(), " = loaded ", counts.loaded(), " + filtered ", counts.filtered(), reasons,
                      " + quarantined ", counts.quarantined());
}

}  // namespace tidemark::postgres
