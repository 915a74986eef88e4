#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace tidemark {

// A user's query without its trailing semicolon and white space. InvalidArgument if nothing, or a second statement, is
// left.
absl::StatusOr<std::string> CleanQuery(std::string_view query);

// The query with :last_watermark and :watermark_snapshot replaced wherever they stand as SQL: not in strings, quoted
// names, dollar quotes or comments, and not after the second colon of a cast. InvalidArgument for another :name, which
// nothing binds, unless it can be an array slice or the value of a struct's field.
absl::StatusOr<std::string> BindPlaceholders(std::string_view query, std::string_view low, std::string_view high);

bool HasPlaceholders(std::string_view query);

// (query) AS "source", with the parenthesis safe from a comment at the query's end.
std::string AsSubselect(std::string_view query);

}  // namespace tidemark
