#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/rng.h"
#include "tidemark/v1/spec.pb.h"

namespace tidemark::coordinator {

// What a user says of a job, without what runs make of it (its watermark): it changes rarely and is asked for often.
struct JobDefinition {
  std::string uid;
  v1::JobSpec spec;
  bool enabled = true;
  absl::Time created;
  absl::Time updated;
};

struct JobList {
  // Of the store: the list holds every change up to it.
  int64_t revision = 0;
  std::vector<JobDefinition> jobs;  // By name.
};

// Where the list comes from. Thread-safe.
class JobListSource {
 public:
  virtual ~JobListSource() = default;
  // Grows with every change of a JobDefinition. Cheap: asked at every Get.
  virtual absl::StatusOr<int64_t> Revision() = 0;
  // By name, as of one moment.
  virtual absl::StatusOr<std::vector<JobDefinition>> Load() = 0;
};

// What a Get came to; label of tidemark_job_cache_requests_total.
enum class JobCacheResult {
  kHit,         // This process or Redis had the list.
  kMiss,        // Nobody had it: this call loaded it.
  kRecomputed,  // This call loaded it early, before it would have expired.
  kWaited,      // Another thread or process was loading it.
  kBypass,      // This call loaded it past Redis, which was away, or past another process that was too slow.
  kError,       // The source failed.
};
// Lower-case: "hit", "miss", ...
std::string_view Name(JobCacheResult result);

// The list of jobs, read from the source once per revision. Thread-safe.
class JobCache {
 public:
  virtual ~JobCache() = default;
  // The list at a revision no older than the source's when Get was called, or the source's error. What lies between,
  // Redis included, changes how long it takes and never what is returned.
  virtual absl::StatusOr<std::shared_ptr<const JobList>> Get() = 0;
};

// Hears of Redis being left alone, once per outage: by the thread that noticed, which it must not hold up. Either may
// be empty.
struct RedisOutage {
  std::function<void(const absl::Status& error)> began = {};
  // It answers again, so long after.
  std::function<void(absl::Duration after)> ended = {};
};

struct JobCacheOptions {
  // All three outlive the cache.
  JobListSource* source = nullptr;
  const Clock* clock = nullptr;
  Rng* rng = nullptr;
  // How long a list is kept, less up to 10 %, so that what was loaded together does not expire together. A list of the
  // source's revision is right however old it is; this bounds what a lost or a restored store leaves behind.
  absl::Duration ttl = absl::Minutes(10);
  // Told of each Get, by the thread that called it; may be empty.
  std::function<void(JobCacheResult)> observer = {};
  RedisOutage outage = {};
};

// Keeps the list in this process alone.
std::unique_ptr<JobCache> NewMemoryJobCache(const JobCacheOptions& options);

// Keeps the list in this process, and in Redis for the others of the cluster under
// "tidemark:CLUSTER_ID:jobs:REVISION", so that of all processes one loads it. `url` is
// redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]; InvalidArgument, without the URL, if it is not (rediss:// is not
// supported). Does not connect yet: Redis may be away then and at any later time. After a store was put back to an
// earlier state, flush Redis: revisions are counted anew from there.
absl::StatusOr<std::unique_ptr<JobCache>> NewRedisJobCache(const JobCacheOptions& options, std::string_view url,
                                                           std::string_view cluster_id);

}  // namespace tidemark::coordinator
