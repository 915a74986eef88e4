#include "worker/connectors/sqlite/iso_text.h"

#include <algorithm>
#include <chrono>
#include <cstddef>

namespace tidemark::sqlite {
namespace {

constexpr int64_t kMicrosPerSecond = 1'000'000;
constexpr int64_t kMicrosPerDay = 86'400 * kMicrosPerSecond;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Reads exactly `count` digits from the front.
bool TakeDigits(absl::string_view& text, int count, int* value) {
  if (text.size() < static_cast<size_t>(count)) return false;
  *value = 0;
  for (int i = 0; i < count; ++i) {
    if (!IsDigit(text[i])) return false;
    *value = *value * 10 + (text[i] - '0');
  }
  text.remove_prefix(count);
  return true;
}

bool TakeChar(absl::string_view& text, char c) {
  if (text.empty() || text.front() != c) return false;
  text.remove_prefix(1);
  return true;
}

bool TakeDate(absl::string_view& text, int32_t* days) {
  int year, month, day;
  if (!TakeDigits(text, 4, &year) || !TakeChar(text, '-') || !TakeDigits(text, 2, &month) || !TakeChar(text, '-') ||
      !TakeDigits(text, 2, &day)) {
    return false;
  }
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month), std::chrono::day(day)};
  if (year < 1 || !date.ok()) return false;
  *days = static_cast<int32_t>(std::chrono::sys_days(date).time_since_epoch().count());
  return true;
}

struct ClockReading {
  int64_t micros = 0;
  int digits = 0;
  bool has_seconds = false;
};

bool TakeClock(absl::string_view& text, ClockReading* reading) {
  int hour, minute, second = 0;
  if (!TakeDigits(text, 2, &hour) || !TakeChar(text, ':') || !TakeDigits(text, 2, &minute)) return false;
  int64_t fraction = 0;
  if (TakeChar(text, ':')) {
    reading->has_seconds = true;
    if (!TakeDigits(text, 2, &second)) return false;
    if (TakeChar(text, '.')) {
      int64_t unit = kMicrosPerSecond / 10;
      for (; !text.empty() && IsDigit(text.front()); text.remove_prefix(1), ++reading->digits, unit /= 10) {
        if (unit == 0 && text.front() != '0') return false;
        fraction += unit * (text.front() - '0');
      }
      if (reading->digits == 0) return false;
    }
  }
  if (minute > 59 || second > 59) return false;
  reading->micros = ((hour * 60 + minute) * 60 + second) * kMicrosPerSecond + fraction;
  return reading->micros < kMicrosPerDay || reading->micros == kMicrosPerDay;
}

// `value` in `kWidth` digits.
template <size_t kWidth>
void AppendPadded(int value, std::string* out) {
  char digits[kWidth];
  for (size_t i = kWidth; i > 0; --i, value /= 10) digits[i - 1] = static_cast<char>('0' + value % 10);
  out->append(digits, kWidth);
}

// A decimal number cut into its parts, so that any number of digits compares exactly.
struct Decimal {
  bool negative = false;
  absl::string_view whole;     // Without leading zeros.
  absl::string_view fraction;  // Without trailing zeros.
};

std::optional<Decimal> ParseDecimal(absl::string_view text) {
  Decimal decimal;
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) {
    decimal.negative = text.front() == '-';
    text.remove_prefix(1);
  }
  const size_t dot = std::min(text.find('.'), text.size());
  decimal.whole = text.substr(0, dot);
  decimal.fraction = dot < text.size() ? text.substr(dot + 1) : absl::string_view();
  if (decimal.whole.empty() && decimal.fraction.empty()) return std::nullopt;
  if (!std::all_of(decimal.whole.begin(), decimal.whole.end(), IsDigit) ||
      !std::all_of(decimal.fraction.begin(), decimal.fraction.end(), IsDigit)) {
    return std::nullopt;
  }
  while (!decimal.whole.empty() && decimal.whole.front() == '0') decimal.whole.remove_prefix(1);
  while (!decimal.fraction.empty() && decimal.fraction.back() == '0') decimal.fraction.remove_suffix(1);
  if (decimal.whole.empty() && decimal.fraction.empty()) decimal.negative = false;
  return decimal;
}

int Sign(int64_t value) { return value < 0 ? -1 : value > 0 ? 1 : 0; }

int CompareMagnitude(const Decimal& a, const Decimal& b) {
  if (a.whole.size() != b.whole.size()) return a.whole.size() < b.whole.size() ? -1 : 1;
  if (const int whole = a.whole.compare(b.whole); whole != 0) return Sign(whole);
  return Sign(a.fraction.compare(b.fraction));
}

