#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tidemark/v1/values.pb.h"

namespace tidemark::generator {

// A table that is a formula: every value of row `index` follows from (seed, index), so that any part of it can be read
// by anyone, any number of times, and checked without having been kept.
class GeneratedTable {
 public:
  // "rows=1000000&seed=7&row_bytes=200", each part optional; what the text leaves out is taken from `defaults`.
  static absl::StatusOr<GeneratedTable> Parse(absl::string_view text, const GeneratedTable& defaults);
  GeneratedTable() = default;

  // id bigint (primary key) · name text · amount decimal(18,2) · flag boolean · quantity integer, NULL in every 16th
  // row · created_at, updated_at timestamptz · payload text of row_bytes.
  static v1::TableSchema Schema();

  int64_t rows() const { return rows_; }
  int64_t row_bytes() const { return row_bytes_; }
  // Two tables of one identity hold the same rows.
  std::string Identity() const;

  // Rows are numbered from 0. Each function is the column's value.
  int64_t Id(int64_t index) const { return index + 1; }
  std::string Name(int64_t index) const;
  int64_t AmountInCents(int64_t index) const;
  bool Flag(int64_t index) const;
  bool HasQuantity(int64_t index) const { return index % 16 != 15; }
  int32_t Quantity(int64_t index) const;
  // Microseconds since 1970, ascending with the index: a row is created every second and updated within it.
  int64_t CreatedAt(int64_t index) const;
  int64_t UpdatedAt(int64_t index) const;
  void AppendPayload(int64_t index, std::string* out) const;

  // Index of the first row updated after `micros`; rows() if there is none.
  int64_t FirstUpdatedAfter(int64_t micros) const;

 private:
  uint64_t Chance(int64_t index, uint64_t column) const;

  int64_t rows_ = 1000;
  int64_t seed_ = 1;
  int64_t row_bytes_ = 100;
};

}  // namespace tidemark::generator
