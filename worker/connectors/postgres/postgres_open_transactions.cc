#include "worker/connectors/postgres/postgres_open_transactions.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/status_macros.h"

namespace tidemark::postgres {
namespace {

// "TIDE", "READ" in ASCII: the two halves of the advisory lock that marks a reader.
constexpr int kLockClass = 0x54494445;
constexpr int kLockObject = 0x52454144;

// How long one look at the server waits before it looks again.
constexpr char kPollSeconds[] = "0.02";

// Sessions that hold the reader's mark in this database.
std::string ReaderPids() {
  return absl::StrCat(
      "SELECT l.pid FROM pg_locks l WHERE l.locktype = 'advisory' AND l.classid = ", kLockClass,
      " AND l.objid = ", kLockObject,
      " AND l.objsubid = 2 AND l.granted AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = "
      "current_database())");
}

std::string Micros(const std::string& instant) {
  return absl::StrCat("(extract(epoch FROM ", instant, ") * 1000000)::bigint");
}

int64_t Number(const Text& text) {
  int64_t number = 0;
  (void)absl::SimpleAtoi(text.value_or("0"), &number);
  return number;
}

std::string ArrayText(const std::vector<std::string>& elements) {
  return absl::StrCat("{", absl::StrJoin(elements, ","), "}");
}

std::vector<std::string> Elements(const Text& joined) {
  if (!joined.has_value() || joined->empty()) return {};
  return absl::StrSplit(*joined, ',');
}

}  // namespace

std::string MarkReaderSql() {
  return absl::StrCat("SELECT pg_advisory_xact_lock_shared(", kLockClass, ", ", kLockObject, ")");
}

absl::StatusOr<ActivityProbe> ProbeActivity(Connection& connection) {
  // One statement. Left out: walsenders, which would pin the horizon for ever; autovacuum, which writes no rows; our
  // own readers. A session that is active but between two transactions (a procedure after its COMMIT) counts with its
  // statement.
  const std::string sql = absl::StrCat(
      "WITH activity AS MATERIALIZED (SELECT least(a.xact_start, CASE WHEN a.state IN ('active', 'fastpath function "
      "call') THEN "
      "a.query_start END) AS start, a.state = 'disabled' AS unseen FROM pg_stat_activity a WHERE a.datname = "
      "current_database() AND "
      "a.pid <> pg_backend_pid() AND coalesce(a.backend_type, '') NOT IN ('walsender', 'autovacuum worker') AND a.pid "
      "NOT IN (",
      ReaderPids(), ")) SELECT ", Micros("statement_timestamp()"),
      ", (SELECT count(*) FROM activity WHERE unseen), (SELECT string_agg(", Micros("start"),
      "::text, ',') FROM activity WHERE start IS NOT NULL)");
  TM_ASSIGN_OR_RETURN(const Row row, connection.ExecuteRow(sql));
  ActivityProbe probe;
  probe.now = Number(row[0]);
  probe.unseen = Number(row[1]);
  for (const std::string& start : Elements(row[2])) probe.starts.push_back(Number(start));
  return probe;
}

absl::StatusOr<OpenTransactions> ListPrepared(Connection& connection) {
  const std::string sql = absl::StrCat(
      "SELECT ", Micros("statement_timestamp()"), ", string_agg(p.transaction::text, ','), ", Micros("min(p.prepared)"),
      ", (array_agg(p.gid ORDER BY p.prepared))[1] ", "FROM pg_prepared_xacts p WHERE p.database = current_database()");
  TM_ASSIGN_OR_RETURN(const Row row, connection.ExecuteRow(sql));
  OpenTransactions open;
  open.now = Number(row[0]);
  open.prepared_ids = Elements(row[1]);
  if (row[2].has_value()) open.prepared_since = Number(row[2]);
  open.prepared_name = row[3].value_or("");
  return open;
}

absl::StatusOr<OpenTransactions> ListOpenTransactions(Connection& connection) {
  // Every transaction holds its virtual id, whether it has written or not. Of pg_stat_activity only what any role may
  // see is used; a session without a user is the server's own.
  const std::string sql = absl::StrCat(
      "SELECT ", Micros("statement_timestamp()"),
      ", string_agg(DISTINCT l.virtualxid, ',') FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid WHERE "
      "l.locktype = "
      "'virtualxid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.pid <> pg_backend_pid() AND (a.pid IS NULL OR "
      "(a.datname = current_database() AND a.usesysid IS NOT NULL)) AND l.pid NOT IN (",
      ReaderPids(), ")");
  TM_ASSIGN_OR_RETURN(const Row row, connection.ExecuteRow(sql));
  TM_ASSIGN_OR_RETURN(OpenTransactions open, ListPrepared(connection));
  open.now = Number(row[0]);
  open.virtual_ids = Elements(row[1]);
  return open;
}

absl::StatusOr<OpenTransactions> WaitOut(Connection& connection, OpenTransactions open, absl::Duration limit) {
  const int64_t until = open.now + absl::ToInt64Microseconds(limit);
  const std::string running = absl::StrCat("SELECT ", Micros("statement_timestamp()"),
                                           ", string_agg(DISTINCT l.virtualxid, ',') FROM pg_locks l WHERE l.locktype "
                                           "= 'virtualxid' AND l.mode = 'ExclusiveLock' AND "
                                           "l.granted AND l.virtualxid = ANY($1)");
  while (!open.empty()) {
    if (!open.virtual_ids.empty()) {
      TM_ASSIGN_OR_RETURN(const Row row, connection.ExecuteRow(running, {ArrayText(open.virtual_ids)}));
      std::vector<std::string> left = Elements(row[1]);
      // One that is gone from here may have been prepared, not committed: whatever is prepared now is waited for too.
      const bool some_ended = left.size() != open.virtual_ids.size();
      open.virtual_ids = std::move(left);
      if (some_ended) {
        TM_ASSIGN_OR_RETURN(const OpenTransactions prepared, ListPrepared(connection));
        open.prepared_ids = prepared.prepared_ids;
        open.prepared_since = prepared.prepared_since;
        open.prepared_name = prepared.prepared_name;
      }
      open.now = Number(row[0]);
    }
    if (!open.prepared_ids.empty()) {
      const std::vector<std::string> waited = open.prepared_ids;
      TM_ASSIGN_OR_RETURN(OpenTransactions prepared, ListPrepared(connection));
      open.prepared_ids.clear();
      for (const std::string& id : prepared.prepared_ids) {
        for (const std::string& one : waited) {
          if (one == id) open.prepared_ids.push_back(id);
        }
      }
      if (!open.prepared_ids.empty()) {
        open.prepared_since = prepared.prepared_since;
        open.prepared_name = prepared.prepared_name;
      } else {
        open.prepared_since.reset();
        open.prepared_name.clear();
      }
      open.now = prepared.now;
    }
    if (open.empty() || open.now >= until) break;
    TM_RETURN_IF_ERROR(connection.Execute(absl::StrCat("SELECT pg_sleep(", kPollSeconds, ")")).status());
  }
  return open;
}

}  // namespace tidemark::postgres
