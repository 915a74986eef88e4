#include "coordinator/schedule/scheduler.h"

#include <algorithm>
#include <bitset>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tidemark::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

absl::TimeZone Zone(const std::string& name) {
  absl::TimeZone zone;
  EXPECT_TRUE(absl::LoadTimeZone(name, &zone)) << name;
  return zone;
}

absl::Time At(const std::string& rfc3339) {
  absl::Time time;
  std::string error;
  EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, rfc3339, &time, &error)) << error;
  return time;
}

CronSchedule Cron(const std::string& expression) {
  absl::StatusOr<CronSchedule> cron = CronSchedule::Parse(expression);
  EXPECT_TRUE(cron.ok()) << cron.status();
  return *cron;
}

// "uid time", then " superseded=N", " late=N" and " skipped" where they say something.
std::string Text(const Fire& fire) {
  std::string text = absl::StrCat(fire.uid, " ", absl::FormatTime("%m-%d %H:%M", fire.time, absl::UTCTimeZone()));
  if (fire.superseded > 0) absl::StrAppend(&text, " superseded=", fire.superseded);
  if (fire.too_late > 0) absl::StrAppend(&text, " late=", fire.too_late);
  if (!fire.run) absl::StrAppend(&text, " skipped");
  return text;
}

class SchedulerTest : public ::testing::Test {
 protected:
  void Set(const std::string& uid, const std::string& cron, const std::string& after,
           absl::Duration catch_up = absl::Hours(1), absl::TimeZone zone = absl::UTCTimeZone()) {
    scheduler_.Set(uid, Cron(cron), zone, catch_up, At(after));
  }

  std::vector<std::string> Due(const std::string& now, size_t limit = 1000) {
    std::vector<std::string> fires;
    for (const Fire& fire : scheduler_.Due(At(now), limit)) fires.push_back(Text(fire));
    return fires;
  }

  Scheduler scheduler_;
};

TEST_F(SchedulerTest, WithoutJobsNothingEverFires) {
  EXPECT_EQ(scheduler_.NextFire(), absl::InfiniteFuture());
  EXPECT_EQ(scheduler_.NextFireOf("a"), std::nullopt);
  EXPECT_THAT(Due("2026-03-01T00:00:00Z"), IsEmpty());
}

TEST_F(SchedulerTest, FiresOldestFirstAndEachOnce) {
  Set("b", "10 0 * * *", "2026-03-01T00:00:00Z");
  Set("c", "5 0 * * *", "2026-03-01T00:00:00Z");
  Set("a", "10 0 * * *", "2026-03-01T00:00:00Z");
  EXPECT_EQ(scheduler_.NextFire(), At("2026-03-01T00:05:00Z"));
  EXPECT_EQ(scheduler_.NextFireOf("b"), At("2026-03-01T00:10:00Z"));
  EXPECT_THAT(Due("2026-03-01T00:04:59.999Z"), IsEmpty());
  EXPECT_THAT(Due("2026-03-01T00:10:00Z"), ElementsAre("c 03-01 00:05", "a 03-01 00:10", "b 03-01 00:10"));
  EXPECT_THAT(Due("2026-03-01T00:10:00Z"), IsEmpty());
  EXPECT_EQ(scheduler_.NextFire(), At("2026-03-02T00:05:00Z"));
}

TEST_F(SchedulerTest, WhatTheLimitLeavesComesNextTime) {
  Set("b", "10 0 * * *", "2026-03-01T00:00:00Z");
  Set("c", "5 0 * * *", "2026-03-01T00:00:00Z");
  Set("a", "10 0 * * *", "2026-03-01T00:00:00Z");
  EXPECT_THAT(Due("2026-03-01T00:20:00Z", 0), IsEmpty());
  EXPECT_THAT(Due("2026-03-01T00:20:00Z", 2), ElementsAre("c 03-01 00:05", "a 03-01 00:10"));
  EXPECT_THAT(Due("2026-03-01T00:20:00Z", 2), ElementsAre("b 03-01 00:10"));
}

