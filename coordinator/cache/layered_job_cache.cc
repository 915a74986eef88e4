#include "coordinator/cache/layered_job_cache.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/base/status_macros.h"

namespace tidemark::coordinator {
namespace {

// Of a list that was loaded in no time.
constexpr absl::Duration kLeastLoadTime = absl::Milliseconds(1);
// The longest a process that died while loading keeps the others from sharing.
constexpr absl::Duration kLockTtl = absl::Seconds(5);
// How a process looks for the value of another one that is loading.
constexpr absl::Duration kPoll = absl::Milliseconds(10);
constexpr int kPolls = 20;
// How often a list is loaded whose revision changes meanwhile.
constexpr int kLoads = 3;

}  // namespace

std::string_view Name(JobCacheResult result) {
  switch (result) {
    case JobCacheResult::kHit:
      return "hit";
    case JobCacheResult::kMiss:
      return "miss";
    case JobCacheResult::kRecomputed:
      return "recomputed";
    case JobCacheResult::kWaited:
      return "waited";
    case JobCacheResult::kBypass:
      return "bypass";
    case JobCacheResult::kError:
      return "error";
  }
  return "";
}

class LayeredJobCache::SharedLock {
 public:
  SharedLock(SharedValues* shared, std::string key, std::string token)
      : shared_(shared), key_(std::move(key)), token_(std::move(token)) {}
  ~SharedLock() {
    // If that fails, it ends with its time.
    if (held_) shared_->Unlock(key_, token_).IgnoreError();
  }
  SharedLock(const SharedLock&) = delete;
  SharedLock& operator=(const SharedLock&) = delete;

  absl::StatusOr<bool> Try() {
    TM_ASSIGN_OR_RETURN(held_, shared_->TryLock(key_, token_, kLockTtl));
    return held_;
  }

 private:
  SharedValues* const shared_;
  const std::string key_;
  const std::string token_;
  bool held_ = false;
};

LayeredJobCache::LayeredJobCache(const JobCacheOptions& options, std::unique_ptr<SharedValues> shared,
                                 std::string cluster_id)
    : options_(options), shared_(std::move(shared)), cluster_id_(std::move(cluster_id)) {}

std::string LayeredJobCache::KeyOf(int64_t revision) const {
  return absl::StrCat("tidemark:", cluster_id_, ":jobs:", revision);
}

bool LayeredJobCache::Expired(const CachedList& cached) const { return options_.clock->Now() >= cached.expires; }

bool LayeredJobCache::DueEarly(const CachedList& cached) const {
  const double lead = -std::log(1.0 - options_.rng->Unit());
  return options_.clock->Now() + std::max(cached.load_time, kLeastLoadTime) * lead >= cached.expires;
}

LayeredJobCache::Result LayeredJobCache::Get() {
  Outcome outcome = Find();
  if (options_.observer) options_.observer(outcome.result);
  return std::move(outcome.list);
}

LayeredJobCache::Outcome LayeredJobCache::Find() {
  absl::StatusOr<int64_t> revision = options_.source->Revision();
  for (bool asked_again = false;;) {
    if (!revision.ok()) return {revision.status(), JobCacheResult::kError};
    std::optional<CachedList> ours;
    std::shared_ptr<Flight> flight;
    bool leads = false;
    bool behind = false;
    {
      absl::MutexLock lock(&mutex_);
      if (kept_.has_value() && kept_->list->revision == *revision && !Expired(*kept_)) {
        if (flight_ != nullptr || !DueEarly(*kept_)) return {kept_->list, JobCacheResult::kHit};
        ours = kept_;
      }
      // Another thread has asked since, and has the list already.
      behind = kept_.has_value() && kept_->list->revision > *revision && !asked_again;
      if (!behind) {
        leads = flight_ == nullptr;
        if (leads) flight_ = std::make_shared<Flight>();
        flight = flight_;
      }
    }
    if (behind) {
      asked_again = true;
      revision = options_.source->Revision();
    } else if (leads) {
      Outcome outcome = LookFurther(*revision, std::move(ours));
      absl::MutexLock lock(&mutex_);
      flight_ = nullptr;
      flight->list = outcome.list;
      flight->done = true;
      return outcome;
    } else {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(&flight->done));
      if (!flight->list.ok()) return {flight->list, JobCacheResult::kError};
      // Else it began before this call's revision was there.
      if ((*flight->list)->revision >= *revision) return {flight->list, JobCacheResult::kWaited};
    }
  }
}

