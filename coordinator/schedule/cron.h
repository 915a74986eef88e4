#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace tidemark::coordinator {

// A cron expression of five fields (minute, hour, day of month, month, day of week), with names, steps, ranges, lists
// and
// @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually. Day of month and day of week restrict together as
// in POSIX crontab(5): if both are given, either matches. A value; pure.
class CronSchedule {
 public:
  // InvalidArgument names the field and the offending text, or says that the expression never fires (30 February).
  // A field that begins with `*` counts as not given for that rule.
  static absl::StatusOr<CronSchedule> Parse(std::string_view expression);

  // The first fire time after `after`, in `zone`. A local time that the zone skips fires once, at the instant the clock
  // jumps; one that it repeats fires once, at its first occurrence.
  absl::Time Next(absl::Time after, absl::TimeZone zone) const;

 private:
  bool MatchesDay(absl::CivilDay day) const;

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