std::optional<int64_t> Instant(absl::string_view text) {
  if (text.size() == 10) {
    const auto days = ParseDate(text);
    return days ? std::optional<int64_t>(*days * kMicrosPerDay) : std::nullopt;
  }
  const auto timestamp = ParseTimestamp(text);
  return timestamp ? std::optional<int64_t>(timestamp->micros) : std::nullopt;
}

}  // namespace

std::optional<TimestampText> ParseTimestamp(absl::string_view text) {
  TimestampText result;
  int32_t days;
  if (!TakeDate(text, &days) || text.empty() || (text.front() != ' ' && text.front() != 'T')) return std::nullopt;
  result.separator = text.front();
  text.remove_prefix(1);
  ClockReading reading;
  if (!TakeClock(text, &reading) || reading.micros == kMicrosPerDay) return std::nullopt;
  result.micros = days * kMicrosPerDay + reading.micros;
  result.fraction_digits = reading.digits;
  result.has_seconds = reading.has_seconds;
  result.suffix = text;
  if (text.empty() || text == "Z") return result;
  const int sign = text.front() == '+' ? 1 : text.front() == '-' ? -1 : 0;
  text.remove_prefix(1);
  int hours, minutes;
  if (sign == 0 || !TakeDigits(text, 2, &hours) || !TakeChar(text, ':') || !TakeDigits(text, 2, &minutes) ||
      !text.empty() || hours > 15 || minutes > 59) {
    return std::nullopt;
  }
  result.micros -= sign * (hours * 60 + minutes) * 60 * kMicrosPerSecond;
  return result;
}

std::optional<int32_t> ParseDate(absl::string_view text) {
  int32_t days;
  if (!TakeDate(text, &days) || !text.empty()) return std::nullopt;
  return days;
}

std::optional<int64_t> ParseTime(absl::string_view text) {
  ClockReading reading;
  if (!TakeClock(text, &reading) || !text.empty()) return std::nullopt;
  return reading.micros;
}

bool AppendDate(int64_t days, std::string* out) {
  // The first and the last day of the years four digits can name.
  if (days < -719'162 || days > 2'932'896) return false;
  const std::chrono::year_month_day date{std::chrono::sys_days(std::chrono::days(days))};
  AppendPadded<4>(static_cast<int>(date.year()), out);
  out->push_back('-');
  AppendPadded<2>(static_cast<int>(static_cast<unsigned>(date.month())), out);
  out->push_back('-');
  AppendPadded<2>(static_cast<int>(static_cast<unsigned>(date.day())), out);
  return true;
}

void AppendTime(int64_t micros, std::string* out) {
  const int seconds = static_cast<int>(micros / kMicrosPerSecond);
  const int fraction = static_cast<int>(micros % kMicrosPerSecond);
  AppendPadded<2>(seconds / 3600, out);
  out->push_back(':');
  AppendPadded<2>(seconds / 60 % 60, out);
  out->push_back(':');
  AppendPadded<2>(seconds % 60, out);
  if (fraction == 0) return;
  out->push_back('.');
  if (fraction % 1000 == 0) {
    AppendPadded<3>(fraction / 1000, out);
  } else {
    AppendPadded<6>(fraction, out);
  }
}

bool AppendTimestamp(int64_t micros, char separator, std::string* out) {
  int64_t days = micros / kMicrosPerDay;
  if (micros % kMicrosPerDay < 0) --days;
  if (!AppendDate(days, out)) return false;
  out->push_back(separator);
  AppendTime(micros - days * kMicrosPerDay, out);
  return true;
}

int CompareByValue(absl::string_view a, absl::string_view b) {
  // Instants stand before numbers, and numbers before all else, so that mixtures have one order too.
  const auto instant_a = Instant(a), instant_b = Instant(b);
  if (instant_a && instant_b) return *instant_a < *instant_b ? -1 : *instant_a > *instant_b ? 1 : 0;
  if (instant_a || instant_b) return instant_a ? -1 : 1;
  const auto number_a = ParseDecimal(a), number_b = ParseDecimal(b);
  if (number_a && number_b) {
    if (number_a->negative != number_b->negative) return number_a->negative ? -1 : 1;
    return number_a->negative ? CompareMagnitude(*number_b, *number_a) : CompareMagnitude(*number_a, *number_b);
  }
  if (number_a || number_b) return number_a ? -1 : 1;
  return Sign(a.compare(b));
}

}  // namespace tidemark::sqlite
