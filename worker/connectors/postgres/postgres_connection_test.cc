#include "worker/connectors/postgres/postgres_connection.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/support/postgres_server.h"
#include "worker/connectors/postgres/postgres_error.h"
#include "worker/connectors/postgres/postgres_name.h"

namespace tidemark::postgres {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

test::PostgresServer& Server() { return test::PostgresServer::Shared(); }

std::unique_ptr<Connection> Connect(const ConnectionSettings& settings = {}, const std::string& database = "postgres") {
  auto connection = Connection::Open(Server().Dsn(database), SessionOptions(), settings);
  EXPECT_TRUE(connection.ok()) << connection.status();
  return *std::move(connection);
}

std::string Cell(Connection& connection, const std::string& sql, const std::vector<Text>& params = {}) {
  const auto row = connection.ExecuteRow(sql, params);
  EXPECT_TRUE(row.ok()) << row.status();
  return row.ok() ? (*row)[0].value_or("NULL") : "";
}

TEST(PostgresNameTest, KeepsNamesAsGiven) {
  EXPECT_EQ(ParseQualifiedName("public.orders")->Sql(), R"("public"."orders")");
  EXPECT_EQ(ParseQualifiedName("Orders")->Sql(), R"("Orders")");
  EXPECT_EQ(ParseQualifiedName(R"("My.Schema"."a ""b"" 🦆")")->Sql(), R"("My.Schema"."a ""b"" 🦆")");
  EXPECT_EQ(ParseQualifiedName(std::string(63, 'x'))->name.size(), 63);
  for (const std::string& bad :
       std::vector<std::string>{"", ".", "a.", "a.b.c", "\"a", "\"a\"b", "\"\"", std::string(64, 'x')}) {
    EXPECT_EQ(ParseQualifiedName(bad).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
  EXPECT_EQ(QuoteLiteral("it's \\ 'so'"), R"('it''s \ ''so''')");
}

TEST(PostgresConnectionTest, PassesParametersAndReadsRows) {
  const auto connection = Connect();
  const auto rows = connection->Execute("SELECT $1::int + 1, $2::text, NULL", {"41", "it's"});
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(*rows, (std::vector<Row>{{"42", "it's", std::nullopt}}));
  EXPECT_EQ(*connection->ExecuteCommand("CREATE TEMP TABLE t (a int)"), 0);
  EXPECT_EQ(*connection->ExecuteCommand("INSERT INTO t SELECT generate_series(1, 7)"), 7);
  const auto columns = connection->DescribeStatement("SELECT a, a::numeric(7,2) AS b FROM t");
  ASSERT_TRUE(columns.ok()) << columns.status();
  ASSERT_EQ(columns->size(), 2);
  EXPECT_EQ((*columns)[1].name, "b");
  EXPECT_EQ((*columns)[1].type_oid, 1700);
}

TEST(PostgresConnectionTest, SessionsDoNotDependOnTheRolesDefaults) {
  const std::string dsn = Server().NewDatabase();
  const std::string name = test::Scalar(dsn, "SELECT current_database()");
  for (const std::string setting :
       {"TimeZone = 'Asia/Kolkata'", "DateStyle = 'SQL, DMY'", "IntervalStyle = 'iso_8601'", "extra_float_digits = 0",
        "bytea_output = 'escape'", "standard_conforming_strings = off"}) {
    test::Exec(dsn, absl::StrCat("ALTER DATABASE \"", name, "\" SET ", setting));
  }
  auto connection = Connection::Open(dsn, SessionOptions{.application_name = "tidemark orders r1"},
                                     ConnectionSettings{.read_only = true});
  ASSERT_TRUE(connection.ok()) << connection.status();
  EXPECT_EQ(Cell(**connection, "SELECT '2026-02-01 10:00+05:30'::timestamptz::text"), "2026-02-01 04:30:00+00");
  EXPECT_EQ(Cell(**connection, "SELECT (0.1::float8 + 0.2::float8)::text"), "0.30000000000000004");
  EXPECT_EQ(Cell(**connection, "SELECT '\\x61'::bytea::text"), "\\x61");
  EXPECT_EQ(Cell(**connection, "SELECT current_setting('application_name')"), "tidemark orders r1");
  EXPECT_EQ(Cell(**connection, "SELECT current_setting('client_connection_check_interval')"), "1s");
  EXPECT_EQ(Cell(**connection, "SELECT current_setting('idle_in_transaction_session_timeout')"), "20s");
  EXPECT_EQ(Cell(**connection, "SELECT current_setting('tcp_user_timeout')"), "20000");
  EXPECT_EQ((*connection)->ExecuteCommand("CREATE TABLE t (a int)").status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(PostgresConnectionTest, TellsErrorsByTheirSqlState) {
  const auto connection = Connect();
  const auto code = [&](const char* sql) { return connection->ExecuteCommand(sql).status(); };
  EXPECT_EQ(code("SELECT * FROM nowhere").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(SqlState(code("SELECT * FROM nowhere")), "42P01");
  EXPECT_EQ(code("SELECT nothing").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(code("SELEC 1").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code("SELECT 1/0").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code("SELECT 1; SELECT 2").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$").code(), absl::StatusCode::kAborted);
  EXPECT_EQ(code("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$").code(), absl::StatusCode::kAborted);
  EXPECT_EQ(code("DO $$ BEGIN RAISE SQLSTATE '53300'; END $$").code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(code("DO $$ BEGIN RAISE SQLSTATE '42501'; END $$").code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(code("DO $$ BEGIN RAISE unique_violation; END $$").code(), absl::StatusCode::kAlreadyExists);
  const absl::Status lines = code("DO $$ BEGIN RAISE EXCEPTION E'one\\ntwo'; END $$");
  EXPECT_EQ(lines.message(), "one; two (SQLSTATE P0001)");
  EXPECT_EQ(SqlState(Annotate(WithCode(lines, absl::StatusCode::kDataLoss), "here")), "P0001");
  ASSERT_TRUE(connection->ExecuteCommand("SET statement_timeout = 50").ok());
  EXPECT_EQ(code("SELECT pg_sleep(10)").code(), absl::StatusCode::kDeadlineExceeded);
}

TEST(PostgresConnectionTest, NeverRepeatsThePassword) {
  const std::string secret = "s3cr%zzt-canary";
  for (const std::string& dsn :
       {absl::StrCat("postgresql://u:", secret, "@127.0.0.1/db"),
        absl::StrCat("postgresql://u:s3crt-canary@127.0.0.1:1/db"),
        absl::StrCat("postgresql://u:s3crt-canary@127.0.0.1:1:2/db?x=s3crt-canary"),
        std::string("postgresql://u:s3crt-canary/more@127.0.0.1:1/db"),
        std::string("postgresql://u%3As3crt-canary@127.0.0.1:1/db"), std::string("postgres:s3crt-canary"),
        std::string("host=127.0.0.1 password='s3crt-canary port=1")}) {
    const auto connection = Connection::Open(dsn, SessionOptions(), ConnectionSettings());
    ASSERT_FALSE(connection.ok());
    EXPECT_THAT(std::string(connection.status().message()), Not(HasSubstr("canary")));
  }
}

TEST(PostgresConnectionTest, TellsWhyItCannotConnect) {
  const auto code = [](const std::string& dsn) {
    return Connection::Open(dsn, SessionOptions(), ConnectionSettings()).status().code();
  };
  EXPECT_EQ(code("postgresql://postgres@127.0.0.1:1/db"), absl::StatusCode::kUnavailable);
  EXPECT_EQ(code(Server().Dsn("no_such_database")), absl::StatusCode::kNotFound);
  EXPECT_EQ(code(absl::StrReplaceAll(Server().Dsn(), {{"postgres@", "nobody_here@"}})),
            absl::StatusCode::kUnauthenticated);
}

TEST(PostgresConnectionTest, AServerThatSaysNothingIsGivenUp) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(listener, 1), 0);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  SessionOptions options;
  options.connect_timeout = absl::Seconds(1);
  const auto connection =
      Connection::Open(absl::StrCat("postgresql://postgres@127.0.0.1:", ntohs(address.sin_port), "/db?sslmode=disable"),
                       options, ConnectionSettings());
  EXPECT_TRUE(absl::IsUnavailable(connection.status())) << connection.status();
  EXPECT_THAT(std::string(connection.status().message()), HasSubstr("timeout"));
  close(listener);
}

TEST(PostgresConnectionTest, CopiesInAndOut) {
  const auto connection = Connect();
  ASSERT_TRUE(connection->ExecuteCommand("CREATE TEMP TABLE t (a int, b text)").ok());
  ASSERT_TRUE(connection->BeginCopyIn("COPY t FROM STDIN").ok());
  ASSERT_TRUE(connection->WriteCopy("1\tx\n2").ok());
  ASSERT_TRUE(connection->WriteCopy("\ty\n").ok());
  EXPECT_EQ(*connection->EndCopyIn(), 2);
  ASSERT_TRUE(connection->BeginCopyIn("COPY t FROM STDIN").ok());
  ASSERT_TRUE(connection->WriteCopy("3\tz\n").ok());
  connection->AbandonCopyIn();
  ASSERT_TRUE(connection->BeginCopyIn("COPY t FROM STDIN").ok());
  ASSERT_TRUE(connection->WriteCopy("not a number\tz\n").ok());
  EXPECT_EQ(connection->EndCopyIn().status().code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(connection->BeginCopyOut("COPY (SELECT * FROM t ORDER BY a) TO STDOUT").ok());
  std::string all;
  while (true) {
    const auto row = connection->ReadCopy();
    ASSERT_TRUE(row.ok()) << row.status();
    if (!row->has_value()) break;
    all.append(**row);
  }
  EXPECT_EQ(all, "1\tx\n2\ty\n");
  ASSERT_TRUE(connection->BeginCopyOut("COPY (SELECT generate_series(1, 10000000)) TO STDOUT").ok());
  ASSERT_TRUE(connection->ReadCopy().ok());
  connection->AbandonCopyOut();
  EXPECT_EQ(Cell(*connection, "SELECT 1"), "1");
  EXPECT_EQ(connection->BeginCopyOut("COPY nowhere TO STDOUT").code(), absl::StatusCode::kNotFound);
}

TEST(PostgresConnectionTest, CancelReachesTheServerAndIsForGood) {
  const auto connection = Connect();
  std::thread canceller([&] {
    while (
        test::Scalar(Server().Dsn(),
                     absl::StrCat("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid = ",
                                  connection->backend_pid())) == "0") {
    }
    connection->Cancel();
  });
  EXPECT_EQ(connection->Execute("SELECT pg_sleep(60)").status().code(), absl::StatusCode::kCancelled);
  canceller.join();
  EXPECT_EQ(connection->Execute("SELECT 1").status().code(), absl::StatusCode::kCancelled);

  const auto copying = Connect();
  ASSERT_TRUE(copying->BeginCopyOut("COPY (SELECT generate_series(1, 1000000000)) TO STDOUT").ok());
  copying->Cancel();
  absl::Status ended;
  while (ended.ok()) ended = copying->ReadCopy().status();
  EXPECT_EQ(ended.code(), absl::StatusCode::kCancelled);
}

TEST(PostgresConnectionTest, ALostConnectionIsUnavailable) {
  const auto connection = Connect();
  EXPECT_TRUE(connection->alive());
  test::Scalar(Server().Dsn(), absl::StrCat("SELECT pg_terminate_backend(", connection->backend_pid(), ")"));
  EXPECT_EQ(connection->Execute("SELECT 1").status().code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(connection->alive());
  EXPECT_EQ(connection->Execute("SELECT 1").status().code(), absl::StatusCode::kUnavailable);
}

TEST(PostgresConnectionTest, TheServerEndsASessionThatFellSilentInATransaction) {
  ConnectionSettings settings;
  settings.timeouts.idle_in_transaction = absl::Milliseconds(200);
  const auto connection = Connect(settings);
  ASSERT_TRUE(connection->ExecuteCommand("BEGIN").ok());
  const std::string alive =
      absl::StrCat("SELECT count(*) FROM pg_stat_activity WHERE pid = ", connection->backend_pid());
  while (test::Scalar(Server().Dsn(), alive) != "0") {
  }
  EXPECT_EQ(connection->Execute("SELECT 1").status().code(), absl::StatusCode::kUnavailable);
}

TEST(PostgresConnectionTest, WaitsForALockOnlySoLong) {
  const auto holder = Connect();
  ConnectionSettings settings;
  settings.lock_timeout = absl::Milliseconds(100);
  const auto waiter = Connect(settings);
  test::Exec(Server().Dsn(), "CREATE TABLE locked (a int)");
  ASSERT_TRUE(holder->ExecuteCommand("BEGIN").ok());
  ASSERT_TRUE(holder->ExecuteCommand("LOCK TABLE locked").ok());
  EXPECT_EQ(waiter->Execute("SELECT * FROM locked").status().code(), absl::StatusCode::kAborted);
}

}  // namespace
}  // namespace tidemark::postgres