TEST_F(SchedulerTest, AfterIsDoneWith) {
  Set("a", "10 0 * * *", "2026-03-01T00:10:00Z");
  EXPECT_THAT(Due("2026-03-01T00:10:00Z"), IsEmpty());
  EXPECT_EQ(scheduler_.NextFireOf("a"), At("2026-03-02T00:10:00Z"));
}

TEST_F(SchedulerTest, AfterTheBeginningOfTimeIs1970) {
  scheduler_.Set("a", Cron("0 0 1 1 *"), absl::UTCTimeZone(), absl::Hours(1), absl::InfinitePast());
  EXPECT_EQ(scheduler_.NextFireOf("a"), At("1971-01-01T00:00:00Z"));
  EXPECT_THAT(Due("1973-01-01T00:00:00Z"), ElementsAre("a 01-01 00:00 late=2"));
}

TEST_F(SchedulerTest, OfMissedFiresTheNewestRuns) {
  Set("a", "*/10 * * * *", "2026-03-01T00:00:00Z");
  EXPECT_THAT(Due("2026-03-01T00:35:00Z"), ElementsAre("a 03-01 00:30 superseded=2"));
  EXPECT_THAT(Due("2026-03-01T00:40:00Z"), ElementsAre("a 03-01 00:40"));
  // 00:50 to 02:40, of which 01:50 is the oldest within the hour.
  EXPECT_THAT(Due("2026-03-01T02:45:00Z"), ElementsAre("a 03-01 02:40 superseded=5 late=6"));
}

TEST_F(SchedulerTest, AFireOlderThanCatchUpIsMissed) {
  Set("a", "30 2 * * *", "2026-03-01T00:00:00Z");
  EXPECT_THAT(Due("2026-03-02T03:30:00Z"), ElementsAre("a 03-02 02:30 late=1"));
  EXPECT_THAT(Due("2026-03-03T03:30:00.001Z"), ElementsAre("a 03-03 02:30 late=1 skipped"));
  EXPECT_THAT(Due("2026-03-06T12:00:00Z"), ElementsAre("a 03-06 02:30 late=3 skipped"));
  EXPECT_EQ(scheduler_.NextFireOf("a"), At("2026-03-07T02:30:00Z"));
  Set("b", "30 2 * * *", "2026-03-01T12:00:00Z", absl::Hours(30));
  EXPECT_THAT(Due("2026-03-03T04:00:00Z"), ElementsAre("b 03-03 02:30 superseded=1"));
  Set("c", "30 2 * * *", "2026-03-01T12:00:00Z", absl::InfiniteDuration());
  EXPECT_THAT(Due("2026-03-04T04:00:00Z"), ElementsAre("b 03-04 02:30", "c 03-04 02:30 superseded=2"));
}

TEST_F(SchedulerTest, AYearOfMissedMinutesIsCountedNotWalked) {
  for (int i = 0; i < 100; ++i) Set(absl::StrCat("job", i), "* * * * *", "2025-03-01T00:00:00Z");
  const std::vector<Fire> fires = scheduler_.Due(At("2026-03-01T00:00:30Z"), 1000);
  ASSERT_EQ(fires.size(), 100);
  for (const Fire& fire : fires) {
    EXPECT_EQ(fire.time, At("2026-03-01T00:00:00Z"));
    EXPECT_TRUE(fire.run);
    EXPECT_EQ(fire.superseded, 59);
    EXPECT_EQ(fire.superseded + fire.too_late, 365 * 24 * 60 - 1);
  }
}

TEST_F(SchedulerTest, AClockThatStepsBackFiresNothingTwice) {
  Set("a", "*/10 * * * *", "2026-03-01T00:00:00Z");
  EXPECT_THAT(Due("2026-03-01T01:00:00Z"), ElementsAre("a 03-01 01:00 superseded=5"));
  EXPECT_THAT(Due("2026-03-01T00:30:00Z"), IsEmpty());
  EXPECT_THAT(Due("2026-03-01T01:00:00Z"), IsEmpty());
  EXPECT_EQ(scheduler_.NextFire(), At("2026-03-01T01:10:00Z"));
  EXPECT_THAT(Due("2026-03-01T01:10:00Z"), ElementsAre("a 03-01 01:10"));
}

