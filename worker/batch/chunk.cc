#include "worker/batch/chunk.h"

#include <utility>

namespace tidemark {

Chunk Chunk::FromPgTuples(std::string tuples, int64_t rows) {
  Chunk chunk;
  chunk.format_ = v1::CHUNK_FORMAT_PG_COPY_BINARY;
  chunk.rows_ = rows;
  chunk.bytes_ = static_cast<int64_t>(tuples.capacity());
  chunk.tuples_ = std::make_shared<const std::string>(std::move(tuples));
  return chunk;
}

}  // namespace tidemark
