#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "worker/batch/chunk.h"

namespace arrow {
class Buffer;
}

namespace tidemark {

// The batch as one Arrow IPC stream, schema included: it can be read without anything else.
absl::StatusOr<std::shared_ptr<arrow::Buffer>> EncodeArrowChunk(const Chunk& chunk);
std::string_view BytesOf(const arrow::Buffer& buffer);

// The chunk refers to `stream`, without a copy. DataLoss if it is no such stream of one batch.
absl::StatusOr<Chunk> DecodeArrowChunk(std::string stream);

}  // namespace tidemark
