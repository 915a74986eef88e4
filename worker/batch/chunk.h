#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "tidemark/v1/values.pb.h"

namespace arrow {
class RecordBatch;
}

namespace tidemark {

// A run of rows on its way from a source to a target: an Arrow record batch, or undecoded wire frames. Cheap to copy
// (the payload is shared and immutable); safe to read from several threads.
class Chunk {
 public:
  Chunk() = default;

  static Chunk FromArrow(std::shared_ptr<arrow::RecordBatch> batch);

  // `tuples` is a sequence of whole PostgreSQL binary COPY tuples (int16 field count, then int32 length and bytes per
  // field: PostgreSQL manual, COPY, "Binary Format"), without the file header and without the trailer.
  static Chunk FromPgTuples(std::string tuples, int64_t rows);

  v1::ChunkFormat format() const { return format_; }
  int64_t rows() const { return rows_; }
  // Memory the payload holds, in bytes.
  int64_t bytes() const { return bytes_; }

  // Valid only for the matching format.
  const std::shared_ptr<arrow::RecordBatch>& arrow() const { return batch_; }
  const std::string& pg_tuples() const { return *tuples_; }

 private:
  v1::ChunkFormat format_ = v1::CHUNK_FORMAT_UNSPECIFIED;
  int64_t rows_ = 0;
  int64_t bytes_ = 0;
  std::shared_ptr<arrow::RecordBatch> batch_;
  std::shared_ptr<const std::string> tuples_;
};

}  // namespace tidemark
