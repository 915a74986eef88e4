#include "worker/connectors/sqlite/decimal_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"

namespace tidemark::sqlite {
namespace {

// What a few additions and a multiplication may leave behind the 15 digits a double guarantees.
constexpr double kRoundingNoise = 0x1p-49;

// Any decimal of so many digits survives a double, and so does its power of ten.
constexpr int kQuickDigits = 15;
constexpr std::array<int64_t, kQuickDigits + 1> kPowers = [] {
  std::array<int64_t, kQuickDigits + 1> powers{1};
  for (size_t i = 1; i < powers.size(); ++i) powers[i] = powers[i - 1] * 10;
  return powers;
}();

bool AllDigits(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::optional<std::string> UnscaledDigits(absl::string_view text, int precision, int scale) {
  std::string digits;
  bool negative = false;
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) {
    negative = text.front() == '-';
    text.remove_prefix(1);
  }
  const size_t dot = std::min(text.find('.'), text.size());
  absl::string_view whole = text.substr(0, dot);
  absl::string_view fraction = dot < text.size() ? text.substr(dot + 1) : absl::string_view();
  if ((whole.empty() && fraction.empty()) || !AllDigits(whole) || !AllDigits(fraction)) return std::nullopt;
  while (!whole.empty() && whole.front() == '0') whole.remove_prefix(1);
  while (fraction.size() > static_cast<size_t>(scale) && fraction.back() == '0') fraction.remove_suffix(1);
  if (fraction.size() > static_cast<size_t>(scale)) return std::nullopt;
  digits.reserve(whole.size() + scale + 1);
  absl::StrAppend(&digits, whole, fraction);
  digits.append(scale - fraction.size(), '0');
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size()));
  if (digits.size() > static_cast<size_t>(precision)) return std::nullopt;
  if (digits.empty()) return "0";
  if (negative) digits.insert(digits.begin(), '-');
  return digits;
}

std::string ScaledText(absl::string_view digits, int scale) {
  std::string text;
  if (!digits.empty() && digits.front() == '-') {
    text.push_back('-');
    digits.remove_prefix(1);
  }
  const size_t width = static_cast<size_t>(std::max(scale, 0));
  const std::string padded =
      digits.size() > width ? std::string(digits) : absl::StrCat(std::string(width + 1 - digits.size(), '0'), digits);
  text.append(padded, 0, padded.size() - width);
  if (width > 0) text.append(1, '.').append(padded, padded.size() - width);
  return text;
}

std::string ShortestDecimal(double value) {
  if (!std::isfinite(value)) return "";
  char buffer[400];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed);
  return std::string(buffer, end.ptr);
}

std::optional<std::string> RealAsUnscaledDigits(double value, int precision, int scale) {
  if (!std::isfinite(value)) return std::nullopt;
  if (auto exact = UnscaledDigits(ShortestDecimal(value), precision, scale)) return exact;
  char buffer[40];
  std::snprintf(buffer, sizeof buffer, "%.15g", value);
  const double printed = std::strtod(buffer, nullptr);
  if (std::abs(printed - value) > std::abs(value) * kRoundingNoise) return std::nullopt;
  return UnscaledDigits(ShortestDecimal(printed), precision, scale);
}

std::optional<int64_t> QuickUnscaled(int64_t value, int precision, int scale) {
  if (scale > kQuickDigits) return std::nullopt;
  int64_t unscaled;
  if (__builtin_mul_overflow(value, kPowers[static_cast<size_t>(scale)], &unscaled)) return std::nullopt;
  const int64_t limit = kPowers[static_cast<size_t>(std::min(precision, kQuickDigits))];
  if (unscaled <= -limit || unscaled >= limit) return std::nullopt;
  return unscaled;
}

std::optional<int64_t> QuickUnscaled(double value, int precision, int scale) {
  if (scale > kQuickDigits) return std::nullopt;
  const double power = static_cast<double>(kPowers[static_cast<size_t>(scale)]);
  const double scaled = std::nearbyint(value * power);
  const double limit = static_cast<double>(kPowers[static_cast<size_t>(std::min(precision, kQuickDigits))]);
  // The quotient of two numbers a double holds exactly is rounded as reading the decimal would be: if it is the value,
  // the decimal is what was written. (NaN fails the first comparison.)
  if (!(std::abs(scaled) < limit) || scaled / power != value) return std::nullopt;
  return static_cast<int64_t>(scaled);
}

int SignificantDigits(absl::string_view text) {
  int digits = 0, trailing_zeros = 0;
  for (const char c : text) {
    if (c < '0' || c > '9' || (digits == 0 && c == '0')) continue;
    ++digits;
    trailing_zeros = c == '0' ? trailing_zeros + 1 : 0;
  }
  return digits - trailing_zeros;
}

}  // namespace tidemark::sqlite