TEST_F(SchedulerTest, SettingAgainGivesNothingOutTwice) {
  Set("a", "*/10 * * * *", "2026-03-01T00:00:00Z");
  EXPECT_THAT(Due("2026-03-01T00:10:00Z"), ElementsAre("a 03-01 00:10"));
  Set("a", "*/5 * * * *", "2026-03-01T00:00:00Z");
  EXPECT_EQ(scheduler_.size(), 1);
  EXPECT_EQ(scheduler_.NextFire(), At("2026-03-01T00:15:00Z"));
  Set("a", "*/5 * * * *", "2026-03-01T00:20:00Z");
  EXPECT_THAT(Due("2026-03-01T00:20:00Z"), IsEmpty());
  EXPECT_THAT(Due("2026-03-01T00:25:00Z"), ElementsAre("a 03-01 00:25"));
}

TEST_F(SchedulerTest, RemovedJobsDoNotFire) {
  Set("a", "*/10 * * * *", "2026-03-01T00:00:00Z");
  Set("b", "*/20 * * * *", "2026-03-01T00:00:00Z");
  scheduler_.Remove("a");
  scheduler_.Remove("never there");
  EXPECT_EQ(scheduler_.NextFireOf("a"), std::nullopt);
  EXPECT_THAT(Due("2026-03-01T00:20:00Z"), ElementsAre("b 03-01 00:20"));
  scheduler_.Remove("b");
  EXPECT_EQ(scheduler_.NextFire(), absl::InfiniteFuture());
  Set("a", "*/10 * * * *", "2026-03-01T00:00:00Z");
  EXPECT_THAT(Due("2026-03-01T00:10:00Z"), ElementsAre("a 03-01 00:10"));
}

TEST_F(SchedulerTest, TenThousandJobsAtOneInstant) {
  constexpr int kJobs = 10'000;
  for (int i = 0; i < kJobs; ++i) Set(absl::StrCat("job", i), "0 3 * * *", "2026-03-01T00:00:00Z");
  EXPECT_THAT(Due("2026-03-01T02:59:59Z"), IsEmpty());
  std::set<std::string> seen;
  while (scheduler_.NextFire() == At("2026-03-01T03:00:00Z")) {
    const std::vector<Fire> fires = scheduler_.Due(At("2026-03-01T03:00:00Z"), 999);
    ASSERT_FALSE(fires.empty());
    for (const Fire& fire : fires) EXPECT_TRUE(seen.insert(fire.uid).second) << fire.uid;
  }
  EXPECT_EQ(seen.size(), kJobs);
}

// One local time that a zone skips or repeats, and the only instants at which "every day at that time" may fire.
struct OddHour {
  const char* zone;
  const char* cron;
  const char* after;
  std::vector<std::string> fires;
};

