#include "coordinator/schedule/schedule_spec.h"

#include <string>

#include "common/model/duration.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tidemark::coordinator {
namespace {

using ::testing::HasSubstr;

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

}  // namespace
}  // namespace tidemark::coordinator
