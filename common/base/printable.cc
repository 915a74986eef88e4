#include "common/base/printable.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "common/base/utf8.h"

namespace tidemark {
namespace {

bool IsContinuation(char byte) { return (byte & 0xc0) == 0x80; }

bool MayBeShown(uint32_t code) {
  if (code == '\t') return true;
  if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return false;
  const bool turns_direction = (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
  return !turns_direction && code != 0x2028 && code != 0x2029;
}

std::string Escape(std::string_view text, bool keep_newlines) {
  std::string shown;
  while (!text.empty()) {
    const auto [size, code] = FirstUtf8Character(text);
    const std::string_view character = text.substr(0, size == 0 ? 1 : size);
    text.remove_prefix(character.size());
    if (size > 0 && (MayBeShown(code) || (keep_newlines && code == '\n'))) {
      shown.append(character);
    } else if (size > 0 && (code == '\n' || code == '\r')) {
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
