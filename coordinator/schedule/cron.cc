#include "coordinator/schedule/cron.h"

#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"

namespace tidemark::coordinator {
namespace {

// The Gregorian calendar shows every date there is within this time: 29 February is at most 8 years away.
constexpr int kYearsAhead = 9;

struct Field {
  absl::string_view name;
  int min;
  int max;
  // Three-letter names of the values from `min`; empty: none.
  absl::string_view words;
};
constexpr Field kMinute = {"minute", 0, 59, ""};
constexpr Field kHour = {"hour", 0, 23, ""};
constexpr Field kDay = {"day of month", 1, 31, ""};
constexpr Field kMonth = {"month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"};
// 7 is Sunday too.
constexpr Field kWeekday = {"day of week", 0, 7, "sunmontuewedthufrisat"};

absl::Status Bad(const Field& field, absl::string_view text, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("cron: ", field.name, " \"", text, "\": ", why));
}

std::optional<int> ParseValue(const Field& field, absl::string_view text) {
  int value = 0;
  if (!text.empty() && absl::ascii_isdigit(text[0]) && absl::SimpleAtoi(text, &value)) return value;
  if (text.size() != 3 || field.words.empty()) return std::nullopt;
  const size_t at = field.words.find(absl::AsciiStrToLower(text));
  if (at == absl::string_view::npos || at % 3 != 0) return std::nullopt;
  return field.min + static_cast<int>(at / 3);
}

// One element of a list: *, a, a-b, and any of them with /step; a/step runs from a to the end.
absl::StatusOr<uint64_t> ParseElement(const Field& field, absl::string_view element) {
  const std::pair<absl::string_view, absl::string_view> split = absl::StrSplit(element, absl::MaxSplits('/', 1));
  const bool stepped = absl::StrContains(element, '/');
  int step = 1;
  if (stepped && (!absl::SimpleAtoi(split.second, &step) || step < 1)) {
    return Bad(field, element, "the step must be a whole number from 1");
  }
  // A longer one leads out of the field as well, and must not lead out of an int.
  step = std::min(step, field.max + 1);
  int low = field.min;
  int high = field.max;
  if (split.first != "*") {
    const std::pair<absl::string_view, absl::string_view> range = absl::StrSplit(split.first, absl::MaxSplits('-', 1));
    const bool ranged = absl::StrContains(split.first, '-');
    const std::optional<int> first = ParseValue(field, range.first);
    std::optional<int> last = ranged ? ParseValue(field, range.second) : (stepped ? field.max : first);
    // fri-sun: the week's last day, not its first.
    if (field.max == 7 && ranged && last == 0 && first > 0) last = 7;
    if (!first || !last) {
      return Bad(field, element,
                 absl::StrCat("expected *, a number, a range or a step between ", field.min, " and ", field.max,
                              field.words.empty() ? "" : ", or a three-letter name"));
    }
    if (*first < field.min || *last > field.max) {
      return Bad(field, element, absl::StrCat("out of range, ", field.min, " to ", field.max));
    }
    if (*first > *last) return Bad(field, element, "the range runs backwards");
    low = *first;
    high = *last;
  }
  uint64_t bits = 0;
  for (int value = low; value <= high; value += step) bits |= uint64_t{1} << value;
  return bits;
}

absl::StatusOr<uint64_t> ParseField(const Field& field, absl::string_view text) {
  uint64_t bits = 0;
  for (absl::string_view element : absl::StrSplit(text, ',')) {
    TM_ASSIGN_OR_RETURN(const uint64_t more, ParseElement(field, element));
    bits |= more;
  }
  return bits;
}

std::optional<absl::string_view> ExpandName(absl::string_view name) {
  static constexpr std::array<std::pair<absl::string_view, absl::string_view>, 7> kNames = {
      {{"@hourly", "0 * * * *"},
       {"@daily", "0 0 * * *"},
       {"@midnight", "0 0 * * *"},
       {"@weekly", "0 0 * * 0"},
       {"@monthly", "0 0 1 * *"},
       {"@yearly", "0 0 1 1 *"},
       {"@annually", "0 0 1 1 *"}}};
  for (const auto& [known, expression] : kNames) {
    if (absl::EqualsIgnoreCase(name, known)) return expression;
  }
  return std::nullopt;
}

// Smallest set bit from `from` on; -1 if there is none.
int NextBit(uint64_t bits, int from) {
  if (from > 63) return -1;
  bits &= ~uint64_t{0} << from;
  return bits == 0 ? -1 : __builtin_ctzll(bits);
}

// When a local time happens: a skipped one at the jump, a repeated one at its first occurrence. Never decreases as
// `local` grows.
absl::Time Occurrence(absl::CivilMinute local, absl::TimeZone zone) {
  const absl::TimeZone::TimeInfo info = zone.At(absl::CivilSecond(local));
  return info.kind == absl::TimeZone::TimeInfo::SKIPPED ? info.trans : info.pre;
}

}  // namespace

