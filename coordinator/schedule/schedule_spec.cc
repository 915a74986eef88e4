#include "coordinator/schedule/schedule_spec.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "common/base/printable.h"
#include "common/model/duration.h"
#include "common/model/time_zone.h"

namespace tidemark::coordinator {

absl::StatusOr<Schedule> ToSchedule(const v1::ScheduleSpec& spec) {
  absl::StatusOr<CronSchedule> cron = CronSchedule::Parse(spec.cron());
  if (!cron.ok()) return absl::InvalidArgumentError(absl::StrCat("schedule.cron: ", cron.status().message()));
  Schedule schedule = {*std::move(cron), absl::UTCTimeZone(), kDefaultCatchUp};
  if (!spec.timezone().empty()) {
    const std::optional<absl::TimeZone> zone = FindTimeZone(spec.timezone());
    if (!zone.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat("schedule.timezone: \"", Printable(spec.timezone()), "\" is no time zone such as Europe/Paris"));
    }
    schedule.zone = *zone;
  }
  if (spec.has_catch_up()) {
    schedule.catch_up = FromProto(spec.catch_up());
    if (schedule.catch_up < absl::ZeroDuration()) {
      return absl::InvalidArgumentError("schedule.catch_up: a length of time is not negative");
    }
    schedule.catch_up = std::max(schedule.catch_up, kLeastCatchUp);
  }
  return schedule;
}

std::vector<absl::Time> NextFireTimes(const v1::ScheduleSpec& spec, absl::Time now, int count) {
  std::vector<absl::Time> times;
  if (spec.cron().empty()) return times;
  const absl::StatusOr<Schedule> schedule = ToSchedule(spec);
  if (!schedule.ok()) return times;
  for (absl::Time at = now; static_cast<int>(times.size()) < count;) {
    at = schedule->cron.Next(at, schedule->zone);
    if (at == absl::InfiniteFuture()) break;
    times.push_back(at);
  }
  return times;
}

}  // namespace tidemark::coordinator