TEST_F(SchedulerTest, SkippedAndRepeatedLocalTimesFireOnce) {
  const OddHour kOdd[] = {
      {"Europe/Paris", "30 2 * * *", "2026-03-28T12:00:00Z", {"03-29 01:00", "03-30 00:30"}},
      {"Europe/Paris", "30 2 * * *", "2026-10-24T12:00:00Z", {"10-25 00:30", "10-26 01:30"}},
      {"America/New_York", "30 2 * * *", "2026-03-07T12:00:00Z", {"03-08 07:00", "03-09 06:30"}},
      {"America/New_York", "30 1 * * *", "2026-10-31T12:00:00Z", {"11-01 05:30", "11-02 06:30"}},
      {"Australia/Lord_Howe", "10 2 * * *", "2026-10-03T00:00:00Z", {"10-03 15:30", "10-04 15:10"}},
      {"Australia/Lord_Howe", "45 1 * * *", "2026-04-04T00:00:00Z", {"04-04 14:45", "04-05 15:15"}},
      {"Asia/Tokyo", "30 2 * * *", "2026-03-28T12:00:00Z", {"03-28 17:30", "03-29 17:30"}},
  };
  for (const OddHour& odd : kOdd) {
    SCOPED_TRACE(absl::StrCat(odd.zone, " after ", odd.after));
    Scheduler scheduler;
    scheduler.Set("a", Cron(odd.cron), Zone(odd.zone), absl::Hours(1), At(odd.after));
    std::vector<std::string> fires;
    for (absl::Time now = At(odd.after); fires.size() < odd.fires.size(); now += absl::Minutes(1)) {
      for (const Fire& fire : scheduler.Due(now, 10)) {
        EXPECT_EQ(fire.time, now);
        fires.push_back(absl::FormatTime("%m-%d %H:%M", fire.time, absl::UTCTimeZone()));
      }
    }
    EXPECT_EQ(fires, odd.fires);
  }
}

// A cron expression and, told apart from its parser, what it means.
struct RandomCron {
  RandomCron(Rng& rng, bool every_day) {
    std::vector<std::string> fields;
    const std::vector<std::pair<int, int>> bounds = {{0, 59}, {0, 23}, {1, 31}, {1, 12}, {0, 6}};
    for (size_t i = 0; i < bounds.size(); ++i) {
      const auto [min, max] = bounds[i];
      if (i < 2 ? rng.Below(4) == 0 : every_day || rng.Below(2) == 0) {
        any[i] = true;
        for (int value = min; value <= max; ++value) values[i].set(value);
        fields.push_back("*");
        continue;
      }
      std::vector<std::string> list;
      for (uint64_t n = 1 + rng.Below(i == 0 ? 20 : 6); n > 0; --n) {
        // Days that every month has: none that never fires.
        const int value = min + static_cast<int>(rng.Below(std::min(max, i == 2 ? 28 : max) - min + 1));
        values[i].set(value);
        list.push_back(absl::StrCat(value));
      }
      fields.push_back(absl::StrJoin(list, ","));
    }
    text = absl::StrJoin(fields, " ");
  }

  bool Matches(absl::CivilMinute local) const {
    if (!values[0][local.minute()] || !values[1][local.hour()] || !values[3][local.month()]) return false;
    const bool day = values[2][local.day()];
    const bool weekday = values[4][(static_cast<int>(absl::GetWeekday(local)) + 1) % 7];
    return any[2] || any[4] ? day && weekday : day || weekday;
  }

  std::string text;
  std::bitset<64> values[5];
  bool any[5] = {};
};

// Every minute in turn: it fires if a local time matches that the clock has now reached for the first time.
std::vector<std::vector<absl::Time>> NaiveFires(const std::vector<RandomCron>& crons, absl::TimeZone zone,
                                                absl::Time after, absl::Time until) {
  std::vector<std::vector<absl::Time>> fires(crons.size());
  absl::CivilMinute reached(zone.At(after).cs);
  for (absl::Time at = after + absl::Minutes(1); at <= until; at += absl::Minutes(1)) {
    const absl::CivilMinute local(zone.At(at).cs);
    for (size_t i = 0; i < crons.size(); ++i) {
      for (absl::CivilMinute minute = reached + 1; minute <= local; ++minute) {
        if (!crons[i].Matches(minute)) continue;
        fires[i].push_back(at);
        break;
      }
    }
    reached = std::max(reached, local);
  }
  return fires;
}

