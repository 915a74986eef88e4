#include "coordinator/cache/redis_shared_values.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "coordinator/cache/circuit_breaker.h"
#include "coordinator/cache/job_cache.h"
#include "coordinator/cache/layered_job_cache.h"
#include "coordinator/cache/redis_connection.h"

namespace tidemark::coordinator {
namespace {

// No value of ours is larger; more of a foreign one is not fetched.
constexpr int64_t kLargestValue = 64 << 20;

constexpr char kUnlock[] =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

std::string Millis(absl::Duration duration) {
  return absl::StrCat(std::max<int64_t>(1, absl::ToInt64Milliseconds(duration)));
}

class RedisSharedValues final : public SharedValues {
 public:
  RedisSharedValues(RedisAddress address, const Clock* clock, RedisOutage outage)
      : clock_(clock), outage_(std::move(outage)), connection_(std::move(address), clock) {}

  absl::StatusOr<std::optional<std::string>> Get(std::string_view key) override {
    TM_ASSIGN_OR_RETURN(RedisReply reply, Call({"GETRANGE", std::string(key), "0", absl::StrCat(kLargestValue)}));
    // None of ours is empty, nor longer than what was asked for.
    if (reply.kind != RedisReply::Kind::kText || reply.text.empty()) return std::nullopt;
    return std::move(reply.text);
  }

  absl::Status Put(std::string_view key, std::string_view value, absl::Duration ttl) override {
    return Call({"SET", std::string(key), std::string(value), "PX", Millis(ttl)}).status();
  }

  absl::StatusOr<bool> TryLock(std::string_view key, std::string_view token, absl::Duration ttl) override {
    TM_ASSIGN_OR_RETURN(const RedisReply reply,
                        Call({"SET", std::string(key), std::string(token), "NX", "PX", Millis(ttl)}));
    return reply.kind == RedisReply::Kind::kText;
  }

  absl::Status Unlock(std::string_view key, std::string_view token) override {
    return Call({"EVAL", kUnlock, "1", std::string(key), std::string(token)}).status();
  }

 private:
  // An error that Redis answers is one too, but for a value of another kind, which counts as nothing.
  absl::StatusOr<RedisReply> Call(const std::vector<std::string>& command) {
    absl::MutexLock lock(&mutex_);
    if (!breaker_.Allow(clock_->Monotonic())) return absl::UnavailableError("redis is left alone after it failed");
    absl::StatusOr<RedisReply> reply = connection_.Call(command, kRedisTimeout);
    if (reply.ok() && reply->kind == RedisReply::Kind::kError) {
      if (reply->text == "WRONGTYPE") {
        *reply = RedisReply();
      } else {
        reply = absl::UnavailableError(absl::StrCat("redis answers ", reply->text));
      }
    }
    const bool was_left_alone = breaker_.open();
    const absl::Duration now = clock_->Monotonic();
    if (reply.ok()) {
      breaker_.Succeeded();
    } else {
      breaker_.Failed(now);
    }
    if (breaker_.open() == was_left_alone) return reply;
    if (was_left_alone) {
      if (outage_.ended) outage_.ended(now - left_alone_);
    } else {
      left_alone_ = now;
      if (outage_.began) outage_.began(reply.status());
    }
    return reply;
  }

  const Clock* const clock_;
  const RedisOutage outage_;
  absl::Mutex mutex_;
  // While the breaker is open: since when.
  absl::Duration left_alone_ ABSL_GUARDED_BY(mutex_);
  CircuitBreaker breaker_ ABSL_GUARDED_BY(mutex_) = CircuitBreaker(kRedisFailures, kRedisPause);
  RedisConnection connection_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<SharedValues> NewRedisSharedValues(RedisAddress address, const Clock* clock, RedisOutage outage) {
  return std::make_unique<RedisSharedValues>(std::move(address), clock, std::move(outage));
}

absl::StatusOr<std::unique_ptr<JobCache>> NewRedisJobCache(const JobCacheOptions& options, std::string_view url,
                                                           std::string_view cluster_id) {
  TM_ASSIGN_OR_RETURN(RedisAddress address, ParseRedisUrl(url));
  return std::make_unique<LayeredJobCache>(
      options, NewRedisSharedValues(std::move(address), options.clock, options.outage), std::string(cluster_id));
}

}  // namespace tidemark::coordinator
