#include <libpq-fe.h>

#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/conformance/store_under_test.h"
#include "tests/support/postgres_server.h"
#include "worker/connectors/postgres/postgres_connector.h"

namespace tidemark::conformance {
namespace {

class ServerSession final : public SqlSession {
 public:
  explicit ServerSession(const std::string& dsn) : connection_(PQconnectdb(dsn.c_str())) {
    if (PQstatus(connection_) != CONNECTION_OK) Fail(dsn);
    Exec("SET TimeZone = 'UTC'; SET client_min_messages = warning");
  }
  ~ServerSession() override { PQfinish(connection_); }

  void Exec(const std::string& sql) override { Query(sql); }

  std::vector<std::vector<std::string>> Query(const std::string& sql) override {
    PGresult* result = PQexec(connection_, sql.c_str());
    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK) Fail(sql);
    std::vector<std::vector<std::string>> rows;
    for (int i = 0; i < PQntuples(result); ++i) {
      std::vector<std::string>& row = rows.emplace_back();
      for (int j = 0; j < PQnfields(result); ++j)
        row.emplace_back(PQgetisnull(result, i, j) != 0 ? "NULL" : PQgetvalue(result, i, j));
    }
    PQclear(result);
    return rows;
  }

 private:
  void Fail(const std::string& doing) {
    std::fprintf(stderr, "PostgreSQL: %s: %s\n", PQerrorMessage(connection_), doing.c_str());
    std::abort();
  }

  PGconn* connection_;
};

class PostgresStore final : public StoreUnderTest {
 public:
  Connector& connector() override { return connector_; }

  Events MakeEvents(int rows) override {
    Events events;
    events.connection = NewDatabase();
    events.job = ReadJob("events", "updated_at");
    const auto session = Open(events.connection);
    session->Exec(StampedTable("events"));
    session->Exec(absl::StrCat(
        "INSERT INTO events SELECT i + 1, 'note ' || i + 1, timestamptz '2024-01-01 00:00:00+00' + i * interval '1 s' "
        "FROM generate_series(0, ",
        rows - 1, ") i"));
    // What the planner has of a table that has been there for a while.
    session->Exec("ANALYZE events");
    for (int i = 0; i < rows; ++i) {
      events.ids.push_back(i + 1);
      v1::Watermark& watermark = events.stamps.emplace_back();
      watermark.set_type("timestamptz");
      watermark.set_text(
          absl::StrFormat("2024-01-%02d %02d:%02d:%02d+00", 1 + i / 86400, i / 3600 % 24, i / 60 % 60, i % 60));
      watermark.set_precision(6);
    }
    return events;
  }

  v1::ConnectionSpec NewDatabase() override {
    v1::ConnectionSpec connection;
    connection.set_name("server");
    connection.set_dsn(test::PostgresServer::Shared().NewDatabase());
    return connection;
  }

  std::unique_ptr<SqlSession> Open(const v1::ConnectionSpec& connection) override {
    return std::make_unique<ServerSession>(connection.dsn());
  }

  std::string StampedTable(const std::string& name) const override {
    return absl::StrCat("CREATE TABLE ", name,
                        " (id bigint PRIMARY KEY, note text, updated_at timestamptz DEFAULT clock_timestamp())");
  }

  std::vector<std::string> Zoo() const override {
    return {
        "CREATE TABLE zoo (id bigint PRIMARY KEY, small smallint, middle integer, big bigint, truth boolean, real4 "
        "real, real8 double precision, "
        "money numeric(12,2), huge numeric(38,10), vast numeric(60,5), anynum numeric, words text, few varchar(10), "
        "bytes bytea, day date, clock time, "
        "moment timestamp, instant timestamptz, ident uuid, doc jsonb, span interval)",
        "INSERT INTO zoo VALUES (1, 32767, 2147483647, 9223372036854775807, true, 0.1, 0.1, 1234567890.10, "
        "1234567890123456789012345678.0123456789, "
        "-1234567890123456789012345678901234567890123456789012345.00001, 3.14159265358979323846264338327950288, 'grüße "
        "🌊 ''quoted''', 'x', "
        "'\\x00ff10', '0001-01-01', '23:59:59.999999', '9999-12-31 23:59:59.999999', '2024-03-31 01:30:00.5+02', "
        "'00112233-4455-6677-8899-aabbccddeeff', '{\"a\": [1, 1.0, null]}', '1 mon -2 days 03:04:05.6')",
        "INSERT INTO zoo VALUES (2, -32768, -2147483648, -9223372036854775808, false, -1e30, -1e300, -0.01, "
        "-0.0000000001, 0.00000, -1, '', '', '\\x', "
        "'9999-12-31', '00:00:00', '1969-12-31 23:59:59.000001', '1970-01-01 00:00:00+00', "
        "'ffffffff-ffff-ffff-ffff-ffffffffffff', '5', '0')",
        "INSERT INTO zoo (id) VALUES (3)",
        "INSERT INTO zoo (id, real4, real8, words, clock) VALUES (4, 'infinity', '-infinity', E'two\\nlines\\tand a "
        "tab\\\\', '24:00')"};
  }

  std::string UserTables() const override {
    return "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE "
           "c.relkind IN ('r', 'v', 'p') AND "
           "n.nspname NOT IN ('pg_catalog', 'information_schema') AND NOT (n.nspname = 'tidemark' AND c.relname IN "
           "('fence', 'ledger', 'moves', "
           "'quarantine')) ORDER BY 1";
  }
  std::string ControlTable(const std::string& name) const override { return absl::StrCat("tidemark.", name); }

 private:
  postgres::PostgresConnector connector_;
};

}  // namespace

std::unique_ptr<StoreUnderTest> MakePostgresStore() { return std::make_unique<PostgresStore>(); }

}  // namespace tidemark::conformance
