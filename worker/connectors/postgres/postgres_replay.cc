#include "worker/connectors/postgres/postgres_replay.h"

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "common/model/duration.h"

namespace tidemark::postgres {
namespace {

constexpr char kPollSeconds[] = "0.02";

// A standby that has replayed nothing since its start has no position.
constexpr char kReplaySql[] = R"(
SELECT coalesce(stands.at >= $1::pg_lsn, false), stands.at, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
       CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END
FROM (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END AS at)
     stands)";

}  // namespace

absl::StatusOr<absl::Duration> AwaitReplay(Connection& connection, std::string_view position, absl::Duration limit) {
  std::optional<int64_t> began;
  while (true) {
    TM_ASSIGN_OR_RETURN(const Row row, connection.ExecuteRow(kReplaySql, {std::string(position)}));
    int64_t now = 0;
    (void)absl::SimpleAtoi(row[2].value_or("0"), &now);
    if (!began.has_value()) began = now;
    const absl::Duration waited = absl::Microseconds(now - *began);
    if (row[0] == "t") return waited;
    if (waited >= limit) {
      return absl::UnavailableError(absl::StrCat(
          "the replica has not replayed its primary's log up to ", Abs(position), " within ", DurationText(limit),
          " (max_lag): it stands at ", row[1].value_or("no position"), row[3] == "t" ? ", its replay is paused" : ""));
    }
    TM_RETURN_IF_ERROR(connection.Execute(absl::StrCat("SELECT pg_sleep(", kPollSeconds, ")")).status());
  }
}

}  // namespace tidemark::postgres
