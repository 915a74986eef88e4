#pragma once

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "coordinator/store/postgres_database.h"

namespace tidemark::coordinator {

// Waits for notifications on a channel, on a connection of its own that lives as long as it can: it must lead to the
// server itself, since a pooler of transactions would give the server connection that listens to someone else.
class PostgresListener {
 public:
  PostgresListener(PostgresAddress address, std::string channel);
  ~PostgresListener();
  PostgresListener(const PostgresListener&) = delete;
  PostgresListener& operator=(const PostgresListener&) = delete;

  // True as soon as something may have been notified since it last returned true: a notification has come, or the
  // connection was made (again). False after `timeout`, and for an interruption. One thread at a time.
  bool Wait(absl::Duration timeout);
  // Ends the wait, or the next one. Any thread.
  void Interrupt();

 private:
  class Connection;

  // Waits until the connection (if there is one) can be read or for an interruption. True for the latter, which it
  // takes.
  bool Interrupted(absl::Duration timeout);
  bool Connect();

  const PostgresAddress address_;
  const std::string channel_;
  const SystemClock clock_;
  // An eventfd.
  const int interruption_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace tidemark::coordinator
