#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tidemark/v1/values.pb.h"

struct sqlite3_stmt;

namespace arrow {
class Array;
class RecordBatch;
}  // namespace arrow

namespace tidemark::sqlite {

// Binds the rows of Arrow batches to an INSERT, spelled so that SQLite keeps them exactly: decimals and times as text
// (instants in UTC with
// "+00:00", so that texts with and without a fraction sort by time), booleans as 0 and 1, UUIDs as text. What SQLite
// has no value for is an error naming the column: NaN (it would become NULL), integers beyond 64 bits with a sign,
// years outside 0001 to 9999, and decimals of more than 15 digits for a column of numeric affinity. A negative zero
// becomes zero.
class RowBinder {
 public:
  // `declared`: the types of the columns written to, one per column of `schema`.
  static absl::StatusOr<std::unique_ptr<RowBinder>> Create(const v1::TableSchema& schema,
                                                           const std::vector<std::string>& declared);
  ~RowBinder();

  // The batch must outlive the steps of its rows: texts are bound where they lie. InvalidArgument if it is of another
  // schema.
  absl::Status Start(const arrow::RecordBatch& batch);
  // Binds row `row` of the batch to the parameters from `first_parameter` on.
  absl::Status Bind(int64_t row, sqlite3_stmt* statement, int first_parameter);

  // One column.
  class Cell {
   public:
    virtual ~Cell() = default;
    virtual void Start(const arrow::Array& array) = 0;
    // nullptr, or what SQLite cannot hold.
    virtual const char* Bind(int64_t row, sqlite3_stmt* statement, int parameter) = 0;
  };

 private:
  RowBinder() = default;

  v1::TableSchema schema_;
  std::vector<std::unique_ptr<Cell>> cells_;
  std::vector<const arrow::Array*> arrays_;
};

}  // namespace tidemark::sqlite
