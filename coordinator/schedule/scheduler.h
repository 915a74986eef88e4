#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/schedule/cron.h"

namespace tidemark::coordinator {

// What has come of a job's schedule since it was last asked.
struct Fire {
  std::string uid;
  // The newest fire time that has come.
  absl::Time time;
  // False: even that one is older than the job's catch-up, so nothing is to run.
  bool run = false;
  // Earlier fire times that came too but are not run, since `time` is run instead.
  int64_t superseded = 0;
  // Fire times older than the job's catch-up; `time` among them if `run` is false.
  int64_t too_late = 0;
};

// When each job is to run next. A queue of next fire times: a call costs O(due log jobs), never O(jobs). A fire time is
// given out once, ever, however the wall clock steps. Pure; not thread-safe.
class Scheduler {
 public:
  // Schedules the job, or schedules it anew. Fire times up to and including `after` are done with (nothing fires before
  // 1970), and so are all that were given out for this uid before.
  void Set(std::string_view uid, const CronSchedule& cron, absl::TimeZone zone, absl::Duration catch_up,
           absl::Time after);
  // Forgets the job and what was given out for it. No effect without one.
  void Remove(std::string_view uid);

  // At most `limit` of the jobs of which a fire time has come at `now` (finite), those that have waited longest first
  // taken; oldest fire time first, then by uid. A job comes once in a call, however many of its fire times were missed
  // while the coordinator was away or the wall clock jumped, and what that costs grows with the days they cover, not
  // with their number.
  std::vector<Fire> Due(absl::Time now, size_t limit);

  // The earliest of all next fire times; InfiniteFuture without jobs.
  absl::Time NextFire() const;
  // nullopt if the job is not scheduled.
  std::optional<absl::Time> NextFireOf(std::string_view uid) const;
  size_t size() const { return jobs_.size(); }

 private:
  struct Job {
    CronSchedule cron;
    absl::TimeZone zone;
    absl::Duration catch_up;
    // Fire times up to it are done with.
    absl::Time done;
    absl::Time next;
  };
  using Entry = std::map<std::string, Job, std::less<>>::value_type;
  struct Earlier {
    bool operator()(const Entry* a, const Entry* b) const {
      return a->second.next != b->second.next ? a->second.next < b->second.next : a->first < b->first;
    }
  };

  // Enters the job, which is not in the queue, by its next fire time.
  void Enqueue(Entry* entry);

  std::map<std::string, Job, std::less<>> jobs_;  // By uid; its nodes stay where they are.
  std::set<Entry*, Earlier> queue_;
};

}  // namespace tidemark::coordinator
