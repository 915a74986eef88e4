#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tidemark/v1/values.pb.h"
#include "worker/batch/chunk.h"

struct sqlite3_stmt;
struct sqlite3_value;

namespace arrow {
class Schema;
}

namespace tidemark::sqlite {

// SQLite stores whatever bytes it is given as TEXT; Arrow, protocol buffers and every other store demand UTF-8.
bool IsUtf8(absl::string_view text);

// Collects rows of a running statement into an Arrow batch. A value of another storage class than its column's type, or
// outside what the type holds, is an error that names the column and the row: nothing is ever converted to fit.
class RowBatch {
 public:
  // The first columns of the statements given to Append must be those of `schema`, in order.
  static absl::StatusOr<std::unique_ptr<RowBatch>> Create(const v1::TableSchema& schema);
  ~RowBatch();

  // The row the statement stands on. `rowid_column` is the statement's column that holds the rowid, -1 if there is
  // none; errors then count the rows of this reader instead.
  absl::Status Append(sqlite3_stmt* row, int rowid_column);

  int64_t rows() const { return rows_; }
  // An estimate of the memory the rows take.
  int64_t bytes() const { return bytes_; }

  // The rows so far; starts anew.
  absl::StatusOr<Chunk> Finish();

  // A value of the row the statement stands on.
  struct StoredValue {
    sqlite3_value* handle = nullptr;
    // Its storage class (SQLITE_INTEGER, …), as it was before any conversion.
    int storage = 0;
    absl::string_view Text() const;
  };

  // One column's builder.
  class Cells {
   public:
    virtual ~Cells() = default;
    // nullptr, or what the value is not.
    virtual const char* Append(const StoredValue& value) = 0;
    virtual absl::StatusOr<std::shared_ptr<void>> Finish() = 0;
  };

 private:
  RowBatch() = default;
  absl::Status Refuse(sqlite3_stmt* row, int column, int storage, int rowid_column, const char* why) const;

  v1::TableSchema schema_;
  std::shared_ptr<arrow::Schema> arrow_schema_;
  std::vector<std::unique_ptr<Cells>> cells_;
  int64_t fixed_bytes_ = 0;
  int64_t rows_ = 0;
  int64_t bytes_ = 0;
  int64_t rows_before_ = 0;
};

}  // namespace tidemark::sqlite
