#pragma once

#include <memory>

#include "absl/time/time.h"
#include "common/base/clock.h"
#include "coordinator/cache/job_cache.h"
#include "coordinator/cache/redis_url.h"
#include "coordinator/cache/shared_values.h"

namespace tidemark::coordinator {

// What a call takes at most, the opening of the connection included.
inline constexpr absl::Duration kRedisTimeout = absl::Milliseconds(50);
// After so many failed calls Redis is left alone for a while.
inline constexpr int kRedisFailures = 3;
inline constexpr absl::Duration kRedisPause = absl::Seconds(5);

// One connection, opened at the first call and again after an error. `clock` outlives it.
std::unique_ptr<SharedValues> NewRedisSharedValues(RedisAddress address, const Clock* clock, RedisOutage outage = {});

}  // namespace tidemark::coordinator
