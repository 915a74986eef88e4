#include "coordinator/schedule/scheduler.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace tidemark::coordinator {

void Scheduler::Set(std::string_view uid, const CronSchedule& cron, absl::TimeZone zone, absl::Duration catch_up,
                    absl::Time after) {
  after = std::max(after, absl::UnixEpoch());
  auto it = jobs_.find(uid);
  if (it == jobs_.end()) {
    it = jobs_.emplace(uid, Job{cron, zone, catch_up, after, after}).first;
  } else {
    queue_.erase(&*it);
    it->second = Job{cron, zone, catch_up, std::max(after, it->second.done), after};
  }
  Enqueue(&*it);
}

void Scheduler::Remove(std::string_view uid) {
  const auto it = jobs_.find(uid);
  if (it == jobs_.end()) return;
  queue_.erase(&*it);
  jobs_.erase(it);
}

void Scheduler::Enqueue(Entry* entry) {
  Job& job = entry->second;
  job.next = job.cron.Next(job.done, job.zone);
  queue_.insert(entry);
}

std::vector<Fire> Scheduler::Due(absl::Time now, size_t limit) {
  std::vector<Fire> fires;
  while (fires.size() < limit && !queue_.empty() && (*queue_.begin())->second.next <= now) {
    Entry* const entry = *queue_.begin();
    queue_.erase(queue_.begin());
    Job& job = entry->second;
    Fire fire;
    fire.uid = entry->first;
    const absl::Time latest = job.cron.Latest(job.next, now, job.zone);
    fire.time = std::max(job.next, latest);
    const absl::Time oldest = now - job.catch_up;
    fire.run = fire.time >= oldest;
    if (latest > job.next || !fire.run) {
      const absl::Time too_late = std::clamp(oldest - absl::Nanoseconds(1), job.done, fire.time);
      fire.too_late = job.cron.Count(job.done, too_late, job.zone);
      fire.superseded = job.cron.Count(too_late, fire.time, job.zone) - (fire.run ? 1 : 0);
    }
    job.done = fire.time;
    Enqueue(entry);
    fires.push_back(std::move(fire));
  }
  std::sort(fires.begin(), fires.end(),
            [](const Fire& a, const Fire& b) { return std::tie(a.time, a.uid) < std::tie(b.time, b.uid); });
  return fires;
}

absl::Time Scheduler::NextFire() const {
  return queue_.empty() ? absl::InfiniteFuture() : (*queue_.begin())->second.next;
}

std::optional<absl::Time> Scheduler::NextFireOf(std::string_view uid) const {
  const auto it = jobs_.find(uid);
  if (it == jobs_.end()) return std::nullopt;
  return it->second.next;
}

}  // namespace tidemark::coordinator
