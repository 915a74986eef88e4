#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/connectors/postgres/postgres_connection.h"

namespace tidemark::postgres {

// The statement by which a reading transaction of ours marks itself, first thing inside it: a shared advisory lock held
// to its end. It is taken only in READ ONLY transactions, which can never write, and unlike an application_name no
// other program, and no pooler, takes it by accident. Readers so marked do not hold the horizon back.
std::string MarkReaderSql();

// Every open transaction of the database that may still write, as pg_stat_activity tells it: needs pg_read_all_stats.
struct ActivityProbe {
  // The server's clock when the statement began, in microseconds since 1970.
  int64_t now = 0;
  // For each transaction the earliest stamp it can still produce: the lesser of its start and of its running
  // statement's start (in a procedure, statement_timestamp() stays behind the transactions that its COMMITs begin).
  std::vector<int64_t> starts;
  // Sessions with track_activities off, whose transactions cannot be seen.
  int64_t unseen = 0;
};
absl::StatusOr<ActivityProbe> ProbeActivity(Connection& connection);

// Transactions that are waited for one by one, by names that are never used again: virtual transaction ids, which any
// role sees in pg_locks, and transaction ids of prepared ones.
struct OpenTransactions {
  // The server's clock before they were listed.
  int64_t now = 0;
  std::vector<std::string> virtual_ids;
  std::vector<std::string> prepared_ids;
  // Of the oldest prepared one; absent without any.
  std::optional<int64_t> prepared_since;
  // gid of the oldest prepared one.
  std::string prepared_name;

  bool empty() const { return virtual_ids.empty() && prepared_ids.empty(); }
};

// In this order: running ones first, then prepared ones, so that one that is prepared in between is in one list or the
// other.
absl::StatusOr<OpenTransactions> ListOpenTransactions(Connection& connection);
// The prepared ones alone.
absl::StatusOr<OpenTransactions> ListPrepared(Connection& connection);

// Waits on the server, up to `limit`, until all of `open` are over; returns those that are not. A transaction that was
// prepared meanwhile is among them.
absl::StatusOr<OpenTransactions> WaitOut(Connection& connection, OpenTransactions open, absl::Duration limit);

}  // namespace tidemark::postgres
