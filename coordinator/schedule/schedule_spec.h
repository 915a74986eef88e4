#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/schedule/cron.h"
#include "tidemark/v1/spec.pb.h"

namespace tidemark::coordinator {

// How late a fire time may still be run, where a job does not say.
inline constexpr absl::Duration kDefaultCatchUp = absl::Hours(1);
// The least there is: no coordinator looks at the very instant of a fire time.
inline constexpr absl::Duration kLeastCatchUp = absl::Minutes(1);

// A schedule as the Scheduler takes it.
struct Schedule {
  CronSchedule cron;
  absl::TimeZone zone;
  absl::Duration catch_up;
};

// InvalidArgument names the field, e.g. "schedule.timezone". `spec.cron` is not empty: a job without one runs on demand
// only. A catch_up shorter than kLeastCatchUp counts as that. Pure but for the first use of a zone, which reads the
// system's time zone database.
absl::StatusOr<Schedule> ToSchedule(const v1::ScheduleSpec& spec);

// The next `count` fire times after `now`, fewer if the schedule ends; none of one without a cron, or that is wrong.
std::vector<absl::Time> NextFireTimes(const v1::ScheduleSpec& spec, absl::Time now, int count);

}  // namespace tidemark::coordinator
