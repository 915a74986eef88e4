#include "coordinator/store/postgres_listener.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <pqxx/pqxx>
#include <utility>

namespace tidemark::coordinator {
namespace {

constexpr absl::Duration kReconnectAfter = absl::Milliseconds(500);
// Of one call of poll.
constexpr absl::Duration kLongestPoll = absl::Minutes(1);

}  // namespace

class PostgresListener::Connection {
 public:
  Connection(const std::string& connection_string, const std::string& channel)
      : connection_(connection_string), quiet_(connection_), receiver_(connection_, channel) {}

  int socket() const { return connection_.sock(); }

  // Whether a notification has come. Throws if the connection is broken.
  bool Read() {
    connection_.get_notifs();
    return std::exchange(receiver_.notified, false);
  }

 private:
  class Receiver final : public pqxx::notification_receiver {
   public:
    using notification_receiver::notification_receiver;
    void operator()(const std::string&, int) override { notified = true; }
    bool notified = false;
  };

  pqxx::connection connection_;
  pqxx::quiet_errorhandler quiet_;
  Receiver receiver_;
};

PostgresListener::PostgresListener(PostgresAddress address, std::string channel)
    : address_(std::move(address)),
      channel_(std::move(channel)),
      interruption_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

PostgresListener::~PostgresListener() {
  connection_.reset();
  close(interruption_);
}

void PostgresListener::Interrupt() {
  // Adding one to the counter cannot fail.
  [[maybe_unused]] const int failed = eventfd_write(interruption_, 1);
}

bool PostgresListener::Interrupted(absl::Duration timeout) {
  pollfd waits[] = {{interruption_, POLLIN, 0}, {connection_ == nullptr ? -1 : connection_->socket(), POLLIN, 0}};
  const absl::Duration longest = std::clamp(timeout, absl::ZeroDuration(), kLongestPoll);
  // Rounded up: a rest below a millisecond must not spin.
  poll(waits, 2, static_cast<int>(absl::ToInt64Milliseconds(absl::Ceil(longest, absl::Milliseconds(1)))));
  eventfd_t interruptions = 0;
  return eventfd_read(interruption_, &interruptions) == 0;
}

bool PostgresListener::Connect() {
  try {
    connection_ = std::make_unique<Connection>(address_.connection_string, channel_);
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

bool PostgresListener::Wait(absl::Duration timeout) {
  const absl::Duration begin = clock_.Monotonic();
  while (true) {
    const absl::Duration left = timeout - (clock_.Monotonic() - begin);
    if (connection_ == nullptr) {
      if (Connect()) return true;
      if (Interrupted(std::min(left, kReconnectAfter)) || left <= kReconnectAfter) return false;
      continue;
    }
    if (Interrupted(left)) return false;
    try {
      if (connection_->Read()) return true;
      if (left <= absl::ZeroDuration()) return false;
    } catch (const std::exception&) {
      connection_.reset();
    }
  }
}

}  // namespace tidemark::coordinator
