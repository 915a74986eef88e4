#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/cache/job_cache.h"
#include "coordinator/cache/job_list_codec.h"
#include "coordinator/cache/shared_values.h"

namespace tidemark::coordinator {

// The list in this process, in front of SharedValues where there are any, in front of the source. At any moment at most
// one thread of the process looks further than its own list, so that, whatever is away, the source never sees more than
// one load of a process at once; the other threads wait for it. Of several processes the one that holds the lock loads,
// and the others look for its value for a moment before they load themselves.
//
// A list is loaded again before it expires, by chance and more likely the nearer that is and the longer loading takes,
// so that no one waits for an expired one and processes do not do it together (Vattani, Chierichetti, Lowenstein:
// Optimal Probabilistic Cache Stampede Prevention, PVLDB 8(8), 2015).
class LayeredJobCache final : public JobCache {
 public:
  // `shared` may be null.
  LayeredJobCache(const JobCacheOptions& options, std::unique_ptr<SharedValues> shared, std::string cluster_id);

  absl::StatusOr<std::shared_ptr<const JobList>> Get() override;

 private:
  using Result = absl::StatusOr<std::shared_ptr<const JobList>>;
  struct Outcome {
    Result list;
    JobCacheResult result;
  };
  // The one look beyond the process's list, and those who wait for it.
  struct Flight {
    bool done = false;
    Result list = std::shared_ptr<const JobList>();
  };
  // Locks the loading of one revision among the processes, while it lives.
  class SharedLock;

  Outcome Find() ABSL_LOCKS_EXCLUDED(mutex_);
  // Looks into the shared values, then loads. `ours` is this process's list of the revision if it is still good: it is
  // to be replaced early, and stands in for whatever fails.
  Outcome LookFurther(int64_t revision, std::optional<CachedList> ours) ABSL_LOCKS_EXCLUDED(mutex_);
  // A good list of the revision among the shared values. An error: they are away.
  absl::StatusOr<std::optional<CachedList>> FindShared(int64_t revision);
  // Loads the list and keeps it under the revision that it proved to have; with `share` among the shared values too.
  Result Load(int64_t revision, bool share) ABSL_LOCKS_EXCLUDED(mutex_);

  void Keep(const CachedList& cached) ABSL_LOCKS_EXCLUDED(mutex_);
  bool Expired(const CachedList& cached) const;
  bool DueEarly(const CachedList& cached) const;
  std::string KeyOf(int64_t revision) const;
  std::string NewToken() const;

  const JobCacheOptions options_;
  const std::unique_ptr<SharedValues> shared_;
  const std::string cluster_id_;
  absl::Mutex mutex_;
  std::optional<CachedList> kept_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<Flight> flight_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tidemark::coordinator
