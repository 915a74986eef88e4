#include "coordinator/schedule/cron.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tidemark::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::TimeZone Zone(const char* name) {
  absl::TimeZone zone;
  EXPECT_TRUE(absl::LoadTimeZone(name, &zone)) << name;
  return zone;
}

absl::Time At(const char* rfc3339) {
  absl::Time time;
  std::string error;
  EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, rfc3339, &time, &error)) << error;
  return time;
}

// The next `count` fire times after `after`, in the zone.
std::vector<std::string> Fires(const char* expression, const char* after, int count,
                               absl::TimeZone zone = absl::UTCTimeZone()) {
  absl::StatusOr<CronSchedule> cron = CronSchedule::Parse(expression);
  EXPECT_TRUE(cron.ok()) << cron.status();
  std::vector<std::string> times;
  absl::Time time = At(after);
  for (int i = 0; i < count && cron.ok(); ++i) {
    time = cron->Next(time, zone);
    times.push_back(time == absl::InfiniteFuture() ? "never" : absl::FormatTime("%Y-%m-%d %H:%M%Ez", time, zone));
  }
  return times;
}

std::string Error(const char* expression) {
  absl::StatusOr<CronSchedule> cron = CronSchedule::Parse(expression);
  return cron.ok() ? "" : std::string(cron.status().message());
}

TEST(CronTest, PlainTimes) {
  EXPECT_THAT(Fires("30 2 * * *", "2026-03-01T02:29:59Z", 2),
              ElementsAre("2026-03-01 02:30+00:00", "2026-03-02 02:30+00:00"));
  EXPECT_THAT(Fires("30 2 * * *", "2026-03-01T02:30:00Z", 1), ElementsAre("2026-03-02 02:30+00:00"));
  EXPECT_THAT(Fires("0 0 1 1 *", "2026-12-31T23:59:00Z", 1), ElementsAre("2027-01-01 00:00+00:00"));
}

TEST(CronTest, StepsListsRangesAndNames) {
  EXPECT_THAT(Fires("*/20 8-9 * * *", "2026-03-01T08:30:00Z", 4),
              ElementsAre("2026-03-01 08:40+00:00", "2026-03-01 09:00+00:00", "2026-03-01 09:20+00:00",
                          "2026-03-01 09:40+00:00"));
  EXPECT_THAT(Fires("5/25,3 0 * * *", "2026-03-01T00:00:00Z", 4),
              ElementsAre("2026-03-01 00:03+00:00", "2026-03-01 00:05+00:00", "2026-03-01 00:30+00:00",
                          "2026-03-01 00:55+00:00"));
  EXPECT_THAT(Fires("0 12 * Feb,jun mon-WED", "2026-02-03T12:00:00Z", 2),
              ElementsAre("2026-02-04 12:00+00:00", "2026-02-09 12:00+00:00"));
  // 7 and "sun" at the end of a range are the Sunday that ends it: 2026-03-01 is a Sunday.
  EXPECT_THAT(Fires("0 0 * * fri-sun", "2026-02-26T01:00:00Z", 4),
              ElementsAre("2026-02-27 00:00+00:00", "2026-02-28 00:00+00:00", "2026-03-01 00:00+00:00",
                          "2026-03-06 00:00+00:00"));
  EXPECT_EQ(Fires("0 0 * * 7", "2026-02-26T01:00:00Z", 3), Fires("0 0 * * 0", "2026-02-26T01:00:00Z", 3));
}

TEST(CronTest, NamedSchedules) {
  EXPECT_EQ(Fires("@daily", "2026-03-01T05:00:00Z", 2), Fires("0 0 * * *", "2026-03-01T05:00:00Z", 2));
  EXPECT_EQ(Fires("@hourly", "2026-03-01T05:00:00Z", 2), Fires("0 * * * *", "2026-03-01T05:00:00Z", 2));
  EXPECT_EQ(Fires("@weekly", "2026-03-01T05:00:00Z", 2), Fires("0 0 * * sun", "2026-03-01T05:00:00Z", 2));
  EXPECT_EQ(Fires("@annually", "2026-03-01T05:00:00Z", 1), Fires("@yearly", "2026-03-01T05:00:00Z", 1));
}

TEST(CronTest, DayOfMonthAndDayOfWeekEitherMatches) {
  // 13 February and every Friday; 2026-02-13 is one.
  EXPECT_THAT(Fires("0 0 13 * fri", "2026-02-01T00:00:00Z", 4),
              ElementsAre("2026-02-06 00:00+00:00", "2026-02-13 00:00+00:00", "2026-02-20 00:00+00:00",
                          "2026-02-27 00:00+00:00"));
  // A field that begins with a star does not widen the other: odd days that are Mondays.
  EXPECT_THAT(Fires("0 0 */2 * mon", "2026-03-01T00:00:00Z", 2),
              ElementsAre("2026-03-09 00:00+00:00", "2026-03-23 00:00+00:00"));
}

TEST(CronTest, DatesThatAreRareOrMissing) {
  EXPECT_THAT(Fires("0 0 29 2 *", "2026-01-01T00:00:00Z", 2),
              ElementsAre("2028-02-29 00:00+00:00", "2032-02-29 00:00+00:00"));
  // 2100 is no leap year.
  EXPECT_THAT(Fires("0 0 29 2 *", "2096-03-01T00:00:00Z", 1), ElementsAre("2104-02-29 00:00+00:00"));
  EXPECT_THAT(Error("0 0 30 2 *"), HasSubstr("names a day that no year has"));
  EXPECT_THAT(Fires("0 0 29 2 *", "2097-01-01T00:00:00Z", 1), ElementsAre("2104-02-29 00:00+00:00"));
  EXPECT_THAT(Fires("0 0 31 * *", "2026-01-31T00:00:00Z", 2),
              ElementsAre("2026-03-31 00:00+00:00", "2026-05-31 00:00+00:00"));
}

