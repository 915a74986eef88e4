#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "worker/batch/chunk.h"

namespace tidemark::postgres {

// What the column a field is loaded into asks of its text, beyond its Arrow type.
struct ColumnEncoding {
  // For messages.
  std::string name;
  // The column holds more than a float32 does: print the double the value is equal to, not the shortest text that only
  // a real reads back as the same value.
  bool widen_float = false;
  // Characters a character(n) or character varying(n) holds; 0: any number. Longer text is an error here, because the
  // server would drop trailing blanks silently.
  int64_t max_characters = 0;
};

// Appends the rows of an Arrow chunk to `out` in the text format of COPY (PostgreSQL manual, COPY, "Text Format": tabs,
// \N, backslash escapes), for a session in UTC and UTF-8 with ISO dates. Every value is written so that the server
// reads back exactly what it was: floats by their shortest round trip, decimals digit by digit, instants with their
// offset, years as far as Arrow counts. InvalidArgument names the column whose value a PostgreSQL type cannot hold
// (text with a zero character).
absl::Status EncodeCopyText(const Chunk& chunk, const std::vector<ColumnEncoding>& columns, std::string* out);

}  // namespace tidemark::postgres
