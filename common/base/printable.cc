#include "common/base/printable.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"

namespace tidemark {
namespace {

bool IsContinuation(char byte) { return (byte & 0xc0) == 0x80; }

// Bytes of the well-formed UTF-8 character at the start of `text`, 0 if there is none. `code` is its code point.
size_t Utf8Length(std::string_view text, uint32_t* code) {
  const auto first = static_cast<uint8_t>(text[0]);
  const size_t length = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
  if (length == 0 || first > 0xf4 || text.size() < length) return 0;
  *code = length == 1 ? first : first & (0x7f >> length);
  for (size_t i = 1; i < length; ++i) {
    if (!IsContinuation(text[i])) return 0;
    *code = *code << 6 | (static_cast<uint8_t>(text[i]) & 0x3f);
  }
  const bool overlong = (length == 3 && *code < 0x800) || (length == 4 && *code < 0x10000);
  return overlong || (*code >= 0xd800 && *code < 0xe000) || *code > 0x10ffff ? 0 : length;
}

bool MayBeShown(uint32_t code) {
  if (code == '\t') return true;
  if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return false;
  const bool turns_direction = (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
  return !turns_direction && code != 0x2028 && code != 0x2029;
}

std::string Escape(std::string_view text, bool keep_newlines) {
  std::string shown;
  while (!text.empty()) {
    uint32_t code = 0;
    const size_t length = Utf8Length(text, &code);
    const std::string_view character = text.substr(0, length == 0 ? 1 : length);
    text.remove_prefix(character.size());
    if (length > 0 && (MayBeShown(code) || (keep_newlines && code == '\n'))) {
      shown.append(character);
    } else if (length > 0 && (code == '\n' || code == '\r')) {
      shown.append(code == '\n' ? "\\n" : "\\r");
    } else {
      for (const char byte : character) {
        absl::StrAppend(&shown, "\\x", absl::Hex(static_cast<uint8_t>(byte), absl::kZeroPad2));
      }
    }
  }
  return shown;
}

}  // namespace

std::string Printable(std::string_view text) { return Escape(text, false); }

std::string PrintableLines(std::string_view text) { return Escape(text, true); }

std::string Elided(std::string_view text, size_t bytes) {
  if (text.size() <= bytes) return std::string(text);
  size_t head = bytes / 2;
  size_t tail = text.size() - bytes / 2;
  while (head > 0 && IsContinuation(text[head])) --head;
  while (tail < text.size() && IsContinuation(text[tail])) ++tail;
  return absl::StrCat(Abs(text.substr(0, head)), "…", Abs(text.substr(tail)));
}

}  // namespace tidemark
