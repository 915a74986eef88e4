#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "coordinator/cache/redis_url.h"

namespace tidemark::coordinator {

// What Redis answered.
struct RedisReply {
  enum class Kind { kNothing, kText, kInteger, kError };
  Kind kind = Kind::kNothing;
  // kText: the value or status. kError: its first word, such as WRONGTYPE; the rest may quote what was sent.
  std::string text;
  int64_t integer = 0;
};

// One connection to one Redis, opened when it is needed. hiredis speaks the protocol; the socket is our own, since a
// deadline is to hold for a call as a whole, the name's resolution and the opening included, and a connection that the
// other side has closed is to be an error and no signal. Not thread-safe.
class RedisConnection {
 public:
  // `clock` outlives this.
  RedisConnection(RedisAddress address, const Clock* clock);
  ~RedisConnection();
  RedisConnection(const RedisConnection&) = delete;
  RedisConnection& operator=(const RedisConnection&) = delete;

  // Sends a command and returns the answer within `timeout`. A connection that turns out to be closed is opened again
  // once. An error means that there was no answer, so that the command may have been done or not; it names host and
  // port and nothing of the command.
  absl::StatusOr<RedisReply> Call(const std::vector<std::string>& command, absl::Duration timeout);

 private:
  class Resolver;
  struct Session;

  absl::Status Open(absl::Duration deadline);
  absl::StatusOr<RedisReply> Exchange(const std::vector<std::string>& command, absl::Duration deadline);
  // Waits until the socket is ready for the events of poll(2).
  absl::Status Await(int fd, short events, absl::Duration deadline) const;
  absl::Status Error(absl::string_view what) const;

  const RedisAddress address_;
  const Clock* const clock_;
  const std::unique_ptr<Resolver> resolver_;
  std::unique_ptr<Session> session_;
};

}  // namespace tidemark::coordinator
