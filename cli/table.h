#pragma once

#include <string>
#include <vector>

#include "cli/value.h"

namespace tidemark::cli {

struct TableColumn {
  // Of the record's field.
  std::string field;
  std::string heading;
  bool right_aligned = false;
};

// Rows under their headings, columns as wide as they need, no trailing blanks. Only the fields with a column are shown.
// Where that is wider than `width` (0: any), the widest columns are cut, with an ellipsis, until it fits; never the
// first, which names the row, and none below its heading.
std::string ToTable(const std::vector<Value::Record>& rows, const std::vector<TableColumn>& columns, int width = 0);

}  // namespace tidemark::cli
