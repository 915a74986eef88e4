#include <arrow/record_batch.h>
#include <arrow/util/byte_size.h>

#include <utility>

#include "worker/batch/chunk.h"

namespace tidemark {

Chunk Chunk::FromArrow(std::shared_ptr<arrow::RecordBatch> batch) {
  Chunk chunk;
  chunk.format_ = v1::CHUNK_FORMAT_ARROW;
  chunk.rows_ = batch->num_rows();
  chunk.bytes_ = arrow::util::TotalBufferSize(*batch);
  chunk.batch_ = std::move(batch);
  return chunk;
}

}  // namespace tidemark
