#include "worker/connectors/postgres/postgres_connector.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/connectors/postgres/postgres_connection.h"
#include "worker/connectors/postgres/postgres_error.h"
#include "worker/connectors/postgres/postgres_source.h"
#include "worker/connectors/postgres/postgres_target.h"

namespace tidemark::postgres {

absl::Status PostgresConnector::CheckDsn(const std::string& dsn) const { return Connection::CheckDsn(dsn); }

absl::StatusOr<std::unique_ptr<SourceSession>> PostgresConnector::OpenSource(const v1::ConnectionSpec& connection,
                                                                             const v1::JobSpec& job,
                                                                             const SessionOptions& options) {
  return PostgresSource::Open(connection, job, options);
}

absl::StatusOr<std::unique_ptr<TargetSession>> PostgresConnector::OpenTarget(const v1::ConnectionSpec& connection,
                                                                             const v1::JobSpec& job,
                                                                             const SessionOptions& options) {
  return OpenPostgresTarget(connection, job, options);
}

absl::StatusOr<std::string> PostgresConnector::Test(const v1::ConnectionSpec& connection,
                                                    const SessionOptions& options) {
  const auto session = Connection::Open(connection.dsn(), options, ConnectionSettings{.read_only = true});
  if (!session.ok()) return Annotate(session.status(), absl::StrCat("connection ", connection.name()));
  // server_version may go on with the packager's own words.
  TM_ASSIGN_OR_RETURN(const Row row,
                      (*session)->ExecuteRow("SELECT split_part(current_setting('server_version'), ' ', 1), CASE WHEN "
                                             "pg_is_in_recovery() THEN 'standby' ELSE 'primary' "
                                             "END, pg_has_role('pg_read_all_stats', 'USAGE')"));
  return absl::StrCat(
      "PostgreSQL ", row[0].value_or(""), ", ", row[1].value_or(""),
      row[2] == "t" ? "" : "; as a source, GRANT pg_read_all_stats TO this role for windows that need no waiting");
}

}  // namespace tidemark::postgres
