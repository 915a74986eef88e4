#include "worker/connectors/generator/generator_source.h"

#include <arrow/array/array_base.h>
#include <arrow/array/builder_binary.h>
#include <arrow/array/builder_decimal.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/array/builder_time.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <arrow/util/decimal.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/base/status_macros.h"
#include "worker/batch/arrow_schema.h"

namespace tidemark::generator {
namespace {

constexpr int64_t kChunkBytes = 1 << 20;
constexpr char kTimeFormat[] = "%Y-%m-%d %H:%M:%E6S%Ez";

// A run of row numbers: [begin, end).
struct Span {
  int64_t begin = 0;
  int64_t end = 0;
};

v1::Watermark WatermarkOf(const GeneratedTable& table, const std::string& column, int64_t index) {
  v1::Watermark watermark;
  if (column == "id") {
    watermark.set_type("bigint");
    watermark.set_text(absl::StrCat(table.Id(index)));
  } else {
    watermark.set_type("timestamptz");
    watermark.set_precision(6);
    watermark.set_text(
        absl::FormatTime(kTimeFormat, absl::FromUnixMicros(table.UpdatedAt(index)), absl::UTCTimeZone()));
  }
  return watermark;
}

// Number of the first row above `watermark`.
absl::StatusOr<int64_t> FirstAbove(const GeneratedTable& table, const std::string& column,
                                   const v1::Watermark& watermark) {
  if (column == "id") {
    int64_t id = 0;
    if (!absl::SimpleAtoi(watermark.text(), &id))
      return absl::InvalidArgumentError(absl::StrCat("the watermark '", watermark.text(), "' is no id"));
    return std::clamp<int64_t>(id, 0, table.rows());
  }
  absl::Time time;
  std::string error;
  if (!absl::ParseTime(kTimeFormat, watermark.text(), &time, &error)) {
    return absl::InvalidArgumentError(absl::StrCat("the watermark '", watermark.text(), "' is no instant: ", error));
  }
  return table.FirstUpdatedAfter(absl::ToUnixMicros(time));
}

// Writes one column's values for a run of rows.
absl::StatusOr<std::shared_ptr<arrow::Array>> FillColumn(const GeneratedTable& table, const v1::Column& column,
                                                         Span rows) {
  arrow::Status status;
  std::shared_ptr<arrow::Array> array;
  const auto fill = [&](auto builder, const auto& append) {
    status = builder.Reserve(rows.end - rows.begin);
    for (int64_t row = rows.begin; row < rows.end && status.ok(); ++row) status = append(builder, row);
    if (status.ok()) status = builder.Finish(&array);
  };
  arrow::MemoryPool* pool = arrow::default_memory_pool();
  const std::string& name = column.name();
  std::string text;
  if (name == "id") {
    fill(arrow::Int64Builder(), [&](auto& builder, int64_t row) { return builder.Append(table.Id(row)); });
  } else if (name == "name") {
    fill(arrow::StringBuilder(), [&](auto& builder, int64_t row) { return builder.Append(table.Name(row)); });
  } else if (name == "amount") {
    fill(arrow::Decimal128Builder(ArrowType(column.type())),
         [&](auto& builder, int64_t row) { return builder.Append(arrow::Decimal128(table.AmountInCents(row))); });
  } else if (name == "flag") {
    fill(arrow::BooleanBuilder(), [&](auto& builder, int64_t row) { return builder.Append(table.Flag(row)); });
  } else if (name == "quantity") {
    fill(arrow::Int32Builder(), [&](auto& builder, int64_t row) {
      return table.HasQuantity(row) ? builder.Append(table.Quantity(row)) : builder.AppendNull();
    });
  } else if (name == "created_at") {
    fill(arrow::TimestampBuilder(ArrowType(column.type()), pool),
         [&](auto& builder, int64_t row) { return builder.Append(table.CreatedAt(row)); });
  } else if (name == "updated_at") {
    fill(arrow::TimestampBuilder(ArrowType(column.type()), pool),
         [&](auto& builder, int64_t row) { return builder.Append(table.UpdatedAt(row)); });
  } else if (name == "payload") {
    fill(arrow::StringBuilder(), [&](auto& builder, int64_t row) {
      text.clear();
      table.AppendPayload(row, &text);
      return builder.Append(text);
    });
  } else {
    return absl::NotFoundError(absl::StrCat("a generator has no column ", name));
  }
  if (!status.ok()) return absl::ResourceExhaustedError(status.message());
  return array;
}

class SpanReader final : public ChunkReader {
 public:
  SpanReader(const GeneratedTable& table, v1::TableSchema schema, std::shared_ptr<arrow::Schema> arrow_schema,
             Span span, const std::atomic<bool>& cancelled)
      : table_(table),
        schema_(std::move(schema)),
        arrow_schema_(std::move(arrow_schema)),
        span_(span),
        cancelled_(cancelled) {}

