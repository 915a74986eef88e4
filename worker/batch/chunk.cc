#include "worker/batch/chunk.h"

#include <arrow/record_batch.h>
#include <arrow/util/byte_size.h>

#include <utility>

namespace tidemark {

Chunk Chunk::FromArrow(std::shared_ptr<arrow::RecordBatch> batch) {
  Chunk chunk;
  chunk.format_ = v1::CHUNK_FORMAT_ARROW;
  chunk.rows_ = batch->num_rows();
  chunk.bytes_ = arrow::util::TotalBufferSize(*batch);
  chunk.batch_ = std::move(batch);
  return chunk;
}

Chunk Chunk::FromPgTuples(std::string tuples, int64_t rows) {
  Chunk chunk;
  chunk.format_ = v1::CHUNK_FORMAT_PG_COPY_BINARY;
  chunk.rows_ = rows;
  chunk.bytes_ = static_cast<int64_t>(tuples.capacity());
  chunk.tuples_ = std::make_shared<const std::string>(std::move(tuples));
  return chunk;
}

}  // namespace tidemark
