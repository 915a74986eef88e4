#include "tests/integration/postgres_session_sampler.h"

#include <libpq-fe.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace tidemark::test {
namespace {

constexpr absl::Duration kInterval = absl::Milliseconds(100);

using Connection = std::unique_ptr<PGconn, decltype(&PQfinish)>;
using Rows = std::unique_ptr<PGresult, decltype(&PQclear)>;

Connection Connect(const std::string& dsn) { return Connection(PQconnectdb(dsn.c_str()), &PQfinish); }

Rows Ask(PGconn* connection, const std::string& sql) {
  Rows rows(PQexec(connection, sql.c_str()), &PQclear);
  if (PQresultStatus(rows.get()) == PGRES_TUPLES_OK) return rows;
  std::fprintf(stderr, "%sin: %s\n", PQerrorMessage(connection), sql.c_str());
  std::abort();
}

}  // namespace

SessionSampler::SessionSampler(Options options) : options_(std::move(options)), thread_([this] { Run(); }) {}

SessionSampler::~SessionSampler() { Stop(); }

std::vector<SessionSampler::Sample> SessionSampler::Stop() {
  if (!stop_.HasBeenNotified()) stop_.Notify();
  if (thread_.joinable()) thread_.join();
  absl::MutexLock lock(&mutex_);
  return samples_;
}

SessionSampler::Sample SessionSampler::Next() {
  // The one under way may have begun before.
  absl::MutexLock lock(&mutex_);
  const size_t wanted = samples_.size() + 2;
  const auto reached = [this, wanted]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return samples_.size() >= wanted; };
  mutex_.Await(absl::Condition(&reached));
  return samples_.back();
}

void SessionSampler::Run() {
  const Connection connection = Connect(options_.dsn);
  const Connection numbers = Connect(options_.number_dsn.empty() ? options_.dsn : options_.number_dsn);
  const std::string sql = absl::StrCat(
      "SELECT application_name, pid FROM pg_stat_activity WHERE datname = current_database() AND usename = '",
      options_.role, "'");
  absl::Time next = absl::Now();
  do {
    Sample sample;
    sample.at = absl::Now();
    const Rows rows = Ask(connection.get(), sql);
    for (int row = 0; row < PQntuples(rows.get()); ++row) {
      ++sample.sessions[PQgetvalue(rows.get(), row, 0)];
      sample.backends.push_back(std::atoi(PQgetvalue(rows.get(), row, 1)));
    }
    if (!options_.number_sql.empty()) {
      sample.number = std::atoi(PQgetvalue(Ask(numbers.get(), options_.number_sql).get(), 0, 0));
    }
    {
      absl::MutexLock lock(&mutex_);
      samples_.push_back(std::move(sample));
    }
    next = std::max(next + kInterval, absl::Now());
  } while (!stop_.WaitForNotificationWithTimeout(next - absl::Now()));
}

int MostSessions(const std::vector<SessionSampler::Sample>& samples) {
  int most = 0;
  for (const SessionSampler::Sample& sample : samples) most = std::max(most, sample.total());
  return most;
}

}  // namespace tidemark::test