  absl::StatusOr<std::optional<Chunk>> Next() override {
    if (cancelled_) return absl::CancelledError("the read was cancelled");
    if (span_.begin >= span_.end) return std::nullopt;
    const int64_t rows_per_chunk = std::max<int64_t>(1, kChunkBytes / (table_.row_bytes() + 80));
    const Span part{span_.begin, std::min(span_.end, span_.begin + rows_per_chunk)};
    arrow::ArrayVector arrays;
    for (const v1::Column& column : schema_.columns()) {
      TM_ASSIGN_OR_RETURN(arrays.emplace_back(), FillColumn(table_, column, part));
    }
    span_.begin = part.end;
    return Chunk::FromArrow(arrow::RecordBatch::Make(arrow_schema_, part.end - part.begin, std::move(arrays)));
  }

 private:
  const GeneratedTable& table_;
  const v1::TableSchema schema_;
  const std::shared_ptr<arrow::Schema> arrow_schema_;
  Span span_;
  const std::atomic<bool>& cancelled_;
};

class GeneratorSession final : public SourceSession {
 public:
  GeneratorSession(const GeneratedTable& table, std::string watermark)
      : table_(table), watermark_(std::move(watermark)) {}

  absl::StatusOr<SourceDescription> Describe() override {
    SourceDescription description;
    description.schema = GeneratedTable::Schema();
    v1::SourceCapabilities& capabilities = description.capabilities;
    capabilities.set_snapshot(true);
    capabilities.set_snapshot_export(true);
    capabilities.set_horizon(true);
    capabilities.add_partitionings(v1::PARTITIONING_NONE);
    capabilities.add_partitionings(v1::PARTITIONING_KEY);
    capabilities.add_formats(v1::CHUNK_FORMAT_ARROW);
    description.estimated_rows = table_.rows();
    description.estimated_bytes = table_.rows() * (table_.row_bytes() + 80);
    description.identity = table_.Identity();
    return description;
  }

  absl::StatusOr<std::string> Identity() override { return table_.Identity(); }

  absl::StatusOr<HorizonProbe> ProbeHorizon(const std::optional<LastWindow>& last) override {
    if (watermark_.empty()) return absl::UnimplementedError("the job names no watermark");
    HorizonProbe probe;
    probe.completeness.set_level(v1::Completeness::LEVEL_PROVED);
    probe.completeness.add_premises("the rows follow from a formula: none is late");
    if (table_.rows() == 0) {
      if (last) probe.high = last->high;
      probe.empty = true;
      return probe;
    }
    probe.high = WatermarkOf(table_, watermark_, table_.rows() - 1);
    if (last) {
      TM_ASSIGN_OR_RETURN(const int64_t first, FirstAbove(table_, watermark_, last->high));
      probe.empty = first == table_.rows();
      if (last->other_source) {
        probe.completeness.set_level(v1::Completeness::LEVEL_LOOKBACK);
        probe.completeness.add_premises("the last watermark is of another generated table");
      }
    }
    return probe;
  }

  absl::StatusOr<bool> MayHoldRowsAbove(const v1::Watermark& high) override {
    TM_ASSIGN_OR_RETURN(const int64_t first, FirstAbove(table_, watermark_, high));
    return first < table_.rows();
  }

  absl::StatusOr<bool> IsAbove(const v1::Watermark& value, const v1::Watermark& bound) override {
    TM_ASSIGN_OR_RETURN(const int64_t first_above_value, FirstAbove(table_, watermark_, value));
    TM_ASSIGN_OR_RETURN(const int64_t first_above_bound, FirstAbove(table_, watermark_, bound));
    return first_above_value > first_above_bound;
  }
  absl::StatusOr<bool> HorizonReached(const v1::Watermark&) override { return true; }
  absl::StatusOr<int64_t> CountNullWatermarks() override { return 0; }
  absl::StatusOr<std::string> OpenSnapshot() override { return table_.Identity(); }

