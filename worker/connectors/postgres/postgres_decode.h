#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tidemark/v1/values.pb.h"
#include "worker/batch/chunk.h"
#include "worker/connectors/postgres/postgres_source_type.h"

namespace tidemark::postgres {

// One column of a binary COPY as it is selected for Arrow (ArrowExpression).
struct DecodedColumn {
  v1::Column column;
  // Of the column itself; those selected as text arrive as text.
  uint32_t type_oid = 0;
  // Not checked by the server: a "char" is any byte. (Of a SQL_ASCII database the server itself refuses what is not
  // UTF-8.)
  bool check_utf8 = false;
};

// Gathers tuples of a binary COPY (PostgreSQL manual, COPY, "Binary Format") into Arrow record batches. A value that
// its Arrow type cannot hold (infinity, NaN in a decimal, an instant beyond int64 microseconds) is InvalidArgument,
// naming column and value.
class TupleDecoder {
 public:
  static absl::StatusOr<std::unique_ptr<TupleDecoder>> Create(const std::vector<DecodedColumn>& columns);
  virtual ~TupleDecoder() = default;

  // One tuple: int16 field count, then int32 length and bytes per field.
  virtual absl::Status Append(std::string_view tuple) = 0;
  // The tuples since the last Take, as one chunk.
  virtual absl::StatusOr<Chunk> Take() = 0;
};

}  // namespace tidemark::postgres
