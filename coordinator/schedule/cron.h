#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace tidemark::coordinator {

// A cron expression of five fields (minute, hour, day of month, month, day of week), with names, steps, ranges, lists
// and @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually. Day of month and day of week restrict together
// as in POSIX crontab(5): if both are given, either matches. A value; pure.
//
// A local time that the zone skips fires once, at the instant the clock jumps; one that it repeats fires once, at its
// first occurrence. Fire times are on whole seconds. Times given must be finite.
class CronSchedule {
 public:
  // InvalidArgument names the field and the offending text, or says that the expression never fires (30 February).
  // A field that begins with `*` counts as not given for that rule.
  static absl::StatusOr<CronSchedule> Parse(std::string_view expression);

  // The first fire time after `after`, in `zone`. Skips months, days and hours that do not match.
  absl::Time Next(absl::Time after, absl::TimeZone zone) const;
  // The last fire time in (after, until]; InfinitePast if there is none. A bisection: as many calls of Next as the
  // logarithm of the time between, whatever the number of fire times in it.
  absl::Time Latest(absl::Time after, absl::Time until, absl::TimeZone zone) const;
  // How many fire times there are in (after, until]. Costs a step a day, but a day on which
  // the zone's clock jumps, and the next, a step for each fire time.
  int64_t Count(absl::Time after, absl::Time until, absl::TimeZone zone) const;

 private:
  bool MatchesDay(absl::CivilDay day) const;
  // Of the minutes [from, to) of a day that matches, those that match.
  int64_t MatchingMinutes(int64_t from, int64_t to) const;

  // One bit per value; weekdays from Sunday, 0.
  uint64_t minutes_ = 0;
  uint32_t hours_ = 0;
  uint32_t days_ = 0;
  uint16_t months_ = 0;
  uint8_t weekdays_ = 0;
  bool any_day_ = false;
  bool any_weekday_ = false;
};

}  // namespace tidemark::coordinator
