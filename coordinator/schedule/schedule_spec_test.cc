#include "coordinator/schedule/schedule_spec.h"

#include <string>

#include "common/model/duration.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tidemark::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

v1::ScheduleSpec Spec(const char* cron, const char* zone = "") {
  v1::ScheduleSpec spec;
  spec.set_cron(cron);
  spec.set_timezone(zone);
  return spec;
}

TEST(ScheduleSpecTest, WhatIsAbsentIsUtcAndOneHour) {
  const absl::StatusOr<Schedule> schedule = ToSchedule(Spec("30 2 * * *"));
  ASSERT_TRUE(schedule.ok()) << schedule.status();
  EXPECT_EQ(schedule->zone, absl::UTCTimeZone());
  EXPECT_EQ(schedule->catch_up, absl::Hours(1));
  EXPECT_EQ(schedule->cron.Next(absl::UnixEpoch(), schedule->zone), absl::UnixEpoch() + absl::Minutes(150));
}

TEST(ScheduleSpecTest, ZoneAndCatchUp) {
  v1::ScheduleSpec spec = Spec("@daily", "Europe/Paris");
  *spec.mutable_catch_up() = ToProto(absl::Hours(30));
  const absl::StatusOr<Schedule> schedule = ToSchedule(spec);
  ASSERT_TRUE(schedule.ok()) << schedule.status();
  EXPECT_EQ(schedule->zone.name(), "Europe/Paris");
  EXPECT_EQ(schedule->catch_up, absl::Hours(30));
}

TEST(ScheduleSpecTest, ACatchUpOfZeroStillRunsAJobThatIsLookedAtALittleLate) {
  v1::ScheduleSpec spec = Spec("@daily");
  spec.mutable_catch_up();
  EXPECT_EQ(ToSchedule(spec)->catch_up, kLeastCatchUp);
}

TEST(ScheduleSpecTest, ErrorsNameTheField) {
  const auto error = [](const v1::ScheduleSpec& spec) {
    const absl::Status status = ToSchedule(spec).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(error(Spec("61 * * * *")), HasSubstr("schedule.cron: cron: minute \"61\""));
  EXPECT_THAT(error(Spec("")), HasSubstr("schedule.cron: "));
  EXPECT_THAT(error(Spec("@daily", "Europe/Nowhere")), HasSubstr("schedule.timezone: \"Europe/Nowhere\""));
  // A real zone file, but not by its name.
  EXPECT_THAT(error(Spec("@daily", "/usr/share/zoneinfo/Europe/Paris")), HasSubstr("schedule.timezone: "));
  EXPECT_THAT(error(Spec("@daily", "Europe/../Europe/Paris")), HasSubstr("schedule.timezone: "));
  v1::ScheduleSpec negative = Spec("@daily");
  *negative.mutable_catch_up() = ToProto(-absl::Seconds(1));
  EXPECT_THAT(error(negative), HasSubstr("schedule.catch_up: "));
}

absl::Time At(const char* text) {
  absl::Time time;
  EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, text, &time, nullptr)) << text;
  return time;
}

TEST(ScheduleSpecTest, FireTimesAreInTheJobsZone) {
  const absl::Time now = At("2026-03-27T12:00:00Z");
  // The night of 29 March has no 02:30 in Paris.
  EXPECT_THAT(NextFireTimes(Spec("30 2 * * *", "Europe/Paris"), now, 3),
              ElementsAre(At("2026-03-28T01:30:00Z"), At("2026-03-29T01:00:00Z"), At("2026-03-30T00:30:00Z")));
  EXPECT_THAT(NextFireTimes(v1::ScheduleSpec(), now, 3), IsEmpty());
  EXPECT_THAT(NextFireTimes(Spec("0 0 30 2 *"), now, 3), IsEmpty());
}

}  // namespace
}  // namespace tidemark::coordinator
