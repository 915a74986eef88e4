#include "tests/integration/postgres_late_writers.h"

#include <libpq-fe.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace tidemark::test {
namespace {

using ConnectionPtr = std::unique_ptr<PGconn, decltype(&PQfinish)>;

ConnectionPtr Connect(const std::string& dsn) {
  ConnectionPtr connection(PQconnectdb(dsn.c_str()), &PQfinish);
  if (PQstatus(connection.get()) != CONNECTION_OK) {
    std::fprintf(stderr, "test connection: %s", PQerrorMessage(connection.get()));
    std::abort();
  }
  return connection;
}

std::string Run(PGconn* connection, const std::string& sql) {
  std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(connection, sql.c_str()), &PQclear);
  const ExecStatusType status = PQresultStatus(result.get());
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
    std::fprintf(stderr, "test statement: %s\n%s", sql.c_str(), PQerrorMessage(connection));
    std::abort();
  }
  return PQntuples(result.get()) > 0 ? PQgetvalue(result.get(), 0, 0) : "";
}

}  // namespace

LateWriters::LateWriters(Options options) : options_(std::move(options)) {
  for (int writer = 0; writer < options_.writers; ++writer) {
    threads_.emplace_back([this, writer] { Write(writer); });
  }
}

LateWriters::~LateWriters() { Stop(); }

void LateWriters::Stop() {
  stop_ = true;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void LateWriters::Write(int writer) {
  ConnectionPtr connection = Connect(options_.dsn);
  std::mt19937 random(writer);
  int64_t next = int64_t{writer} * 100'000'000;
  const int64_t first = next;
  while (!stop_) {
    Run(connection.get(), "BEGIN");
    const int rows = 1 + static_cast<int>(random() % 5);
    for (int row = 0; row < rows; ++row) {
      // Half of the stamps are the transaction's start, half the statement's own time.
      const char* stamp = random() % 2 == 0 ? "now()" : "clock_timestamp()";
      if (options_.updates && next > first && random() % 2 == 0) {
        Run(connection.get(),
            absl::StrFormat("UPDATE %s SET payload = md5(payload), updated_at = %s WHERE id = %d", options_.table,
                            stamp, first + static_cast<int64_t>(random() % (next - first))));
      } else {
        Run(connection.get(), absl::StrFormat("INSERT INTO %s (id, payload, updated_at) VALUES (%d, md5('%d'), %s)",
                                              options_.table, next, next, stamp));
        ++next;
      }
    }
    // A few hold their transaction much longer than the rest.
    const int hold =
        static_cast<int>(random() % (random() % 8 == 0 ? options_.max_hold_ms : options_.max_hold_ms / 10 + 1));
    std::this_thread::sleep_for(std::chrono::milliseconds(hold));
    if (random() % 10 == 0) {
      Run(connection.get(), "ROLLBACK");
    } else {
      Run(connection.get(), "COMMIT");
      ++commits_;
    }
  }
}

ConnectionSampler::ConnectionSampler(std::string dsn, std::string database)
    : thread_([this, dsn = std::move(dsn), database = std::move(database)] { Sample(dsn, database); }) {}

ConnectionSampler::~ConnectionSampler() { Stop(); }

int ConnectionSampler::Stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
  return most_;
}

void ConnectionSampler::Sample(const std::string& dsn, const std::string& database) {
  ConnectionPtr connection = Connect(dsn);
  const std::string sql = absl::StrCat(
      "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'tidemark%' AND datname = '", database, "'");
  while (!stop_) {
    const int sessions = std::atoi(Run(connection.get(), sql).c_str());
    if (sessions > most_) most_ = sessions;
    ++samples_;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

}  // namespace tidemark::test
