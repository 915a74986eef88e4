#pragma once

#include <cstddef>
#include <string_view>

#include "absl/status/status.h"

// Reading a user's SQL far enough to know what is SQL in it and what is not. Takes the quotes of all dialects for
// quotes: '...', "...", `...`, E'...' and $tag$...$tag$.
namespace tidemark {

// A letter, digit or underscore, or a part of a character beyond ASCII.
bool IsNameByte(char c);

// Past the string, quoted name or comment that starts at `i`; `i` itself if none does.
size_t SkipOpaqueSql(std::string_view sql, size_t i);

// OK for what reads as one SELECT; else InvalidArgument says what it is instead: another statement, several, one that
// writes or locks, or has an open quote, comment or parenthesis. What no quote hides and no server would call a SELECT
// is all it finds: the server has the last word.
absl::Status CheckSelect(std::string_view query);

// Whether the query itself, not a subquery of it, has a LIMIT, OFFSET or FETCH.
bool LimitsRows(std::string_view query);

}  // namespace tidemark