absl::StatusOr<CronSchedule> CronSchedule::Parse(std::string_view expression) {
  absl::string_view text = absl::StripAsciiWhitespace(Abs(expression));
  if (absl::StartsWith(text, "@")) {
    const std::optional<absl::string_view> expanded = ExpandName(text);
    if (!expanded) {
      return absl::InvalidArgumentError(absl::StrCat(
          "cron: \"", text, "\": known are @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually"));
    }
    text = *expanded;
  }
  const std::vector<absl::string_view> fields = absl::StrSplit(text, absl::ByAnyChar(" \t"), absl::SkipEmpty());
  if (fields.size() != 5) {
    return absl::InvalidArgumentError(
        absl::StrCat("cron: \"", text, "\" has ", fields.size(),
                     " fields; it takes five: minute, hour, day of month, month, day of week"));
  }
  CronSchedule cron;
  TM_ASSIGN_OR_RETURN(cron.minutes_, ParseField(kMinute, fields[0]));
  TM_ASSIGN_OR_RETURN(cron.hours_, ParseField(kHour, fields[1]));
  TM_ASSIGN_OR_RETURN(cron.days_, ParseField(kDay, fields[2]));
  TM_ASSIGN_OR_RETURN(cron.months_, ParseField(kMonth, fields[3]));
  TM_ASSIGN_OR_RETURN(const uint64_t weekdays, ParseField(kWeekday, fields[4]));
  cron.weekdays_ = static_cast<uint8_t>((weekdays & 0x7f) | (weekdays >> 7));
  cron.any_day_ = absl::StartsWith(fields[2], "*");
  cron.any_weekday_ = absl::StartsWith(fields[4], "*");
  // Any day there is comes again within the 400 years of the calendar.
  if (cron.Next(absl::UnixEpoch(), absl::UTCTimeZone()) == absl::InfiniteFuture()) {
    return absl::InvalidArgumentError(absl::StrCat("cron: \"", text, "\" names a day that no year has"));
  }
  return cron;
}

bool CronSchedule::MatchesDay(absl::CivilDay day) const {
  if ((months_ >> day.month() & 1) == 0) return false;
  const bool day_of_month = (days_ >> day.day() & 1) != 0;
  // absl counts from Monday.
  const int weekday = (static_cast<int>(absl::GetWeekday(day)) + 1) % 7;
  const bool day_of_week = (weekdays_ >> weekday & 1) != 0;
  return any_day_ || any_weekday_ ? day_of_month && day_of_week : day_of_month || day_of_week;
}

absl::Time CronSchedule::Next(absl::Time after, absl::TimeZone zone) const {
  // Every local time up to and including `start` occurs at or before `after`.
  const absl::CivilMinute start(zone.At(after).cs);
  const absl::CivilDay last = absl::CivilDay(absl::CivilYear(start) + kYearsAhead + 1);
  for (absl::CivilDay day(start); day < last; ++day) {
    if ((months_ >> day.month() & 1) == 0) {
      day = absl::CivilDay(absl::CivilMonth(day) + 1) - 1;
      continue;
    }
    if (!MatchesDay(day)) continue;
    const absl::CivilMinute from = std::max(start + 1, absl::CivilMinute(day));
    if (absl::CivilDay(from) != day) continue;
    for (int hour = NextBit(hours_, from.hour()); hour >= 0; hour = NextBit(hours_, hour + 1)) {
      const int first = hour == from.hour() ? from.minute() : 0;
      for (int minute = NextBit(minutes_, first); minute >= 0; minute = NextBit(minutes_, minute + 1)) {
        const absl::Time at = Occurrence(absl::CivilMinute(day.year(), day.month(), day.day(), hour, minute), zone);
        // In the second pass of a repeated hour its local times have fired already.
        if (at > after) return at;
      }
    }
  }
  return absl::InfiniteFuture();
}

absl::Time CronSchedule::Latest(absl::Time after, absl::Time until, absl::TimeZone zone) const {
  const absl::Time first = Next(after, zone);
  if (first > until) return absl::InfinitePast();
  // A fire time, and the second up to which later ones may stand.
  int64_t low = absl::ToUnixSeconds(first);
  int64_t high = absl::ToUnixSeconds(until);
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    const absl::Time next = Next(absl::FromUnixSeconds(middle), zone);
    if (next <= until) {
      low = absl::ToUnixSeconds(next);
    } else {
      high = middle;
    }
  }
  return absl::FromUnixSeconds(low);
}

int64_t CronSchedule::MatchingMinutes(int64_t from, int64_t to) const {
  int64_t count = 0;
  for (int hour = NextBit(hours_, 0); hour >= 0; hour = NextBit(hours_, hour + 1)) {
    const int64_t first = std::clamp<int64_t>(from - hour * 60, 0, 60);
    const int64_t end = std::clamp<int64_t>(to - hour * 60, first, 60);
    count += std::popcount(minutes_ >> first & ((uint64_t{1} << (end - first)) - 1));
  }
  return count;
}

int64_t CronSchedule::Count(absl::Time after, absl::Time until, absl::TimeZone zone) const {
  constexpr int64_t kPlain = 24 * 60 * 60;
  const int64_t of_a_day = MatchingMinutes(0, 24 * 60);
  const auto start_of = [&](absl::CivilDay day) {
    return absl::ToUnixSeconds(Occurrence(absl::CivilMinute(day), zone));
  };
  // Rounded down, as fire times are on whole seconds.
  const int64_t from = absl::ToUnixSeconds(after);
  const int64_t to = absl::ToUnixSeconds(until);
  int64_t count = 0;
  absl::CivilDay day(zone.At(after).cs);
  int64_t start = start_of(day);
  int64_t previous = start - start_of(day - 1);
  while (start <= to) {
    const int64_t end = start_of(day + 1);
    const int64_t length = end - start;
    // A jump at the very end of a day fires at the start of the next.
    if (length != kPlain || previous != kPlain) {
      const absl::Time last = absl::FromUnixSeconds(std::min(to, end - 1));
      for (absl::Time at = absl::FromUnixSeconds(std::max(from, start - 1)); (at = Next(at, zone)) <= last;) ++count;
    } else if (MatchesDay(day)) {
      const bool whole = from < start && end <= to;
      const auto minutes_up_to = [&](int64_t time) { return time < start ? 0 : (time - start) / 60 + 1; };
      count += whole ? of_a_day : MatchingMinutes(minutes_up_to(from), minutes_up_to(to));
    }
    previous = length;
    start = end;
    ++day;
  }
  return count;
}

}  // namespace tidemark::coordinator
