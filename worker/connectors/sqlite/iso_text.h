#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include "absl/strings/string_view.h"

namespace tidemark::sqlite {

// Dates and times as SQLite's users write them: text in the ISO 8601 profile its date functions read. Years 0001 to
// 9999.

struct TimestampText {
  // Since 1970-01-01 00:00:00 of the reading; if it names an offset, in UTC.
  int64_t micros = 0;
  int fraction_digits = 0;
  char separator = ' ';
  bool has_seconds = true;
  // "", "Z" or "+hh:mm".
  absl::string_view suffix;
};

// "YYYY-MM-DD HH:MM[:SS[.f…]]" with ' ' or 'T' between and an optional "Z" or "+hh:mm". A fraction beyond microseconds
// is no match unless its further digits are zeros.
std::optional<TimestampText> ParseTimestamp(absl::string_view text);
// "YYYY-MM-DD", as days since 1970-01-01.
std::optional<int32_t> ParseDate(absl::string_view text);
// "HH:MM[:SS[.f…]]", as microseconds since midnight; 24:00:00 is inside.
std::optional<int64_t> ParseTime(absl::string_view text);

// False if the year is outside 0001 to 9999; nothing is appended then.
bool AppendDate(int64_t days, std::string* out);
// With no fractional digits, three or six, as the value needs: such texts sort by time, also with "+00:00" behind them.
bool AppendTimestamp(int64_t micros, char separator, std::string* out);
void AppendTime(int64_t micros, std::string* out);

// Orders two texts as the values they hold: instants and dates by time whatever their spelling, decimal numbers by
// value, all else by bytes. Negative, zero or positive.
int CompareByValue(absl::string_view a, absl::string_view b);

}  // namespace tidemark::sqlite
