#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/batch/chunk.h"
#include "worker/connector/source.h"
#include "worker/connectors/postgres/postgres_connection.h"
#include "worker/connectors/postgres/postgres_decode.h"

namespace tidemark::postgres {

// Gathers the rows of a binary COPY TO STDOUT that has begun on `connection`.
class CopyReader final : public ChunkReader {
 public:
  struct Options {
    // Of a chunk: rows are gathered until either is reached.
    int64_t bytes = 1 << 20;
    int64_t rows = INT64_MAX;
  };
  // Called once, when reading is over: with OK after the last row, with the error that ended it, or with Cancelled when
  // the reader is destroyed before its end. What it returns is the reader's last word.
  using Ended = std::function<absl::Status(absl::Status)>;

  // `decoder` null: chunks are undecoded tuples.
  CopyReader(Connection* connection, std::unique_ptr<TupleDecoder> decoder, const Options& options, Ended ended);
  ~CopyReader() override;

  absl::StatusOr<std::optional<Chunk>> Next() override;

 private:
  absl::StatusOr<std::optional<Chunk>> Gather();
  // The next tuple, without what frames the file; nullopt after the last.
  absl::StatusOr<std::optional<std::string_view>> NextTuple();

  Connection* const connection_;
  const std::unique_ptr<TupleDecoder> decoder_;
  const Options options_;
  Ended ended_;
  bool header_read_ = false;
  // The server has said that the copy is over, well or not.
  bool drained_ = false;
  bool trailer_read_ = false;
  absl::Status error_;
};

}  // namespace tidemark::postgres