LayeredJobCache::Outcome LayeredJobCache::LookFurther(int64_t revision, std::optional<CachedList> ours) {
  // Looks for a list that is better than ours.
  const auto look = [&]() -> absl::StatusOr<std::optional<CachedList>> {
    TM_ASSIGN_OR_RETURN(std::optional<CachedList> found, FindShared(revision));
    if (found.has_value() && ours.has_value() && found->expires <= ours->expires) found.reset();
    return found;
  };
  bool share = shared_ != nullptr;
  bool outran = false;
  SharedLock lock(shared_.get(), absl::StrCat(KeyOf(revision), ":lock"), NewToken());
  if (share) {
    absl::StatusOr<std::optional<CachedList>> found = look();
    share = found.ok();
    if (share && found->has_value()) {
      Keep(**found);
      if (!DueEarly(**found)) return {(*found)->list, JobCacheResult::kHit};
      ours = **found;
    }
  }
  if (share) {
    const absl::StatusOr<bool> locked = lock.Try();
    share = locked.ok();
    if (share && !*locked && ours.has_value()) return {ours->list, JobCacheResult::kHit};
    const int looks = share && !*locked ? kPolls : 1;
    for (int i = 0; share && i < looks; ++i) {
      if (!*locked) absl::Notification().WaitForNotificationWithTimeout(kPoll);
      // With the lock in hand too: its last holder may have been done before.
      const absl::StatusOr<std::optional<CachedList>> found = look();
      share = found.ok();
      if (!share || !found->has_value()) continue;
      Keep(**found);
      return {(*found)->list, *locked ? JobCacheResult::kHit : JobCacheResult::kWaited};
    }
    outran = share && !*locked;
  }
  Result list = Load(revision, share);
  if (!list.ok() && ours.has_value()) return {ours->list, JobCacheResult::kHit};
  if (!list.ok()) return {std::move(list), JobCacheResult::kError};
  const bool bypassed = outran || (shared_ != nullptr && !share);
  return {std::move(list), bypassed           ? JobCacheResult::kBypass
                           : ours.has_value() ? JobCacheResult::kRecomputed
                                              : JobCacheResult::kMiss};
}

absl::StatusOr<std::optional<CachedList>> LayeredJobCache::FindShared(int64_t revision) {
  TM_ASSIGN_OR_RETURN(const std::optional<std::string> value, shared_->Get(KeyOf(revision)));
  if (!value.has_value()) return std::nullopt;
  std::optional<CachedList> cached = DecodeJobList(*value, cluster_id_, revision);
  if (!cached.has_value() || Expired(*cached)) return std::nullopt;
  // By a clock that is far ahead of ours.
  cached->expires = std::min(cached->expires, options_.clock->Now() + options_.ttl);
  return cached;
}

LayeredJobCache::Result LayeredJobCache::Load(int64_t revision, bool share) {
  auto list = std::make_shared<JobList>();
  for (int i = 0; i < kLoads; ++i) {
    const absl::Duration begin = options_.clock->Monotonic();
    list = std::make_shared<JobList>();
    list->revision = revision;
    TM_ASSIGN_OR_RETURN(list->jobs, options_.source->Load());
    const absl::Duration load_time = options_.clock->Monotonic() - begin;
    TM_ASSIGN_OR_RETURN(const int64_t after, options_.source->Revision());
    if (after == revision) {
      const absl::Duration ttl = options_.ttl * (1.0 - 0.1 * options_.rng->Unit());
      const CachedList cached = {list, options_.clock->Now() + ttl, load_time};
      Keep(cached);
      if (share) shared_->Put(KeyOf(revision), EncodeJobList(cached, cluster_id_), ttl).IgnoreError();
      return list;
    }
    revision = after;
  }
  // Jobs change faster than they are read: what was read holds all that was there before, but is no list of a revision.
  return list;
}

void LayeredJobCache::Keep(const CachedList& cached) {
  absl::MutexLock lock(&mutex_);
  kept_ = cached;
}

std::string LayeredJobCache::NewToken() const {
  return absl::StrCat(absl::Hex(options_.rng->Next(), absl::kZeroPad16));
}

std::unique_ptr<JobCache> NewMemoryJobCache(const JobCacheOptions& options) {
  return std::make_unique<LayeredJobCache>(options, nullptr, "");
}

}  // namespace tidemark::coordinator
