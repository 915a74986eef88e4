#pragma once

#include <cstddef>
#include <string_view>

// Reading a user's SQL far enough to know what is SQL in it and what is not. Takes the quotes of all dialects for
// quotes: '...', "...", `...`, E'...' and $tag$...$tag$.
namespace tidemark {

// A letter, digit or underscore, or a part of a character beyond ASCII.
bool IsNameByte(char c);

// Past the string, quoted name or comment that starts at `i`; `i` itself if none does.
size_t SkipOpaqueSql(std::string_view sql, size_t i);

// Whether the query itself, not a subquery of it, has a LIMIT, OFFSET or FETCH.
bool LimitsRows(std::string_view query);

}  // namespace tidemark
