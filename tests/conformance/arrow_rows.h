#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tidemark/v1/values.pb.h"
#include "worker/batch/chunk.h"
#include "worker/connector/source.h"

namespace tidemark::conformance {

using Cells = std::vector<std::string>;

// A row of the relation the target's tests load: (id bigint, note text, amount decimal(18,2), w timestamptz).
struct Row {
  std::optional<int64_t> id;
  std::optional<std::string> note;
  std::optional<int64_t> cents;
  // Seconds since 1970.
  std::optional<int64_t> w;

  bool operator==(const Row&) const = default;
};

v1::TableSchema RowSchema();
Chunk RowChunk(const std::vector<Row>& rows);
// As TextRows prints them.
std::vector<Cells> RowCells(const std::vector<Row>& rows);

// An Arrow chunk's cells as text, "null" for NULL.
std::vector<Cells> TextRows(const Chunk& chunk);

// Reads everything the request names.
absl::StatusOr<std::vector<Chunk>> ReadChunks(SourceSession& session, const ReadRequest& request);
absl::StatusOr<std::vector<Cells>> ReadRows(SourceSession& session, const ReadRequest& request);
// The request for all columns of the relation, in Arrow.
absl::StatusOr<ReadRequest> EverythingOf(SourceSession& session);

// What the cut points of `facts` make: half-open ranges with open ends and, where the key may be NULL, the range of
// NULLs.
std::vector<v1::KeyRange> RangesOf(const v1::PartitionFacts& facts);

}  // namespace tidemark::conformance
