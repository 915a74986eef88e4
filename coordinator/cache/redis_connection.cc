#include "coordinator/cache/redis_connection.h"

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/status_macros.h"

namespace tidemark::coordinator {
namespace {

struct FreeAddresses {
  void operator()(struct addrinfo* addresses) const { freeaddrinfo(addresses); }
};
using Addresses = std::unique_ptr<struct addrinfo, FreeAddresses>;

}  // namespace

// Looks a name up without waiting longer than wished: the C library has no deadline for it, so a thread does it, which
// owns what it needs. A lookup that was not waited for is taken up again by the next call.
class RedisConnection::Resolver {
 public:
  Resolver(std::string host, int port) : host_(std::move(host)), port_(absl::StrCat(port)) {}

  // Null if there is no such name; DeadlineExceeded if that is not known in time.
  absl::StatusOr<Addresses> Resolve(absl::Duration timeout) {
    if (Addresses numeric = Find(host_, port_, AI_NUMERICHOST | AI_NUMERICSERV); numeric != nullptr) return numeric;
    if (lookup_ == nullptr) {
      lookup_ = std::make_shared<Lookup>();
      std::thread([lookup = lookup_, host = host_, port = port_] {
        Addresses found = Find(host, port, 0);
        absl::MutexLock lock(&lookup->mutex);
        lookup->found = std::move(found);
        lookup->done = true;
      }).detach();
    }
    const std::shared_ptr<Lookup> lookup = lookup_;
    absl::MutexLock lock(&lookup->mutex);
    if (!lookup->mutex.AwaitWithTimeout(absl::Condition(&lookup->done), timeout)) {
      return absl::DeadlineExceededError("");
    }
    lookup_ = nullptr;
    return std::move(lookup->found);
  }

 private:
  struct Lookup {
    absl::Mutex mutex;
    bool done = false;
    Addresses found;
  };

  static Addresses Find(const std::string& host, const std::string& port, int flags) {
    struct addrinfo hints = {};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = flags;
    struct addrinfo* found = nullptr;
    return Addresses(getaddrinfo(host.c_str(), port.c_str(), &hints, &found) == 0 ? found : nullptr);
  }

  const std::string host_;
  const std::string port_;
  // One that goes on or was not waited for.
  std::shared_ptr<Lookup> lookup_;
};

struct RedisConnection::Session {
  struct FreeReader {
    void operator()(redisReader* reader) const { redisReaderFree(reader); }
  };

  explicit Session(int fd) : fd(fd), reader(redisReaderCreate()) {}
  ~Session() { close(fd); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const int fd;
  const std::unique_ptr<redisReader, FreeReader> reader;
};

RedisConnection::RedisConnection(RedisAddress address, const Clock* clock)
    : address_(std::move(address)), clock_(clock), resolver_(new Resolver(address_.host, address_.port)) {}

RedisConnection::~RedisConnection() = default;

absl::Status RedisConnection::Error(absl::string_view what) const {
  return absl::UnavailableError(absl::StrCat("redis ", address_.host, ":", address_.port, ": ", what));
}

absl::Status RedisConnection::Await(int fd, short events, absl::Duration deadline) const {
  struct pollfd waiting = {fd, events, 0};
  while (true) {
    const absl::Duration left = std::max(deadline - clock_->Monotonic(), absl::ZeroDuration());
    const int ready =
        poll(&waiting, 1, static_cast<int>(absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1)))));
    if (ready > 0) return absl::OkStatus();
    if (ready == 0) return Error("no answer in time");
    if (errno != EINTR) return Error(strerror(errno));
  }
}

