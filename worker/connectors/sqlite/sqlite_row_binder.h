#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tidemark/v1/values.pb.h"

struct sqlite3_stmt;

namespace arrow {
class Array;
class RecordBatch;
}  // namespace arrow

namespace tidemark::sqlite {

// Binds the rows of Arrow batches to an INSERT, spelled so that SQLite keeps them exactly: decimals and times as text
// (instants in UTC with "+00:00", so that texts with and without a fraction sort by time), booleans as 0 and 1, UUIDs
// as text. What SQLite has no value for is an error naming the column: NaN (it would become NULL), integers beyond 64
// bits with a sign, years outside 0001 to 9999, decimals of more than 15 digits for a column of numeric affinity, texts
// and blobs above its limit, and NULL for a table's rowid (it would become a number). A negative zero becomes zero.
class RowBinder {
 public:
  // `declared`: the types of the columns written to, one per column of `schema`. `rowid_column`: the one that is the
  // table's rowid (INTEGER PRIMARY KEY); empty if there is none.
  static absl::StatusOr<std::unique_ptr<RowBinder>> Create(const v1::TableSchema& schema,
                                                           const std::vector<std::string>& declared,
                                                           absl::string_view rowid_column);
  ~RowBinder();

  // The batch must outlive the steps of its rows: texts are bound where they lie. InvalidArgument if it is of another
  // schema.
  absl::Status Start(const arrow::RecordBatch& batch);
  // Binds row `row` of the batch to the parameters from `first_parameter` on.
  absl::Status Bind(int64_t row, sqlite3_stmt* statement, int first_parameter);

  // What has become of one value: bound, or SQLite's code for why not, or what the value is that SQLite cannot hold.
  struct Bound {
    Bound(int sqlite_code) : code(sqlite_code) {}           // NOLINT: a cell returns what sqlite3_bind_* does
    Bound(const char* too_much) : cannot_hold(too_much) {}  // NOLINT: or this
    int code = 0;
    const char* cannot_hold = nullptr;
  };
  // One column.
  class Cell {
   public:
    virtual ~Cell() = default;
    virtual void Start(const arrow::Array& array) = 0;
    virtual Bound Bind(int64_t row, sqlite3_stmt* statement, int parameter) = 0;
  };

 private:
  RowBinder() = default;

  v1::TableSchema schema_;
  std::vector<std::unique_ptr<Cell>> cells_;
  std::vector<const arrow::Array*> arrays_;
  // -1: none.
  int rowid_column_ = -1;
};

}  // namespace tidemark::sqlite
