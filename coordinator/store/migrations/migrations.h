#pragma once

#include <string_view>

#include "absl/types/span.h"

namespace tidemark::coordinator {

// One step of the store's schema. Numbers start at 1 and have no gaps; a step that was released is never changed, and
// there is no way back. `sql` keeps to what SQLite and PostgreSQL both read; what only one of them does follows it.
struct Migration {
  int number;
  std::string_view name;
  std::string_view sql;
  std::string_view sqlite = {};
  std::string_view postgres = {};
};

// All of them, in order.
absl::Span<const Migration> Migrations();

}  // namespace tidemark::coordinator
