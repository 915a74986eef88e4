#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include "absl/strings/string_view.h"

namespace tidemark::sqlite {

// The digits of `text` (a plain decimal number, no exponent) scaled by 10^scale, with a leading '-' where negative and
// without leading zeros: "-12.5" at scale 2 is "-1250". nullopt if it is no number, has more fractional digits than
// `scale` that are not zeros, or more than `precision` digits.
std::optional<std::string> UnscaledDigits(absl::string_view text, int precision, int scale);

// The reverse: "-1250" at scale 2 is "-12.50".
std::string ScaledText(absl::string_view digits, int scale);

// The shortest plain decimal that reads back as `value`. Empty for NaN and infinities.
std::string ShortestDecimal(double value);

// A REAL as the decimal its writer meant: the shortest text that reads back as it or, if that has more fractional
// digits than `scale` and differs only by rounding noise, the 15 significant digits SQLite itself prints. nullopt if
// neither fits.
std::optional<std::string> RealAsUnscaledDigits(double value, int precision, int scale);

// What UnscaledDigits and RealAsUnscaledDigits would say, as a number, for the common case of at most 15 digits;
// nullopt sends the caller to them.
std::optional<int64_t> QuickUnscaled(int64_t value, int precision, int scale);
std::optional<int64_t> QuickUnscaled(double value, int precision, int scale);

// Significant digits of a plain decimal number.
int SignificantDigits(absl::string_view text);

}  // namespace tidemark::sqlite
