#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tidemark {

// `text` as a terminal or a log may show it, on one line: control characters (C0, DEL, C1), bytes that are no UTF-8 and
// the marks that turn the direction of text around become \n, \r or \xNN. A tab stays.
std::string Printable(std::string_view text);
// The same line by line.
std::string PrintableLines(std::string_view text);

// At most about `bytes` of it, the middle left out; cuts no UTF-8 character.
std::string Elided(std::string_view text, size_t bytes);

}  // namespace tidemark
