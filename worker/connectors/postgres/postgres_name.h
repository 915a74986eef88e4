#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace tidemark::postgres {

// "name" with quotes doubled: safe in any statement, whatever the name holds.
std::string QuoteIdentifier(std::string_view name);

// 'text', as standard_conforming_strings (which every session sets) reads it.
std::string QuoteLiteral(std::string_view text);

// A relation as a user writes it: `orders`, `public.orders`, `"My Schema"."Order ""x"""`. Names are taken as given,
// quoted or not: no folding to lower case.
struct QualifiedName {
  // Empty: found through the search path.
  std::string schema;
  std::string name;

  // Quoted, with the schema if there is one.
  std::string Sql() const;
};

// InvalidArgument for an empty part, an unclosed quote, more than two parts, or a part of more than 63 bytes (which
// PostgreSQL would truncate silently to a different name).
absl::StatusOr<QualifiedName> ParseQualifiedName(const std::string& text);

}  // namespace tidemark::postgres
