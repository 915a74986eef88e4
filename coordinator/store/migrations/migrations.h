#pragma once

#include <string_view>

#include "absl/types/span.h"

namespace tidemark::coordinator {

// One step of the store's schema. Numbers start at 1 and have no gaps; a step that was released is never changed, and
// there is no way back. The SQL keeps to what SQLite and PostgreSQL both read.
struct Migration {
  int number;
  std::string_view name;
  std::string_view sql;
};

// All of them, in order.
absl::Span<const Migration> Migrations();

}  // namespace tidemark::coordinator