class SchedulerOracleTest : public ::testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(SchedulerOracleTest, AgreesWithEveryMinuteOfTwoYears) {
  const absl::TimeZone zone = Zone(GetParam().first);
  const absl::Time begin = At(GetParam().second);
  const absl::Time end = begin + absl::Hours(24) * 731;
  Rng rng(4711);
  std::vector<RandomCron> crons;
  for (int i = 0; i < 6; ++i) crons.emplace_back(rng, /*every_day=*/i < 2);
  const std::vector<std::vector<absl::Time>> naive = NaiveFires(crons, zone, begin, end);
  const auto random_time = [&] { return begin + absl::Seconds(rng.Below(absl::ToInt64Seconds(end - begin))); };
  for (size_t i = 0; i < crons.size(); ++i) {
    SCOPED_TRACE(crons[i].text);
    const CronSchedule cron = Cron(crons[i].text);
    const std::vector<absl::Time>& fires = naive[i];
    std::vector<absl::Time> walked;
    for (absl::Time at = begin; (at = cron.Next(at, zone)) <= end;) walked.push_back(at);
    ASSERT_EQ(walked, fires);

    for (int n = 0; n < 300; ++n) {
      const absl::Time from = random_time();
      // Half of them within a few days, where the ends of days and jumps of the clock weigh more.
      const absl::Time to = n % 2 == 0 ? random_time() : from + absl::Minutes(rng.Below(5000));
      const auto first = std::upper_bound(fires.begin(), fires.end(), from);
      const auto last = std::upper_bound(first, fires.end(), std::min(to, end));
      const absl::Time bound = std::min(to, end);
      EXPECT_EQ(cron.Count(from, bound, zone), last - first) << from << " to " << bound;
      EXPECT_EQ(cron.Latest(from, bound, zone), last == first ? absl::InfinitePast() : last[-1]) << from << bound;
    }

    // Looked at by a coordinator that is away at times and whose clock steps both ways.
    Scheduler scheduler;
    const absl::Duration catch_up = absl::Minutes(1 + rng.Below(300));
    scheduler.Set("a", cron, zone, catch_up, begin);
    size_t done = 0;
    for (absl::Time now = begin; now < end; now += absl::Minutes(rng.Below(rng.Below(20) == 0 ? 20'000 : 120))) {
      if (rng.Below(50) == 0) now -= absl::Minutes(rng.Below(1000));
      size_t due = std::upper_bound(fires.begin(), fires.end(), now) - fires.begin();
      if (due <= done) {
        ASSERT_THAT(scheduler.Due(now, 10), IsEmpty()) << now;
        continue;
      }
      const std::vector<Fire> out = scheduler.Due(now, 10);
      ASSERT_EQ(out.size(), 1) << now;
      EXPECT_EQ(out[0].time, fires[due - 1]);
      EXPECT_EQ(out[0].run, fires[due - 1] >= now - catch_up);
      const auto late = std::count_if(fires.begin() + done, fires.begin() + due,
                                      [&](absl::Time time) { return time < now - catch_up; });
      EXPECT_EQ(out[0].too_late, late) << now;
      EXPECT_EQ(out[0].superseded + out[0].too_late + (out[0].run ? 1 : 0), due - done) << now;
      done = due;
    }
  }
}

// The years are those in which the zone is oddest: jumps at midnight, by half an hour, by a whole day.
INSTANTIATE_TEST_SUITE_P(Zones, SchedulerOracleTest,
                         ::testing::Values(std::pair("Europe/Paris", "2025-01-01T00:00:00Z"),
                                           std::pair("America/New_York", "2025-01-01T00:00:00Z"),
                                           std::pair("Australia/Lord_Howe", "2025-01-01T00:00:00Z"),
                                           std::pair("Asia/Kolkata", "2025-01-01T00:00:00Z"),
                                           std::pair("America/Sao_Paulo", "2016-06-01T00:00:00Z"),
                                           std::pair("Africa/Casablanca", "2025-01-01T00:00:00Z"),
                                           std::pair("Pacific/Apia", "2011-01-01T00:00:00Z")),
                         [](const auto& info) {
                           std::string name = info.param.first;
                           std::replace(name.begin(), name.end(), '/', '_');
                           return name;
                         });

}  // namespace
}  // namespace tidemark::coordinator
