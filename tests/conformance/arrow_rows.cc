#include "tests/conformance/arrow_rows.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/record_batch.h>
#include <arrow/scalar.h>
#include <arrow/util/decimal.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/batch/arrow_schema.h"

namespace tidemark::conformance {
namespace {

using Type = v1::LogicalType;

void Must(const arrow::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  std::abort();
}

v1::Column* AddColumn(const char* name, Type::Kind kind, const char* native, v1::TableSchema* schema) {
  v1::Column* column = schema->add_columns();
  column->set_name(name);
  column->set_native_type(native);
  column->set_nullable(true);
  column->mutable_type()->set_kind(kind);
  return column;
}

// Physical ranges, from even cuts of the blocks.
std::vector<v1::KeyRange> BlockRanges(const v1::PartitionFacts& facts) {
  constexpr int kRanges = 5;
  std::vector<v1::KeyRange> ranges;
  for (int i = 0; i < kRanges; ++i) {
    v1::KeyRange& range = ranges.emplace_back();
    range.set_partitioning(facts.partitioning());
    if (i > 0) range.mutable_lower()->add_values(absl::StrCat(facts.blocks() * i / kRanges));
    if (i + 1 < kRanges) range.mutable_upper()->add_values(absl::StrCat(facts.blocks() * (i + 1) / kRanges));
  }
  return ranges;
}

}  // namespace

v1::TableSchema RowSchema() {
  v1::TableSchema schema;
  AddColumn("id", Type::KIND_INT64, "bigint", &schema);
  AddColumn("note", Type::KIND_STRING, "text", &schema);
  v1::Column* amount = AddColumn("amount", Type::KIND_DECIMAL, "numeric(18,2)", &schema);
  amount->mutable_type()->set_precision(18);
  amount->mutable_type()->set_scale(2);
  AddColumn("w", Type::KIND_TIMESTAMPTZ, "timestamptz", &schema)->mutable_type()->set_scale(6);
  return schema;
}

Chunk RowChunk(const std::vector<Row>& rows) {
  const v1::TableSchema schema = RowSchema();
  arrow::Int64Builder id;
  arrow::StringBuilder note;
  arrow::Decimal128Builder amount(ArrowType(schema.columns(2).type()));
  arrow::TimestampBuilder w(ArrowType(schema.columns(3).type()), arrow::default_memory_pool());
  for (const Row& row : rows) {
    Must(row.id ? id.Append(*row.id) : id.AppendNull());
    Must(row.note ? note.Append(*row.note) : note.AppendNull());
    Must(row.cents ? amount.Append(arrow::Decimal128(*row.cents)) : amount.AppendNull());
    Must(row.w ? w.Append(*row.w * 1'000'000) : w.AppendNull());
  }
  arrow::ArrayVector arrays(4);
  Must(id.Finish(&arrays[0]));
  Must(note.Finish(&arrays[1]));
  Must(amount.Finish(&arrays[2]));
  Must(w.Finish(&arrays[3]));
  return Chunk::FromArrow(
      arrow::RecordBatch::Make(*ArrowSchema(schema), static_cast<int64_t>(rows.size()), std::move(arrays)));
}

std::vector<Cells> RowCells(const std::vector<Row>& rows) {
  return rows.empty() ? std::vector<Cells>() : TextRows(RowChunk(rows));
}

std::vector<Cells> TextRows(const Chunk& chunk) {
  const auto& batch = chunk.arrow();
  std::vector<Cells> rows(static_cast<size_t>(chunk.rows()));
  for (int column = 0; column < batch->num_columns(); ++column) {
    // Arrow's full check holds 24:00 for no time of day; our mapping lets it in.
    const auto& array = batch->column(column);
    Must(array->type_id() == arrow::Type::TIME64 ? array->Validate() : array->ValidateFull());
    for (int64_t row = 0; row < batch->num_rows(); ++row) {
      rows[static_cast<size_t>(row)].push_back((*array->GetScalar(row))->ToString());
    }
  }
  return rows;
}

absl::StatusOr<std::vector<Chunk>> ReadChunks(SourceSession& session, const ReadRequest& request) {
  TM_ASSIGN_OR_RETURN(const auto reader, session.Read(request));
  std::vector<Chunk> chunks;
  while (true) {
    TM_ASSIGN_OR_RETURN(std::optional<Chunk> chunk, reader->Next());
    if (!chunk) return chunks;
    if (chunk->rows() == 0) return absl::InternalError("an empty chunk");
    chunks.push_back(*std::move(chunk));
  }
}

absl::StatusOr<std::vector<Cells>> ReadRows(SourceSession& session, const ReadRequest& request) {
  TM_ASSIGN_OR_RETURN(const std::vector<Chunk> chunks, ReadChunks(session, request));
  std::vector<Cells> rows;
  for (const Chunk& chunk : chunks) {
    for (Cells& row : TextRows(chunk)) rows.push_back(std::move(row));
  }
  return rows;
}

absl::StatusOr<ReadRequest> EverythingOf(SourceSession& session) {
  TM_ASSIGN_OR_RETURN(const SourceDescription description, session.Describe());
  ReadRequest request;
  request.schema = description.schema;
  return request;
}

std::vector<v1::KeyRange> RangesOf(const v1::PartitionFacts& facts) {
  if (facts.partitioning() == v1::PARTITIONING_PHYSICAL) return BlockRanges(facts);
  std::vector<v1::KeyRange> ranges;
  for (int i = 0; i <= facts.quantiles_size(); ++i) {
    v1::KeyRange& range = ranges.emplace_back();
    range.set_partitioning(facts.partitioning());
    *range.mutable_columns() = facts.columns();
    if (i > 0) *range.mutable_lower() = facts.quantiles(i - 1);
    if (i < facts.quantiles_size()) *range.mutable_upper() = facts.quantiles(i);
  }
  if (facts.nullable()) {
    v1::KeyRange& range = ranges.emplace_back();
    range.set_partitioning(facts.partitioning());
    *range.mutable_columns() = facts.columns();
    range.set_nulls(true);
  }
  return ranges;
}

}  // namespace tidemark::conformance
