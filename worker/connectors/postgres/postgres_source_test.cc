#include "worker/connectors/postgres/postgres_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/support/postgres_server.h"
#include "worker/connectors/postgres/postgres_source_testing.h"

namespace tidemark::postgres {
namespace {

using test::Exec;
using test::Scalar;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;
using Rows = std::vector<std::vector<std::string>>;

class PostgresSourceTest : public ::testing::Test {
 protected:
  // A login of its own, which owns nothing.
  std::string DsnAs(const std::string& role) const {
    return absl::StrReplaceAll(dsn_, {{"postgres@", absl::StrCat(role, "@")}});
  }

  v1::TableSchema SchemaOf(const v1::JobSpec& job) {
    const auto description = MustOpen(dsn_, job)->Describe();
    EXPECT_TRUE(description.ok()) << description.status();
    return description->schema;
  }

  const std::string dsn_ = test::PostgresServer::Shared().NewDatabase();
};

TEST_F(PostgresSourceTest, DescribesATable) {
  Exec(
      dsn_,
      R"(CREATE SCHEMA "Shop 🦆"; CREATE DOMAIN cents AS numeric(10,2); CREATE DOMAIN price AS cents CHECK (VALUE >= 0);
    CREATE TABLE "Shop 🦆"."Order ""x""" (line int, id bigint GENERATED ALWAYS AS IDENTITY, amount numeric(15,2) NOT NULL, free numeric, cost price,
      at timestamptz(3), naive timestamp, day date, clock time(0), name varchar(40), code char(5), note text, raw bytea, ok bool, u uuid, j jsonb, js json,
      gap interval, tags text[], double_it numeric GENERATED ALWAYS AS (amount * 2) STORED, who oid, ip inet, PRIMARY KEY (id, line));
    INSERT INTO "Shop 🦆"."Order ""x""" (line, amount) SELECT 1, n FROM generate_series(1, 1000) n; ANALYZE)");
  const auto session = MustOpen(dsn_, TableJob(R"("Shop 🦆"."Order ""x""")", "at"));
  const auto description = session->Describe();
  ASSERT_TRUE(description.ok()) << description.status();
  std::map<std::string, v1::Column> columns;
  for (const v1::Column& column : description->schema.columns()) columns[column.name()] = column;
  EXPECT_EQ(columns.size(), 22);
  const auto kind = [&](const std::string& name) { return columns[name].type().kind(); };
  EXPECT_EQ(columns["amount"].native_type(), "numeric(15,2)");
  EXPECT_EQ(columns["amount"].type().precision(), 15);
  EXPECT_EQ(columns["amount"].type().scale(), 2);
  EXPECT_FALSE(columns["amount"].nullable());
  EXPECT_TRUE(columns["note"].nullable());
  EXPECT_EQ(columns["free"].type().precision(), 0);
  EXPECT_EQ(columns["cost"].native_type(), "price");
  EXPECT_EQ(columns["cost"].type().precision(), 10);
  EXPECT_EQ(kind("at"), v1::LogicalType::KIND_TIMESTAMPTZ);
  EXPECT_EQ(columns["at"].type().scale(), 3);
  EXPECT_EQ(kind("naive"), v1::LogicalType::KIND_TIMESTAMP);
  EXPECT_EQ(columns["naive"].type().scale(), 6);
  EXPECT_EQ(columns["clock"].type().scale(), 0);
  EXPECT_EQ(kind("day"), v1::LogicalType::KIND_DATE);
  EXPECT_EQ(columns["name"].native_type(), "character varying(40)");
  EXPECT_EQ(kind("code"), v1::LogicalType::KIND_STRING);
  EXPECT_EQ(kind("u"), v1::LogicalType::KIND_UUID);
  EXPECT_EQ(kind("j"), v1::LogicalType::KIND_JSON);
  EXPECT_EQ(kind("gap"), v1::LogicalType::KIND_INTERVAL);
  EXPECT_EQ(kind("tags"), v1::LogicalType::KIND_OTHER);
  EXPECT_THAT(description->schema.primary_key(), ElementsAre("id", "line"));
  EXPECT_EQ(description->estimated_rows, 1000);
  EXPECT_GT(description->estimated_bytes, 8192);
  EXPECT_THAT(description->identity, HasSubstr(Scalar(dsn_, "SELECT system_identifier FROM pg_control_system()")));
  EXPECT_TRUE(description->capabilities.snapshot());
  EXPECT_TRUE(description->capabilities.snapshot_export());
  EXPECT_TRUE(description->capabilities.horizon());
  EXPECT_EQ(columns["cost"].wire_type(), "numeric(10,2)");
  EXPECT_EQ(columns["name"].wire_type(), "character varying(40)");
  EXPECT_THAT(description->capabilities.formats(),
              ElementsAre(v1::CHUNK_FORMAT_PG_COPY_BINARY, v1::CHUNK_FORMAT_ARROW));
  EXPECT_THAT(description->notes, ElementsAre(HasSubstr("double_it")));
  EXPECT_EQ(ReadKeys(*session).size(), 1000);
}

TEST_F(PostgresSourceTest, EstimatesWithoutStatistics) {
  Exec(dsn_,
       "CREATE TABLE empty (a int); CREATE TABLE fresh (a int) WITH (autovacuum_enabled = false); INSERT INTO fresh "
       "SELECT generate_series(1, 50000)");
  EXPECT_EQ(MustOpen(dsn_, TableJob("empty"))->Describe()->estimated_rows, 0);
  const int64_t estimate = MustOpen(dsn_, TableJob("fresh"))->Describe()->estimated_rows;
  EXPECT_GT(estimate, 25'000);
  EXPECT_LT(estimate, 100'000);
}

TEST_F(PostgresSourceTest, SaysWhatIsWrongWithWhatItShouldRead) {
  Exec(dsn_,
       "CREATE TABLE t (id int, name text); DROP ROLE IF EXISTS reader_of_little; CREATE ROLE reader_of_little LOGIN; "
       "CREATE SCHEMA hidden; "
       "CREATE TABLE hidden.t (a int); CREATE SEQUENCE s");
  const auto describe = [&](const v1::JobSpec& job, const std::string& dsn) {
    return MustOpen(dsn, job)->Describe().status();
  };
  EXPECT_EQ(describe(TableJob("nowhere"), dsn_).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(describe(TableJob("T"), dsn_).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(describe(TableJob("s"), dsn_).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(describe(TableJob("t", "updated_at"), dsn_).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(describe(TableJob("t", "name"), dsn_).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(describe(QueryJob("SELECT id, id FROM t"), dsn_).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(describe(QueryJob("SELECT 1"), dsn_).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(describe(QueryJob("DELETE FROM t"), dsn_).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(describe(QueryJob("SELECT 1 AS a) q; DROP TABLE t; --"), dsn_).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(describe(QueryJob("SELECT id FROM t WHERE id > :last_watermark"), dsn_).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(describe(QueryJob("SELECT id FROM gone"), dsn_).code(), absl::StatusCode::kNotFound);
  const absl::Status table = describe(TableJob("t"), DsnAs("reader_of_little"));
  EXPECT_EQ(table.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(table.message()), HasSubstr(R"(GRANT SELECT ON "public"."t" TO "reader_of_little")"));
  const absl::Status schema = describe(TableJob("hidden.t"), DsnAs("reader_of_little"));
  EXPECT_THAT(std::string(schema.message()), HasSubstr(R"(GRANT USAGE ON SCHEMA "hidden" TO "reader_of_little")"));
  Exec(dsn_, "GRANT SELECT (id) ON t TO reader_of_little");
  EXPECT_THAT(std::string(describe(TableJob("t"), DsnAs("reader_of_little")).message()),
              HasSubstr(R"(GRANT SELECT ("name") ON)"));
  EXPECT_EQ(MustOpen(dsn_, TableJob("t"))->ProbeHorizon(std::nullopt).status().code(),
            absl::StatusCode::kUnimplemented);
}

// Types that a binary COPY carries as they are, with the values that break pipelines.
constexpr char kWireTable[] = R"(
  CREATE TABLE wire (n int, f4 float4, f8 float8, num numeric, d date, ts timestamp, tz timestamptz, t time, ttz timetz, i interval, j json, jb jsonb,
    b bytea, s text, ta text[], ia int[], r int4range, mr datemultirange, bits varbit, c char(8), ch "char", ip inet, net cidr, p point, x xml, u uuid,
    lsn pg_lsn, v tsvector);
  INSERT INTO wire (n, f4, f8, num, d, ts, tz, t, ttz, i, j, jb, b, s, ta, ia, r, mr, bits, c, ch, ip, net, p, x, u, lsn, v) VALUES
    (1, 'NaN', '-0', 'NaN', 'infinity', '-infinity', 'infinity', '24:00', '23:59:59.999999-15:59', '-178000000 years', '{"a":1,"a":2, "z": "\u0000"}',
     '{"b": 1.10}', '\x00ff', E'tab\tnew\nline\\ \'quoted\' 🦆', '{{a,NULL},{"","x,y"}}', '[-1:1]={1,NULL,3}', 'empty', '{[2026-01-01,2026-02-01)}', B'10101',
     'ab', 'x', '10.0.0.1', '10.0.0.0/8', '(1,-0)', '<a>1</a>', gen_random_uuid(), '16/B374D848', 'fat:1A cat'),
    (2, '-Infinity', '4.9e-324', 'Infinity', '4713-01-01 BC', '4713-01-01 BC', '294276-12-31 23:59:59.999999+00', '00:00', '00:00+15:59', '1 mon -1 day 00:00:00.000001',
     'null', '[]', '', '', '{}', '{}', '[1,)', '{}', B'', '', NULL, '::1', '::/0', '(NaN,Infinity)', '', NULL, '0/0', ''),
    (3, 3.4028235e38, 1.7976931348623157e308, (repeat('9', 131072) || '.5')::numeric, '5874897-12-31', '294276-12-31 23:59:59.999999', '10000-01-01 00:00+00', NULL, NULL,
     NULL, NULL, NULL, decode(repeat('ab', 3000000), 'hex'), repeat('é', 100000), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (4, 1.5, 0.1, 0.00000000000000000000000000000000000000001, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
     NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
  CREATE TABLE copied (LIKE wire))";

TEST_F(PostgresSourceTest, TheWireCarriesEveryBuiltInTypeUnchanged) {
  Exec(dsn_, kWireTable);
  const auto session = MustOpen(dsn_, TableJob("wire"));
  const auto description = session->Describe();
  ASSERT_TRUE(description.ok()) << description.status();
  ASSERT_THAT(description->capabilities.formats(),
              ElementsAre(v1::CHUNK_FORMAT_PG_COPY_BINARY, v1::CHUNK_FORMAT_ARROW));
  const auto target = MustConnect(dsn_);
  EXPECT_EQ(CopyWire(*session, description->schema, *target, "copied"), 4);
  // By text, which tells -0 from 0 and one NaN from none.
  EXPECT_EQ(Scalar(dsn_, "SELECT count(*) FROM wire w JOIN copied c ON w.*::text = c.*::text"), "4");
}

TEST_F(PostgresSourceTest, ColumnsOfThisDatabasesOwnTypesTravelAsText) {
  Exec(
      dsn_,
      R"(CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (a int, b text); CREATE DOMAIN d1 AS int; CREATE DOMAIN d2 AS d1;
    CREATE DOMAIN short AS varchar(9); CREATE TABLE own (m mood, p pair, ma mood[], d d2, k regclass, pr pg_class[], cash money, v short);
    INSERT INTO own VALUES ('ok', ROW(1, 'say "hi", (now)'), '{ok,NULL}', 7, 'pg_class', NULL, '12.34', 'nine'))");
  const auto session = MustOpen(dsn_, TableJob("own"));
  const v1::TableSchema schema = session->Describe()->schema;
  std::vector<std::string> types;
  for (const v1::Column& column : schema.columns()) types.push_back(column.wire_type());
  EXPECT_THAT(types, ElementsAre("text", "text", "text", "integer", "text", "text", "text", "character varying(9)"));
  const auto target = MustConnect(dsn_);
  Exec(dsn_, "CREATE TABLE copied (m mood, p text, ma text, d int, k text, pr text, cash text, v varchar(9))");
  EXPECT_EQ(CopyWire(*session, schema, *target, "copied"), 1);
  EXPECT_EQ(Scalar(dsn_, "SELECT copied::text FROM copied"), Scalar(dsn_, "SELECT own::text FROM own"));
  const auto rows = ReadRows(*session, session->Describe()->schema);
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(*rows,
            (Rows{{"ok", R"x((1,"say ""hi"", (now)"))x", "{ok,NULL}", "7", "pg_class", "NULL", "$12.34", "nine"}}));
  // An enum that grows while jobs run is still its text.
  Exec(dsn_, "ALTER TYPE mood ADD VALUE 'glad'");
  Exec(dsn_, "UPDATE own SET m = 'glad'");
  EXPECT_EQ((*ReadRows(*session, session->Describe()->schema))[0][0], "glad");
}

TEST_F(PostgresSourceTest, DecodesIntoArrow) {
  Exec(
      dsn_,
      R"(CREATE TABLE a (b bool, i2 int2, i4 int4, i8 int8, o oid, x xid8, f4 float4, f8 float8, n numeric(38,10), w numeric(76,0), free numeric,
      s text, c char(4), by bytea, d date, t time, ts timestamp, tz timestamptz, u uuid, j json, jb jsonb, i interval, ar int[], ip inet, neg numeric(3,-2));
    INSERT INTO a VALUES (true, -32768, 2147483647, -9223372036854775808, 4294967295, '18446744073709551615', 'NaN', '-0',
      -1234567890123456789012345678.0123456789, repeat('9', 76)::numeric, '123456789012345678901234567890123456789.000', 'é', 'ab', '\x00ff', '4713-01-01 BC', '24:00',
      '0001-01-01 00:00:00.000001', '9999-12-31 23:59:59.999999+00', '00000000-0000-0000-0000-0000000000ff', '{"a": 1}', '{"a": 1}', '1 day', '{1,NULL}', '10.0.0.1', 12345),
      (false, 0, 0, 0, 0, '0', 1.5, 0.1, 0.0001, -1, 'NaN', '', '', '', '1970-01-01', '00:00', '2000-01-01', '1969-12-31 23:59:59+00', NULL, NULL, NULL, NULL, NULL, '::1/64', 0),
      (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 10000, 100000000, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL))");
  const auto session = MustOpen(dsn_, TableJob("a"));
  const auto rows = ReadRows(*session, session->Describe()->schema);
  ASSERT_TRUE(rows.ok()) << rows.status();
  ASSERT_EQ(rows->size(), 3);
  EXPECT_THAT((*rows)[0],
              ElementsAre("true", "-32768", "2147483647", "-9223372036854775808", "4294967295", "18446744073709551615",
                          "nan", "-0", "-1234567890123456789012345678.0123456789", std::string(76, '9'),
                          "123456789012345678901234567890123456789.000", "é", "ab  ", testing::_, "-4712-01-01",
                          HasSubstr("86400000000"), testing::_, testing::_, testing::_, R"({"a": 1})", R"({"a": 1})",
                          "1 day", "{1,NULL}", "10.0.0.1", "12300"));
  EXPECT_EQ((*rows)[1][8], "0.0001000000");
  EXPECT_EQ((*rows)[1][9], "-1");
  EXPECT_EQ((*rows)[1][10], "NaN");
  EXPECT_EQ((*rows)[1][23], "::1/64");
  EXPECT_EQ((*rows)[2][8], "10000.0000000000");
  EXPECT_EQ((*rows)[2][9], "100000000");
  EXPECT_EQ((*rows)[2][0], "NULL");
}

TEST_F(PostgresSourceTest, RefusesWhatArrowCannotHold) {
  Exec(dsn_,
       "CREATE TABLE bad (d date, tz timestamptz, ts timestamp, n numeric(5,2)); INSERT INTO bad VALUES ('infinity', "
       "'-infinity', '294276-12-31', 'NaN')");
  const auto session = MustOpen(dsn_, TableJob("bad"));
  const v1::TableSchema all = session->Describe()->schema;
  for (const v1::Column& column : all.columns()) {
    v1::TableSchema one;
    *one.add_columns() = column;
    const absl::Status status = ReadRows(*session, one).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat("column ", column.name())));
  }
}

TEST_F(PostgresSourceTest, BytesThatAreNotTextAreAnErrorNotText) {
  Exec(dsn_, "CREATE DATABASE ascii_only ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
  const std::string ascii = test::PostgresServer::Shared().Dsn("ascii_only");
  Exec(ascii, R"(CREATE TABLE t (id int, s text); INSERT INTO t VALUES (1, 'fine'), (2, E'\xff\xfe'))");
  const auto session = MustOpen(ascii, TableJob("t"));
  const absl::Status status = ReadRows(*session, session->Describe()->schema).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("0xff"));
  Exec(dsn_, "DROP DATABASE ascii_only WITH (FORCE)");
}

TEST_F(PostgresSourceTest, ReadsAsManyColumnsAsATableHolds) {
  Exec(dsn_,
       "DO $$ BEGIN EXECUTE (SELECT 'CREATE TABLE wide (' || string_agg('c' || n || ' int2', ', ') || ')' FROM "
       "generate_series(1, 1600) n); EXECUTE "
       "'INSERT INTO wide (c1, c1600) VALUES (1, 2)'; END $$");
  const auto session = MustOpen(dsn_, TableJob("wide"));
  const auto rows = ReadRows(*session, session->Describe()->schema);
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ((*rows)[0][1599], "2");
}

TEST_F(PostgresSourceTest, ReadsAWindow) {
  Exec(
      dsn_,
      R"(CREATE TABLE w (id int PRIMARY KEY, "At" timestamptz); INSERT INTO w SELECT n, timestamptz '2026-01-01 00:00+00' + n * interval '1 hour' FROM generate_series(1, 5) n;
    INSERT INTO w VALUES (6, NULL))");
  const v1::Watermark two = MakeWatermark("timestamptz", "2026-01-01 02:00:00+00");
  const v1::Watermark four = MakeWatermark("timestamptz", "2026-01-01 04:00:00+00");
  const auto session = MustOpen(dsn_, TableJob("w", "At"));
  EXPECT_THAT(ReadKeys(*session, MakeWindow(two, four)), ElementsAre("3", "4"));
  EXPECT_THAT(ReadKeys(*session, MakeWindow(std::nullopt, two)), ElementsAre("1", "2"));
  v1::Window with_nulls = MakeWindow(four, MakeWatermark("timestamptz", "2026-01-02 00:00:00+00"));
  with_nulls.set_nulls(true);
  EXPECT_THAT(ReadKeys(*session, with_nulls), ElementsAre("5", "6"));
  EXPECT_EQ(*session->CountNullWatermarks(), 1);
  // A full refresh of an increment stops at `high`; the strategy full takes everything.
  v1::Window full = MakeWindow(std::nullopt, two);
  full.set_kind(v1::WINDOW_KIND_FULL);
  EXPECT_THAT(ReadKeys(*session, full), ElementsAre("1", "2"));
  v1::JobSpec replace = TableJob("w", "At");
  replace.mutable_target()->set_strategy(v1::LOAD_STRATEGY_FULL);
  EXPECT_EQ(ReadKeys(*MustOpen(dsn_, replace), full).size(), 6);

  EXPECT_TRUE(*session->MayHoldRowsAbove(MakeWatermark("timestamptz", "2027-01-01 00:00:00+00"))) << "no index to tell";
  Exec(dsn_, R"(CREATE INDEX ON w ("At"))");
  EXPECT_FALSE(*session->MayHoldRowsAbove(MakeWatermark("timestamptz", "2027-01-01 00:00:00+00")));
  EXPECT_TRUE(*session->MayHoldRowsAbove(four));
}

TEST_F(PostgresSourceTest, ReadsAQueryWithItsPlaceholders) {
  Exec(dsn_,
       "CREATE TABLE o (id int, at timestamptz); INSERT INTO o SELECT n, timestamptz '2026-01-01 00:00+00' + n * "
       "interval '1 hour' FROM generate_series(1, 5) n");
  const auto session = MustOpen(dsn_, QueryJob("SELECT id::bigint AS id, at::timestamptz FROM o WHERE at > "
                                               ":last_watermark AND at <= :watermark_snapshot ORDER BY 1; -- all",
                                               "at"));
  const auto description = session->Describe();
  ASSERT_TRUE(description.ok()) << description.status();
  EXPECT_EQ(description->schema.columns(0).native_type(), "bigint");
  EXPECT_THAT(description->schema.primary_key(), IsEmpty());
  EXPECT_EQ(ReadKeys(*session).size(), 5);
  EXPECT_THAT(ReadKeys(*session, MakeWindow(MakeWatermark("timestamptz", "2026-01-01 02:00:00+00"),
                                            MakeWatermark("timestamptz", "2026-01-01 03:00:00+00"))),
              ElementsAre("3"));
  EXPECT_TRUE(*session->MayHoldRowsAbove(MakeWatermark("timestamptz", "2027-01-01 00:00:00+00")));
}

TEST_F(PostgresSourceTest, ASnapshotIsOneStateForAllWhoImportIt) {
  Exec(dsn_, "CREATE TABLE s (id int PRIMARY KEY); INSERT INTO s SELECT generate_series(1, 3)");
  auto holder = MustOpen(dsn_, TableJob("s"));
  const auto snapshot = holder->OpenSnapshot();
  ASSERT_TRUE(snapshot.ok()) << snapshot.status();
  Exec(dsn_, "DELETE FROM s WHERE id = 1; INSERT INTO s VALUES (4)");
  auto importer = MustOpen(dsn_, TableJob("s"));
  ASSERT_TRUE(importer->ImportSnapshot(*snapshot).ok());
  const auto late = MustOpen(dsn_, TableJob("s"));
  EXPECT_THAT(ReadKeys(*holder), ElementsAre("1", "2", "3"));
  EXPECT_THAT(ReadKeys(*importer), ElementsAre("1", "2", "3"));
  EXPECT_THAT(ReadKeys(*late), ElementsAre("2", "3", "4"));
  holder.reset();
  EXPECT_THAT(ReadKeys(*importer), ElementsAre("1", "2", "3")) << "an importer lives on";
  // The server takes its time to notice that the holder has gone.
  while (Scalar(dsn_,
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in "
                "transaction'") != "1") {
  }
  EXPECT_EQ(late->ImportSnapshot(*snapshot).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(MustOpen(dsn_, TableJob("s"))->ImportSnapshot("nonsense").code(), absl::StatusCode::kDataLoss);
}

TEST_F(PostgresSourceTest, ATableInASnapshotIsNotTruncatedBeforeItIsRead) {
  Exec(dsn_, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 10)");
  auto holder = MustOpen(dsn_, TableJob("t"));
  const auto snapshot = holder->OpenSnapshot();
  ASSERT_TRUE(snapshot.ok()) << snapshot.status();
  const auto other = MustConnect(dsn_);
  MustRun(*other, "SET lock_timeout = '200ms'");
  EXPECT_FALSE(other->Execute("TRUNCATE t").ok());
  // An importer keeps it so when the exporter has ended.
  const auto importer = MustOpen(dsn_, TableJob("t"));
  ASSERT_TRUE(importer->ImportSnapshot(*snapshot).ok());
  holder.reset();
  EXPECT_FALSE(other->Execute("TRUNCATE t").ok());
  EXPECT_EQ(ReadKeys(*importer).size(), 10);
}

TEST_F(PostgresSourceTest, ALostSnapshotIsDataLoss) {
  Exec(dsn_, "CREATE TABLE s (id int PRIMARY KEY); INSERT INTO s SELECT generate_series(1, 100000)");
  const auto session = MustOpen(dsn_, TableJob("s"));
  const v1::TableSchema schema = session->Describe()->schema;
  ASSERT_TRUE(session->OpenSnapshot().ok());
  Exec(dsn_,
       "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in "
       "transaction'");
  EXPECT_EQ(ReadRows(*session, schema).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(PostgresSourceTest, ASnapshotOutlivesTheServersPatienceWhileItsHolderLives) {
  Exec(dsn_, "CREATE TABLE s (id int PRIMARY KEY); INSERT INTO s SELECT generate_series(1, 3)");
  v1::ConnectionSpec connection;
  connection.set_dsn(dsn_);
  ServerTimeouts timeouts;
  timeouts.idle_in_transaction = absl::Milliseconds(400);
  auto session = PostgresSource::Open(connection, TableJob("s"), SessionOptions(), timeouts);
  ASSERT_TRUE(session.ok());
  ASSERT_TRUE((*session)->OpenSnapshot().ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  EXPECT_THAT(ReadKeys(**session), ElementsAre("1", "2", "3"));
}

TEST_F(PostgresSourceTest, AReadThatFailsOrIsGivenUpLeavesTheSnapshotWhole) {
  Exec(dsn_,
       "CREATE TABLE s (id int PRIMARY KEY, n int); INSERT INTO s SELECT n, n FROM generate_series(1, 200000) n; "
       "UPDATE s SET n = 0 WHERE id = 150000; "
       "CREATE VIEW v AS SELECT id, 1 / n AS x FROM s");
  const auto session = MustOpen(dsn_, TableJob("v"));
  const v1::TableSchema schema = session->Describe()->schema;
  ASSERT_TRUE(session->OpenSnapshot().ok());
  EXPECT_EQ(ReadRows(*session, schema).status().code(), absl::StatusCode::kInvalidArgument);
  v1::TableSchema id;
  *id.add_columns() = schema.columns(0);
  {
    auto reader = session->Read(ReadRequest{id, {}, {}, v1::CHUNK_FORMAT_PG_COPY_BINARY});
    ASSERT_TRUE(reader.ok());
    ASSERT_TRUE((*reader)->Next().ok());
    EXPECT_EQ(session->Read(ReadRequest{id, {}, {}, v1::CHUNK_FORMAT_ARROW}).status().code(),
              absl::StatusCode::kFailedPrecondition);
  }
  EXPECT_EQ(ReadRows(*session, id)->size(), 200'000);
}

TEST_F(PostgresSourceTest, ReadsInChunksThatHoldWholeRows) {
  Exec(dsn_,
       "CREATE TABLE c (id int, s text); INSERT INTO c SELECT n, repeat('x', 100) FROM generate_series(1, 50000) n");
  for (const v1::ChunkFormat format : {v1::CHUNK_FORMAT_PG_COPY_BINARY, v1::CHUNK_FORMAT_ARROW}) {
    for (const int64_t rate : {int64_t{0}, int64_t{4000}}) {
      const auto session = MustOpen(dsn_, TableJob("c"), rate);
      auto reader = session->Read(ReadRequest{session->Describe()->schema, {}, {}, format});
      ASSERT_TRUE(reader.ok()) << reader.status();
      int64_t rows = 0;
      int chunks = 0;
      while (true) {
        auto chunk = (*reader)->Next();
        ASSERT_TRUE(chunk.ok()) << chunk.status();
        if (!chunk->has_value()) break;
        EXPECT_EQ((*chunk)->format(), format);
        EXPECT_GT((*chunk)->rows(), 0);
        EXPECT_LT((*chunk)->bytes(), 2 << 20);
        if (rate > 0) {
          EXPECT_LE((*chunk)->rows(), rate / 4);
        }
        rows += (*chunk)->rows();
        ++chunks;
      }
      EXPECT_EQ(rows, 50'000);
      EXPECT_GE(chunks, rate > 0 ? 50 : 5);
      EXPECT_FALSE((*(*reader)->Next()).has_value());
    }
  }
}

TEST_F(PostgresSourceTest, CancelEndsARead) {
  const auto session = MustOpen(dsn_, QueryJob("SELECT generate_series(1, 1000000000) AS n"));
  const v1::TableSchema schema = session->Describe()->schema;
  auto reader = session->Read(ReadRequest{schema, {}, {}, v1::CHUNK_FORMAT_PG_COPY_BINARY});
  ASSERT_TRUE(reader.ok()) << reader.status();
  ASSERT_TRUE((*reader)->Next().ok());
  std::thread canceller([&] { session->Cancel(); });
  absl::Status ended;
  while (ended.ok()) ended = (*reader)->Next().status();
  canceller.join();
  EXPECT_EQ(ended.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(session->Read(ReadRequest{schema, {}, {}, v1::CHUNK_FORMAT_ARROW}).status().code(),
            absl::StatusCode::kCancelled);
}

TEST_F(PostgresSourceTest, AReadInTheMiddleOfWhichTheServerGoesIsUnavailable) {
  const auto session = MustOpen(dsn_, QueryJob("SELECT generate_series(1, 1000000000) AS n"));
  const v1::TableSchema schema = session->Describe()->schema;
  auto reader = session->Read(ReadRequest{schema, {}, {}, v1::CHUNK_FORMAT_ARROW});
  ASSERT_TRUE((*reader)->Next().ok());
  Exec(dsn_,
       "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE "
       "'COPY%'");
  absl::Status ended;
  while (ended.ok()) ended = (*reader)->Next().status();
  EXPECT_EQ(ended.code(), absl::StatusCode::kUnavailable) << ended;
}

TEST_F(PostgresSourceTest, ATableThatChangedSinceItWasDescribedIsReadAgainFromTheStart) {
  Exec(dsn_, "CREATE TABLE t (id int, n int)");
  const v1::TableSchema schema = SchemaOf(TableJob("t"));
  Exec(dsn_, "ALTER TABLE t ALTER n TYPE bigint");
  EXPECT_EQ(ReadRows(*MustOpen(dsn_, TableJob("t")), schema).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace tidemark::postgres
