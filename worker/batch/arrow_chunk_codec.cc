#include "worker/batch/arrow_chunk_codec.h"

#include <arrow/buffer.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/options.h>
#include <arrow/ipc/reader.h>
#include <arrow/ipc/writer.h>
#include <arrow/record_batch.h>
#include <arrow/result.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace tidemark {
namespace {

arrow::Result<std::shared_ptr<arrow::Buffer>> Encode(const arrow::RecordBatch& batch) {
  auto options = arrow::ipc::IpcWriteOptions::Defaults();
  options.use_threads = false;
  int64_t size = 0;
  ARROW_RETURN_NOT_OK(arrow::ipc::GetRecordBatchSize(batch, options, &size));
  // The size is known but for the schema: sized right, the buffer is never grown by copying.
  ARROW_ASSIGN_OR_RAISE(auto sink, arrow::io::BufferOutputStream::Create(size + (64 << 10)));
  ARROW_ASSIGN_OR_RAISE(auto writer, arrow::ipc::MakeStreamWriter(sink, batch.schema(), options));
  ARROW_RETURN_NOT_OK(writer->WriteRecordBatch(batch));
  ARROW_RETURN_NOT_OK(writer->Close());
  return sink->Finish();
}

arrow::Result<std::shared_ptr<arrow::RecordBatch>> Decode(std::string stream) {
  auto options = arrow::ipc::IpcReadOptions::Defaults();
  options.use_threads = false;
  auto source = std::make_shared<arrow::io::BufferReader>(arrow::Buffer::FromString(std::move(stream)));
  ARROW_ASSIGN_OR_RAISE(auto reader, arrow::ipc::RecordBatchStreamReader::Open(source, options));
  std::shared_ptr<arrow::RecordBatch> batch;
  ARROW_RETURN_NOT_OK(reader->ReadNext(&batch));
  if (batch == nullptr) return arrow::Status::Invalid("the stream holds no batch");
  return batch;
}

}  // namespace

absl::StatusOr<std::shared_ptr<arrow::Buffer>> EncodeArrowChunk(const Chunk& chunk) {
  auto encoded = Encode(*chunk.arrow());
  if (!encoded.ok()) {
    return absl::InternalError(absl::StrCat("cannot write an Arrow batch as a stream: ", encoded.status().ToString()));
  }
  return *std::move(encoded);
}

std::string_view BytesOf(const arrow::Buffer& buffer) {
  return std::string_view(reinterpret_cast<const char*>(buffer.data()), static_cast<size_t>(buffer.size()));
}

absl::StatusOr<Chunk> DecodeArrowChunk(std::string stream) {
  auto decoded = Decode(std::move(stream));
  if (!decoded.ok()) return absl::DataLossError(absl::StrCat("not an Arrow stream: ", decoded.status().ToString()));
  return Chunk::FromArrow(*std::move(decoded));
}

}  // namespace tidemark