  absl::Status ImportSnapshot(std::string_view snapshot) override {
    if (snapshot == table_.Identity()) return absl::OkStatus();
    return absl::DataLossError("the snapshot is of another generator");
  }

  absl::StatusOr<std::vector<v1::PartitionFacts>> DescribePartitions(const v1::Window& window, std::string_view by,
                                                                     int wanted) override {
    if (!by.empty() && by != "id") return absl::InvalidArgumentError("a generator is partitioned by id");
    TM_ASSIGN_OR_RETURN(const Span span, SpanOf(window));
    v1::PartitionFacts facts;
    facts.set_partitioning(v1::PARTITIONING_KEY);
    facts.add_columns("id");
    facts.set_immutable(true);
    // Four cuts for each range wanted, so that the planner can choose.
    const int64_t rows = span.end - span.begin;
    const int64_t parts = std::min<int64_t>(rows, 4 * std::max(wanted, 1));
    for (int64_t i = 1; i < parts; ++i)
      facts.add_quantiles()->add_values(absl::StrCat(table_.Id(span.begin + rows * i / parts)));
    return std::vector<v1::PartitionFacts>{facts};
  }

  absl::StatusOr<std::unique_ptr<ChunkReader>> Read(const ReadRequest& request) override {
    if (request.format != v1::CHUNK_FORMAT_ARROW) return absl::InvalidArgumentError("a generator speaks Arrow only");
    TM_ASSIGN_OR_RETURN(Span span, SpanOf(request.window));
    TM_RETURN_IF_ERROR(Narrow(request.range, &span));
    TM_ASSIGN_OR_RETURN(auto arrow_schema, ArrowSchema(request.schema));
    return std::make_unique<SpanReader>(table_, request.schema, std::move(arrow_schema), span, cancelled_);
  }

  void Cancel() override { cancelled_ = true; }

 private:
  absl::StatusOr<Span> SpanOf(const v1::Window& window) const {
    Span span{0, table_.rows()};
    if (window.has_low()) {
      TM_ASSIGN_OR_RETURN(span.begin, FirstAbove(table_, watermark_, window.low()));
    }
    if (window.has_high()) {
      TM_ASSIGN_OR_RETURN(span.end, FirstAbove(table_, watermark_, window.high()));
    }
    span.end = std::max(span.begin, span.end);
    return span;
  }

  absl::Status Narrow(const v1::KeyRange& range, Span* span) const {
    switch (range.partitioning()) {
      case v1::PARTITIONING_NONE:
      case v1::PARTITIONING_UNSPECIFIED:
        return absl::OkStatus();
      case v1::PARTITIONING_KEY:
        break;
      default:
        return absl::InvalidArgumentError("a generator is partitioned by id");
    }
    if (range.columns_size() != 1 || range.columns(0) != "id")
      return absl::InvalidArgumentError("a generator is partitioned by id");
    // No id is NULL.
    if (range.nulls()) span->end = span->begin;
    int64_t id = 0;
    const auto parse = [&](const v1::KeyBound& bound) {
      return bound.values_size() == 1 && absl::SimpleAtoi(bound.values(0), &id);
    };
    if (range.has_lower()) {
      if (!parse(range.lower())) return absl::InvalidArgumentError("a bound of id is no number");
      span->begin = std::max(span->begin, id - 1);
    }
    if (range.has_upper()) {
      if (!parse(range.upper())) return absl::InvalidArgumentError("a bound of id is no number");
      span->end = std::min(span->end, id - 1);
    }
    return absl::OkStatus();
  }

  const GeneratedTable table_;
  const std::string watermark_;
  std::atomic<bool> cancelled_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<SourceSession>> OpenGeneratorSource(const GeneratedTable& table,
                                                                   const std::string& watermark) {
  if (!watermark.empty() && watermark != "id" && watermark != "updated_at") {
    return absl::InvalidArgumentError(absl::StrCat("a generator's watermark is id or updated_at, not ", watermark));
  }
  return std::make_unique<GeneratorSession>(table, watermark);
}

}  // namespace tidemark::generator
