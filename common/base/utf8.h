#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace tidemark {

// A well-formed UTF-8 character at the start of a text (Unicode 15, table 3-7). Its size is 0 if there is none.
struct Utf8Character {
  size_t size = 0;
  uint32_t code = 0;
};
Utf8Character FirstUtf8Character(std::string_view text);

// Where the first byte that belongs to no character stands; npos if there is none.
size_t FindInvalidUtf8(std::string_view text);

// `text` with U+FFFD for each such byte. A proto3 string that is not UTF-8 is refused by whoever parses it, and the
// whole message with it.
std::string ValidUtf8(std::string_view text);

}  // namespace tidemark
