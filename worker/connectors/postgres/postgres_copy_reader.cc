#include "worker/connectors/postgres/postgres_copy_reader.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "common/base/status_macros.h"

namespace tidemark::postgres {
namespace {

// PostgreSQL manual, COPY, "Binary Format": signature, flags, length of an extension; a field count of -1 ends the
// file.
constexpr std::string_view kSignature("PGCOPY\n\377\r\n\0", 11);
constexpr size_t kFixedHeader = 11 + 4 + 4;
constexpr std::string_view kTrailer("\377\377", 2);

}  // namespace

CopyReader::CopyReader(Connection* connection, std::unique_ptr<TupleDecoder> decoder, const Options& options,
                       Ended ended)
    : connection_(connection), decoder_(std::move(decoder)), options_(options), ended_(std::move(ended)) {}

CopyReader::~CopyReader() {
  if (ended_ == nullptr) return;
  if (!drained_) connection_->AbandonCopyOut();
  (void)ended_(absl::CancelledError("the reader was closed before its end"));
}

absl::StatusOr<std::optional<Chunk>> CopyReader::Next() {
  if (!error_.ok()) return error_;
  if (ended_ == nullptr) return std::nullopt;
  absl::StatusOr<std::optional<Chunk>> chunk = Gather();
  if (chunk.ok() && chunk->has_value()) return chunk;
  if (!drained_) connection_->AbandonCopyOut();
  drained_ = true;
  error_ = std::exchange(ended_, nullptr)(chunk.status());
  if (!error_.ok()) return error_;
  return std::nullopt;
}

absl::StatusOr<std::optional<Chunk>> CopyReader::Gather() {
  std::string tuples;
  int64_t bytes = 0;
  int64_t rows = 0;
  while (bytes < options_.bytes && rows < options_.rows) {
    TM_ASSIGN_OR_RETURN(const std::optional<std::string_view> tuple, NextTuple());
    if (!tuple.has_value()) break;
    if (decoder_ != nullptr) {
      TM_RETURN_IF_ERROR(decoder_->Append(*tuple));
    } else {
      // Room for the row that passes the limit, so that an ordinary chunk is one allocation. A row that is a chunk by
      // itself may be as large as 1 GB: it gets what it takes and no more.
      const auto limit = static_cast<size_t>(options_.bytes);
      if (tuple->size() >= limit) {
        tuples.reserve(tuples.size() + tuple->size());
      } else if (tuples.empty()) {
        tuples.reserve(limit + std::min(limit, 4 * tuple->size()));
      }
      tuples.append(*tuple);
    }
    bytes += static_cast<int64_t>(tuple->size());
    ++rows;
  }
  if (rows == 0) return std::nullopt;
  if (decoder_ != nullptr) return decoder_->Take();
  if (tuples.capacity() > 2 * tuples.size()) tuples.shrink_to_fit();
  return Chunk::FromPgTuples(std::move(tuples), rows);
}

absl::StatusOr<std::optional<std::string_view>> CopyReader::NextTuple() {
  while (!drained_) {
    absl::StatusOr<std::optional<std::string_view>> message = connection_->ReadCopy();
    if (!message.ok() || !message->has_value()) {
      drained_ = true;
      if (!message.ok()) return message.status();
      if (!trailer_read_) return absl::DataLossError("the server ended a binary COPY without its trailer");
      return std::nullopt;
    }
    std::string_view tuple = **message;
    if (!header_read_) {
      // The server sends the header in one message with the first tuple.
      if (tuple.size() < kFixedHeader || tuple.substr(0, kSignature.size()) != kSignature) {
        return absl::InternalError("the server's COPY does not start with the binary signature");
      }
      uint32_t extension = 0;
      for (size_t i = kFixedHeader - 4; i < kFixedHeader; ++i)
        extension = extension << 8 | static_cast<unsigned char>(tuple[i]);
      if (tuple.size() - kFixedHeader < extension)
        return absl::InternalError("the header of a binary COPY is cut short");
      tuple.remove_prefix(kFixedHeader + extension);
      header_read_ = true;
      if (tuple.empty()) continue;
    }
    if (tuple == kTrailer) {
      trailer_read_ = true;
      continue;
    }
    return tuple;
  }
  return std::nullopt;
}

}  // namespace tidemark::postgres
