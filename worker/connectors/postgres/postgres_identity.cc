#include "worker/connectors/postgres/postgres_identity.h"

#include "absl/strings/str_cat.h"

namespace tidemark::postgres {
namespace {

absl::StatusOr<std::string> Ask(Connection& connection, const std::string& sql) {
  const auto row = connection.ExecuteRow(sql);
  if (row.ok()) return (*row)[0].value_or("");
  if (absl::IsPermissionDenied(row.status())) return std::string();
  return row.status();
}

}  // namespace

absl::StatusOr<std::string> SourceIdentity(Connection& connection) {
  // What a standby has replayed last may be of a later timeline than its last restartpoint.
  return Ask(connection,
             "SELECT s.system_identifier || '/' || CASE WHEN pg_is_in_recovery() THEN (SELECT greatest(c.timeline_id, "
             "r.min_recovery_end_timeline)::text FROM pg_control_checkpoint() c, pg_control_recovery() r) ELSE ('x' || "
             "substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, "
             "8))::bit(32)::int::text END || '/' || current_database() FROM pg_control_system() s");
}

absl::StatusOr<std::string> TableIdentity(Connection& connection, uint32_t oid) {
  // A clone of a server's files has its identifier and its oids, but not its life.
  return Ask(connection,
             absl::StrCat("SELECT 'postgresql/' || s.system_identifier || '/' || pg_postmaster_start_time() || '/' || "
                          "d.oid || '/' || ",
                          oid, " FROM pg_control_system() s, pg_database d WHERE d.datname = current_database()"));
}

}  // namespace tidemark::postgres