absl::Status RedisConnection::Open(absl::Duration deadline) {
  const absl::StatusOr<Addresses> addresses = resolver_->Resolve(deadline - clock_->Monotonic());
  if (!addresses.ok()) return Error("its name is not resolved in time");
  absl::Status failed = Error("there is no such host");
  int untried = 0;
  for (const struct addrinfo* at = addresses->get(); at != nullptr; at = at->ai_next) ++untried;
  for (const struct addrinfo* at = addresses->get(); at != nullptr; at = at->ai_next, --untried) {
    const int fd = socket(at->ai_family, at->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, at->ai_protocol);
    if (fd < 0) {
      failed = Error(strerror(errno));
      continue;
    }
    auto session = std::make_unique<Session>(fd);
    if (connect(fd, at->ai_addr, at->ai_addrlen) != 0) {
      if (errno != EINPROGRESS) {
        failed = Error(strerror(errno));
        continue;
      }
      // An address that swallows everything leaves the others their share of the time.
      const absl::Duration now = clock_->Monotonic();
      failed = Await(fd, POLLOUT, now + (deadline - now) / untried);
      if (!failed.ok()) continue;
      int error = 0;
      socklen_t size = sizeof(error);
      getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
      if (error != 0) {
        failed = Error(strerror(error));
        continue;
      }
    }
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    session_ = std::move(session);
    failed = absl::OkStatus();
    break;
  }
  TM_RETURN_IF_ERROR(failed);
  if (!address_.password.empty()) {
    std::vector<std::string> authenticate = {"AUTH", address_.password};
    if (!address_.user.empty()) authenticate.insert(authenticate.begin() + 1, address_.user);
    TM_ASSIGN_OR_RETURN(const RedisReply reply, Exchange(authenticate, deadline));
    if (reply.kind == RedisReply::Kind::kError) return Error("refuses the user name or the password");
  }
  if (address_.database != 0) {
    TM_ASSIGN_OR_RETURN(const RedisReply reply, Exchange({"SELECT", absl::StrCat(address_.database)}, deadline));
    if (reply.kind == RedisReply::Kind::kError) return Error(absl::StrCat("refuses its database: ", reply.text));
  }
  return absl::OkStatus();
}

absl::StatusOr<RedisReply> RedisConnection::Exchange(const std::vector<std::string>& command, absl::Duration deadline) {
  std::vector<const char*> words;
  std::vector<size_t> sizes;
  for (const std::string& word : command) {
    words.push_back(word.data());
    sizes.push_back(word.size());
  }
  char* formatted = nullptr;
  const int length = redisFormatCommandArgv(&formatted, static_cast<int>(words.size()), words.data(), sizes.data());
  if (length < 0) return Error("a command that is too large");
  const absl::Cleanup free_formatted = [formatted] { redisFreeCommand(formatted); };
  for (int sent = 0; sent < length;) {
    const ssize_t more = send(session_->fd, formatted + sent, length - sent, MSG_NOSIGNAL);
    if (more >= 0) {
      sent += static_cast<int>(more);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      TM_RETURN_IF_ERROR(Await(session_->fd, POLLOUT, deadline));
    } else if (errno != EINTR) {
      return Error(strerror(errno));
    }
  }
  void* parsed = nullptr;
  std::string buffer(64 << 10, '\0');
  while (true) {
    if (redisReaderGetReply(session_->reader.get(), &parsed) != REDIS_OK) return Error("answers something else");
    if (parsed != nullptr) break;
    const ssize_t size = recv(session_->fd, buffer.data(), buffer.size(), 0);
    if (size > 0) {
      redisReaderFeed(session_->reader.get(), buffer.data(), size);
      // However steadily it drips.
      if (clock_->Monotonic() > deadline) return Error("no answer in time");
    } else if (size == 0) {
      return Error("has closed the connection");
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      TM_RETURN_IF_ERROR(Await(session_->fd, POLLIN, deadline));
    } else if (errno != EINTR) {
      return Error(strerror(errno));
    }
  }
  const absl::Cleanup free_parsed = [parsed] { freeReplyObject(parsed); };
  const redisReply& answer = *static_cast<redisReply*>(parsed);
  RedisReply reply;
  switch (answer.type) {
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
      reply.kind = RedisReply::Kind::kText;
      reply.text.assign(answer.str, answer.len);
      break;
    case REDIS_REPLY_INTEGER:
      reply.kind = RedisReply::Kind::kInteger;
      reply.integer = answer.integer;
      break;
    case REDIS_REPLY_ERROR: {
      const std::string_view text(answer.str, answer.len);
      reply.kind = RedisReply::Kind::kError;
      reply.text = text.substr(0, text.find(' '));
      break;
    }
    default:
      break;
  }
  return reply;
}

absl::StatusOr<RedisReply> RedisConnection::Call(const std::vector<std::string>& command, absl::Duration timeout) {
  const absl::Duration deadline = clock_->Monotonic() + timeout;
  const bool reused = session_ != nullptr;
  absl::StatusOr<RedisReply> reply = RedisReply();
  for (bool again = reused;; again = false) {
    const absl::Status opened = session_ == nullptr ? Open(deadline) : absl::OkStatus();
    reply = opened.ok() ? Exchange(command, deadline) : opened;
    if (reply.ok()) return reply;
    // An answer that is still to come must not be taken for that of the next command.
    session_.reset();
    if (!again || clock_->Monotonic() >= deadline) return reply;
  }
}

}  // namespace tidemark::coordinator
