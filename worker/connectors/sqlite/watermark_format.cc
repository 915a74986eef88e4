#include "worker/connectors/sqlite/watermark_format.h"

#include <algorithm>
#include <array>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/civil_time.h"
#include "worker/connectors/sqlite/iso_text.h"

namespace tidemark::sqlite {
namespace {

constexpr int kMaxDigits = 6;
constexpr int64_t kMicrosPerDay = 86'400'000'000;

constexpr std::array<int64_t, kMaxDigits + 1> kUnit = {1'000'000, 100'000, 10'000, 1'000, 100, 10, 1};

int64_t FloorTo(int64_t value, int64_t unit) {
  const int64_t remainder = value % unit;
  return value - (remainder < 0 ? remainder + unit : remainder);
}

// What a wall clock of `zone` shows at `time`, in microseconds of its own count.
int64_t WallMicros(absl::Time time, absl::TimeZone zone) {
  const auto info = zone.At(time);
  return (info.cs - absl::CivilSecond(1970)) * 1'000'000 + absl::ToInt64Microseconds(info.subsecond);
}

std::string Spelled(const WatermarkFormat& format, int64_t micros) {
  std::string text;
  if (format.kind == WatermarkFormat::Kind::kDate) {
    AppendDate(FloorTo(micros, kMicrosPerDay) / kMicrosPerDay, &text);
    return text;
  }
  AppendTimestamp(FloorTo(micros, kUnit[0]), format.separator, &text);
  if (format.digits > 0) {
    const std::string fraction = absl::StrCat(1'000'000 + (micros - FloorTo(micros, kUnit[0])));
    absl::StrAppend(&text, ".", fraction.substr(1, format.digits));
  }
  return text + format.suffix;
}

int64_t UnitOf(const WatermarkFormat& format) {
  return format.kind == WatermarkFormat::Kind::kDate ? kMicrosPerDay : kUnit[format.digits];
}

}  // namespace

std::optional<WatermarkFormat> WatermarkFormat::Of(absl::string_view text) {
  WatermarkFormat format;
  if (ParseDate(text)) {
    format.kind = Kind::kDate;
    return format;
  }
  const auto parsed = ParseTimestamp(text);
  if (!parsed || !parsed->has_seconds || parsed->fraction_digits > kMaxDigits ||
      (!parsed->suffix.empty() && parsed->suffix != "Z" && parsed->suffix != "+00:00")) {
    return std::nullopt;
  }
  format.separator = parsed->separator;
  format.digits = format.fewest_digits = parsed->fraction_digits;
  format.suffix = std::string(parsed->suffix);
  return format;
}

bool WatermarkFormat::Merge(const WatermarkFormat& other) {
  if (kind != other.kind || separator != other.separator || suffix != other.suffix) return false;
  if (digits != other.digits && suffix == "Z") return false;
  digits = std::max(digits, other.digits);
  fewest_digits = std::min(fewest_digits, other.fewest_digits);
  return true;
}

bool WatermarkFormat::Matches(absl::string_view text) const {
  constexpr size_t kSeconds = sizeof("YYYY-MM-DD HH:MM:SS") - 1;
  if (kind == Kind::kDate) return text.size() == 10;
  if (text.size() < kSeconds + suffix.size() || text[10] != separator || !absl::EndsWith(text, suffix)) return false;
  const size_t fraction = text.size() - kSeconds - suffix.size();
  const size_t full = digits > 0 ? digits + 1 : 0;
  if (fraction != full && (suffix == "Z" || fraction > full || fraction == 1)) return false;
  // A suffix where the format has none.
  return fraction == 0 || text[kSeconds] == '.';
}

std::string WatermarkFormat::AtOrBelow(absl::Time time, absl::TimeZone zone) const {
  return Spelled(*this, FloorTo(WallMicros(time, zone), UnitOf(*this)));
}

std::string WatermarkFormat::StrictlyBelow(absl::Time time, absl::TimeZone zone) const {
  // Stamps are cut off to the digits of the format: one given at `time` may show the floor of it, at the fewest digits
  // there are.
  const int64_t coarsest = kind == Kind::kDate ? kMicrosPerDay : kUnit[fewest_digits];
  return Spelled(*this, FloorTo(WallMicros(time, zone), coarsest) - UnitOf(*this));
}

absl::StatusOr<std::string> WatermarkFormat::Minus(absl::string_view text, absl::Duration by) const {
  const auto days = ParseDate(text);
  const auto timestamp = ParseTimestamp(text);
  if (!days && !timestamp)
    return absl::InvalidArgumentError(absl::StrCat("the watermark '", text, "' is no date or timestamp"));
  const int64_t micros = days ? *days * kMicrosPerDay : timestamp->micros;
  return Spelled(*this, FloorTo(micros - absl::ToInt64Microseconds(by), UnitOf(*this)));
}

std::string WatermarkFormat::Name() const {
  if (kind == Kind::kInteger) return "integers";
  if (kind == Kind::kDate) return "YYYY-MM-DD";
  std::string name = absl::StrCat("YYYY-MM-DD", std::string(1, separator), "HH:MM:SS");
  if (digits > 0) absl::StrAppend(&name, ".", std::string(digits, 'f'));
  return name + suffix;
}

v1::Watermark WatermarkFormat::Watermark(std::string text, absl::string_view zone) const {
  v1::Watermark watermark;
  watermark.set_text(std::move(text));
  switch (kind) {
    case Kind::kInteger:
      watermark.set_type("integer");
      break;
    case Kind::kDate:
      watermark.set_type("date");
      watermark.set_zone(std::string(zone));
      break;
    case Kind::kTimestamp:
      watermark.set_type(suffix.empty() ? "timestamp" : "timestamptz");
      watermark.set_precision(digits);
      if (suffix.empty()) watermark.set_zone(std::string(zone));
      break;
  }
  return watermark;
}

}  // namespace tidemark::sqlite
