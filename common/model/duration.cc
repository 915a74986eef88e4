#include "common/model/duration.h"

#include <array>
#include <cstdint>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/absl_view.h"

namespace tidemark {
namespace {

struct Unit {
  std::string_view name;
  int64_t micros;
};
constexpr std::array<Unit, 6> kUnits = {
    {{"d", 86'400'000'000}, {"h", 3'600'000'000}, {"m", 60'000'000}, {"s", 1'000'000}, {"ms", 1'000}, {"us", 1}}};

// Nobody means it, and not every store and message could hold what is far above it.
constexpr absl::Duration kTooLong = absl::Hours(24 * 36'525);

bool IsNumeral(char c) { return (c >= '0' && c <= '9') || c == '.'; }
bool IsLetter(char c) { return c >= 'a' && c <= 'z'; }

}  // namespace

std::optional<absl::Duration> ParseDuration(std::string_view text) {
  if (text.empty()) return std::nullopt;
  absl::Duration total = absl::ZeroDuration();
  size_t next_unit = 0;
  while (!text.empty()) {
    size_t digits = 0;
    while (digits < text.size() && IsNumeral(text[digits])) ++digits;
    size_t end = digits;
    while (end < text.size() && IsLetter(text[end])) ++end;
    const std::string_view unit = text.substr(digits, end - digits);
    double amount = 0;
    if (digits == 0 || digits > 15 || !absl::SimpleAtod(Abs(text.substr(0, digits)), &amount)) return std::nullopt;
    while (next_unit < kUnits.size() && kUnits[next_unit].name != unit) ++next_unit;
    if (next_unit == kUnits.size()) return std::nullopt;
    total += amount * absl::Microseconds(kUnits[next_unit].micros);
    if (total >= kTooLong) return std::nullopt;
    ++next_unit;
    text.remove_prefix(end);
  }
  return total;
}

std::string DurationText(absl::Duration duration) {
  if (duration < absl::ZeroDuration()) return absl::StrCat("-", DurationText(-duration));
  if (duration == absl::InfiniteDuration()) return "for ever";
  int64_t micros = absl::ToInt64Microseconds(duration);
  std::string text;
  for (const Unit& unit : kUnits) {
    if (micros >= unit.micros) absl::StrAppend(&text, micros / unit.micros, Abs(unit.name));
    micros %= unit.micros;
  }
  return text.empty() ? "0s" : text;
}

std::string ElapsedText(absl::Duration duration) {
  const double seconds = absl::ToDoubleSeconds(duration);
  if (seconds < 59.95) return absl::StrFormat("%.1fs", seconds < 0 ? 0.0 : seconds);
  const int64_t whole = static_cast<int64_t>(seconds + 0.5);
  if (whole < 3600) return absl::StrFormat("%dm%02ds", whole / 60, whole % 60);
  return absl::StrFormat("%dh%02dm", whole / 3600, whole % 3600 / 60);
}

absl::Duration FromProto(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

google::protobuf::Duration ToProto(absl::Duration duration) {
  google::protobuf::Duration proto;
  absl::Duration rest;
  proto.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &rest));
  proto.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
  return proto;
}

}  // namespace tidemark