TEST(CronTest, SkippedLocalTimeFiresOnceAtTheJump) {
  const absl::TimeZone paris = Zone("Europe/Paris");
  EXPECT_THAT(Fires("30 2 * * *", "2026-03-28T12:00:00Z", 2, paris),
              ElementsAre("2026-03-29 03:00+02:00", "2026-03-30 02:30+02:00"));
  const absl::TimeZone new_york = Zone("America/New_York");
  EXPECT_THAT(Fires("15,45 2 8 3 *", "2026-03-08T00:00:00Z", 2, new_york),
              ElementsAre("2026-03-08 03:00-04:00", "2027-03-08 02:15-05:00"));
  // Lord Howe jumps by half an hour, 02:00 to 02:30.
  const absl::TimeZone lord_howe = Zone("Australia/Lord_Howe");
  EXPECT_THAT(Fires("10 2 * * *", "2026-10-03T12:00:00Z", 2, lord_howe),
              ElementsAre("2026-10-04 02:30+11:00", "2026-10-05 02:10+11:00"));
  EXPECT_THAT(Fires("40 2 * * *", "2026-10-03T12:00:00Z", 1, lord_howe), ElementsAre("2026-10-04 02:40+11:00"));
}

TEST(CronTest, RepeatedLocalTimeFiresOnceAtItsFirstOccurrence) {
  const absl::TimeZone paris = Zone("Europe/Paris");
  EXPECT_THAT(Fires("30 2 * * *", "2026-10-24T12:00:00Z", 2, paris),
              ElementsAre("2026-10-25 02:30+02:00", "2026-10-26 02:30+01:00"));
  // Asked in the second pass: the first was the one.
  EXPECT_THAT(Fires("30 2 * * *", "2026-10-25T01:10:00Z", 1, paris), ElementsAre("2026-10-26 02:30+01:00"));
  EXPECT_THAT(Fires("*/30 * * * *", "2026-10-25T00:00:00Z", 3, paris),
              ElementsAre("2026-10-25 02:30+02:00", "2026-10-25 03:00+01:00", "2026-10-25 03:30+01:00"));
  const absl::TimeZone new_york = Zone("America/New_York");
  EXPECT_THAT(Fires("0 1 * * *", "2026-10-31T12:00:00Z", 2, new_york),
              ElementsAre("2026-11-01 01:00-04:00", "2026-11-02 01:00-05:00"));
  const absl::TimeZone lord_howe = Zone("Australia/Lord_Howe");
  EXPECT_THAT(Fires("45 1 * * *", "2026-04-04T10:00:00Z", 2, lord_howe),
              ElementsAre("2026-04-05 01:45+11:00", "2026-04-06 01:45+10:30"));
}

TEST(CronTest, EveryMinuteNeverStandsStillNorGoesBack) {
  for (const char* name : {"Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"}) {
    const absl::TimeZone zone = Zone(name);
    const CronSchedule cron = *CronSchedule::Parse("*/7 * * * *");
    absl::Time time = At("2026-03-01T00:00:00Z");
    const absl::Time end = At("2026-11-30T00:00:00Z");
    while (time < end) {
      const absl::Time next = cron.Next(time, zone);
      ASSERT_GT(next, time) << name;
      ASSERT_LE(next - time, absl::Minutes(67)) << name << " " << time;
      time = next;
    }
  }
}

TEST(CronTest, AStepBeyondTheRangeLeavesItsFirstValue) {
  EXPECT_THAT(Fires("1-5/2147483647 * * * *", "2026-03-01T00:01:00Z", 2),
              ElementsAre("2026-03-01 01:01+00:00", "2026-03-01 02:01+00:00"));
  EXPECT_THAT(Fires("*/2147483647 * * * *", "2026-03-01T00:00:00Z", 1), ElementsAre("2026-03-01 01:00+00:00"));
}

TEST(CronTest, ErrorsNameTheFieldAndTheText) {
  EXPECT_THAT(Error("60 * * * *"), HasSubstr("minute \"60\": out of range, 0 to 59"));
  EXPECT_THAT(Error("* 24 * * *"), HasSubstr("hour \"24\""));
  EXPECT_THAT(Error("* * 0 * *"), HasSubstr("day of month \"0\""));
  EXPECT_THAT(Error("* * * foo *"), HasSubstr("month \"foo\""));
  EXPECT_THAT(Error("* * * * 8"), HasSubstr("day of week \"8\""));
  EXPECT_THAT(Error("*/0 * * * *"), HasSubstr("minute \"*/0\": the step"));
  EXPECT_THAT(Error("5-1 * * * *"), HasSubstr("the range runs backwards"));
  EXPECT_THAT(Error("1, * * * *"), HasSubstr("minute \"\""));
  EXPECT_THAT(Error("* * L * *"), HasSubstr("day of month \"L\""));
  EXPECT_THAT(Error("* * * *"), HasSubstr("has 4 fields; it takes five"));
  EXPECT_THAT(Error("@reboot"), HasSubstr("@reboot"));
  EXPECT_THAT(Error(""), HasSubstr("has 0 fields"));
}

}  // namespace
}  // namespace tidemark::coordinator
