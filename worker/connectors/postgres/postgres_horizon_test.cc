#include "worker/connectors/postgres/postgres_horizon.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/support/postgres_server.h"
#include "worker/connectors/postgres/postgres_source_testing.h"

namespace tidemark::postgres {
namespace {

using test::Exec;
using test::Scalar;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr auto kProved = v1::Completeness::LEVEL_PROVED;
constexpr auto kLookback = v1::Completeness::LEVEL_LOOKBACK;

// A server of its own: transactions of other tests would hold the horizon of none of these, but prepared ones must be
// allowed.
class PostgresHorizonTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto server = test::PostgresServer::Start({.settings = {"max_prepared_transactions = 4"}});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = server->release();
  }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }

  void SetUp() override {
    Exec(dsn_,
         "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz DEFAULT now(), ms "
         "timestamptz(3) DEFAULT now(), s timestamptz(0) DEFAULT now(), "
         "naive timestamp DEFAULT now(), day date DEFAULT current_date, x xid8 DEFAULT pg_current_xact_id(), loose "
         "bigint, note text)");
  }

  static v1::JobSpec Job(const std::string& watermark) {
    v1::JobSpec job = TableJob("t", watermark);
    job.mutable_source()->mutable_horizon_wait()->set_nanos(200'000'000);
    return job;
  }
  HorizonProbe Probe(const v1::JobSpec& job, const std::optional<LastWindow>& last = std::nullopt) {
    return Probe(job, last, dsn_);
  }
  HorizonProbe Probe(const v1::JobSpec& job, const std::optional<LastWindow>& last, const std::string& dsn) {
    auto probe = MustOpen(dsn, job)->ProbeHorizon(last);
    EXPECT_TRUE(probe.ok()) << probe.status();
    return probe.ok() ? *std::move(probe) : HorizonProbe();
  }
  static std::string Premises(const HorizonProbe& probe) {
    std::string all;
    for (const std::string& premise : probe.completeness.premises()) absl::StrAppend(&all, premise, "\n");
    return all;
  }
  // Whether the probe's bound lies below the stamps of the rows that `condition` selects, in a session that sees them.
  static bool Below(Connection& session, const HorizonProbe& probe, const std::string& column,
                    const std::string& condition) {
    const auto row = session.ExecuteRow(
        absl::StrCat("SELECT bool_and(", column, " > '", probe.high.text(), "') FROM t WHERE ", condition));
    EXPECT_TRUE(row.ok()) << row.status();
    return (*row)[0] == "t";
  }
  v1::Watermark Ago(const std::string& interval) {
    return MakeWatermark("timestamptz", Scalar(dsn_, absl::StrCat("SELECT now() - interval '", interval, "'")));
  }

  static test::PostgresServer* server_;
  const std::string dsn_ = server_->NewDatabase();
};

test::PostgresServer* PostgresHorizonTest::server_ = nullptr;

TEST_F(PostgresHorizonTest, WithNothingOpenTheHorizonIsASecondBehindTheClock) {
  const HorizonProbe probe = Probe(Job("at"), Ago("1 hour"));
  EXPECT_EQ(probe.completeness.level(), kProved) << Premises(probe);
  EXPECT_THAT(Premises(probe), HasSubstr("stamped by the database"));
  EXPECT_THAT(Premises(probe), HasSubstr("pg_stat_activity"));
  EXPECT_FALSE(probe.empty);
  EXPECT_EQ(probe.high.type(), "timestamptz");
  EXPECT_EQ(probe.high.precision(), 6);
  EXPECT_EQ(
      Scalar(dsn_, absl::StrCat("SELECT timestamptz '", probe.probed_at->text(), "' - '", probe.high.text(), "'")),
      "00:00:01.000001");
  EXPECT_EQ(
      Scalar(dsn_, absl::StrCat("SELECT now() - '", probe.probed_at->text(), "'::timestamptz < interval '5 seconds'")),
      "t");
}

TEST_F(PostgresHorizonTest, AnOpenTransactionHoldsTheHorizonBelowItsStamps) {
  const auto writer = MustConnect(dsn_);
  MustRun(*writer, "BEGIN");
  MustRun(*writer, "INSERT INTO t (note) VALUES ('late')");
  std::this_thread::sleep_for(std::chrono::milliseconds(1200));
  for (const std::string column : {"at", "ms", "s"}) {
    const HorizonProbe probe = Probe(Job(column));
    EXPECT_TRUE(Below(*writer, probe, column, "note = 'late'")) << column << " " << probe.high.text();
    EXPECT_EQ(probe.completeness.level(), kProved);
    EXPECT_GE(probe.hold, absl::Milliseconds(1200));
  }
  MustRun(*writer, "COMMIT");
  EXPECT_LT(Probe(Job("at")).hold, absl::Milliseconds(1200));
}

TEST_F(PostgresHorizonTest, ATransactionThatHasOnlyReadHoldsItToo) {
  const auto writer = MustConnect(dsn_);
  MustRun(*writer, "BEGIN");
  MustRun(*writer, "SELECT 1");
  std::this_thread::sleep_for(std::chrono::milliseconds(1200));
  const HorizonProbe probe = Probe(Job("at"));
  MustRun(*writer, "INSERT INTO t (note) VALUES ('later still')");
  EXPECT_TRUE(Below(*writer, probe, "at", "note = 'later still'"));
}

TEST_F(PostgresHorizonTest, AProcedureThatCommitsKeepsItsStatementsStamp) {
  Exec(dsn_,
       "CREATE PROCEDURE slow() LANGUAGE plpgsql AS $$ BEGIN COMMIT; PERFORM pg_sleep(2.5); INSERT INTO t (at, note) "
       "VALUES (statement_timestamp(), 'procedure'); COMMIT; END $$");
  std::thread caller([&] { Exec(dsn_, "CALL slow()"); });
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  const HorizonProbe probe = Probe(Job("at"));
  caller.join();
  EXPECT_TRUE(Below(*MustConnect(dsn_), probe, "at", "note = 'procedure'")) << probe.high.text();
}

TEST_F(PostgresHorizonTest, APreparedTransactionHoldsTheLastValue) {
  const auto writer = MustConnect(dsn_);
  MustRun(*writer, "BEGIN");
  MustRun(*writer, "INSERT INTO t (note) VALUES ('prepared')");
  MustRun(*writer, "PREPARE TRANSACTION 'tx''1'");
  const v1::Watermark low = Ago("1 hour");
  const HorizonProbe probe = Probe(Job("at"), low);
  EXPECT_TRUE(probe.empty);
  EXPECT_EQ(probe.high.text(), low.text());
  EXPECT_THAT(Premises(probe), HasSubstr("prepared transaction 'tx''1'"));
  EXPECT_EQ(MustOpen(dsn_, Job("at"))->ProbeHorizon(std::nullopt).status().code(), absl::StatusCode::kUnavailable);
  const HorizonProbe rows = Probe(Job("id"), MakeWatermark("bigint", "0"));
  EXPECT_TRUE(rows.empty);
  EXPECT_EQ(rows.high.text(), "0");
  v1::JobSpec degrade = Job("at");
  degrade.mutable_source()->mutable_max_hold()->set_nanos(1'000'000);
  EXPECT_EQ(Probe(degrade, low).completeness.level(), kLookback);
  EXPECT_FALSE(Probe(degrade, low).empty);
  EXPECT_EQ(Probe(Job("x"), MakeWatermark("xid8", "0")).high.text(),
            Scalar(dsn_, "SELECT transaction::text::bigint - 1 FROM pg_prepared_xacts"));
  MustRun(*writer, "COMMIT PREPARED 'tx''1'");
  EXPECT_FALSE(Probe(Job("at"), low).empty);
}

TEST_F(PostgresHorizonTest, OurOwnReadersDoNotHoldIt) {
  const auto reader = MustOpen(dsn_, Job("at"));
  ASSERT_TRUE(reader->OpenSnapshot().ok());
  EXPECT_EQ(reader->ProbeHorizon(std::nullopt).status().code(), absl::StatusCode::kFailedPrecondition);
  const auto session = MustOpen(dsn_, QueryJob("SELECT generate_series(1, 100000000) AS id, now() AS at", "at"));
  const v1::TableSchema schema = session->Describe()->schema;
  auto copying = session->Read(ReadRequest{schema, {}, {}, v1::CHUNK_FORMAT_ARROW});
  ASSERT_TRUE(copying.ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_EQ(Probe(Job("at")).hold, absl::ZeroDuration());
  const auto someone = MustConnect(dsn_);
  MustRun(*someone, "SET application_name = 'tidemark job run'");
  MustRun(*someone, "BEGIN");
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_GE(Probe(Job("at")).hold, absl::Milliseconds(300)) << "the same name is not the same thing";
}

TEST_F(PostgresHorizonTest, MaxHoldDegradesAndSaysSo) {
  const auto writer = MustConnect(dsn_);
  MustRun(*writer, "BEGIN");
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  v1::JobSpec job = Job("at");
  job.mutable_source()->mutable_max_hold()->set_nanos(200'000'000);
  const v1::Watermark low = Ago("1 hour");
  const HorizonProbe probe = Probe(job, low);
  EXPECT_EQ(probe.completeness.level(), kLookback);
  EXPECT_EQ(probe.completeness.lookback_seconds(), 900);
  EXPECT_THAT(Premises(probe), HasSubstr("longer than max_hold"));
  EXPECT_EQ(Scalar(dsn_, absl::StrCat("SELECT timestamptz '", low.text(), "' - '", probe.effective_low->text(), "'")),
            "00:15:00");
}

TEST_F(PostgresHorizonTest, AWindowReachesTheStampsThatTheOneBeforeItLeftOut) {
  const auto writer = MustConnect(dsn_);
  MustRun(*writer, "BEGIN");
  MustRun(*writer, "INSERT INTO t (note) VALUES ('left out')");
  std::this_thread::sleep_for(std::chrono::milliseconds(2500));
  v1::JobSpec job = Job("at");
  job.mutable_source()->mutable_max_hold()->set_nanos(200'000'000);
  job.mutable_source()->mutable_lookback()->set_seconds(1);
  const HorizonProbe degraded = Probe(job, Ago("1 hour"));
  EXPECT_EQ(degraded.completeness.level(), kLookback);
  EXPECT_FALSE(Below(*writer, degraded, "at", "note = 'left out'"));
  EXPECT_GE(degraded.completeness.lookback_seconds(), 3) << "its lookback setting does not cover the open transaction";
  MustRun(*writer, "COMMIT");
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));

  LastWindow last = degraded.high;
  last.lookback = absl::Seconds(degraded.completeness.lookback_seconds());
  const HorizonProbe next = Probe(Job("at"), last);
  EXPECT_EQ(next.completeness.level(), kProved) << Premises(next);
  EXPECT_THAT(Premises(next), HasSubstr("reaches back"));
  HorizonProbe start;
  start.high = *next.effective_low;
  EXPECT_TRUE(Below(*writer, start, "at", "note = 'left out'")) << next.effective_low->text();
}

TEST_F(PostgresHorizonTest, AnotherServerIsReadFromFurtherBackOnce) {
  LastWindow last = Ago("1 hour");
  last.other_source = true;
  const HorizonProbe probe = Probe(Job("at"), last);
  EXPECT_EQ(probe.completeness.level(), kLookback);
  EXPECT_THAT(Premises(probe), HasSubstr("another server"));
  EXPECT_EQ(
      Scalar(dsn_, absl::StrCat("SELECT timestamptz '", last.high.text(), "' - '", probe.effective_low->text(), "'")),
      "00:15:00");
}

TEST_F(PostgresHorizonTest, WithoutTheRightToSeeOthersItWaitsThemOutOrSaysSo) {
  Exec(dsn_, "DROP ROLE IF EXISTS blind; CREATE ROLE blind LOGIN; GRANT SELECT ON t TO blind");
  const std::string blind = absl::StrReplaceAll(dsn_, {{"postgres@", "blind@"}});
  EXPECT_EQ(Probe(Job("at"), std::nullopt, blind).completeness.level(), kProved);
  const auto writer = MustConnect(dsn_);
  MustRun(*writer, "BEGIN");
  const HorizonProbe held = Probe(Job("at"), std::nullopt, blind);
  EXPECT_EQ(held.completeness.level(), kLookback);
  EXPECT_THAT(Premises(held), HasSubstr("GRANT pg_read_all_stats"));
  v1::JobSpec patient = Job("at");
  patient.mutable_source()->mutable_horizon_wait()->set_seconds(20);
  std::thread committer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    MustRun(*writer, "COMMIT");
  });
  const HorizonProbe waited = Probe(patient, std::nullopt, blind);
  committer.join();
  EXPECT_EQ(waited.completeness.level(), kProved) << Premises(waited);
  EXPECT_THAT(Premises(waited), HasSubstr("waited out"));
  const auto prepared = MustConnect(dsn_);
  MustRun(*prepared, "BEGIN");
  MustRun(*prepared, "INSERT INTO t DEFAULT VALUES");
  std::thread preparer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    MustRun(*prepared, "PREPARE TRANSACTION 'while waited for'");
  });
  v1::JobSpec second = Job("at");
  second.mutable_source()->mutable_horizon_wait()->set_seconds(1);
  const HorizonProbe caught = Probe(second, Ago("1 hour"), blind);
  preparer.join();
  EXPECT_TRUE(caught.empty) << "a transaction that is prepared while it is waited for is not over";
  Exec(dsn_, "ROLLBACK PREPARED 'while waited for'");
}

TEST_F(PostgresHorizonTest, ASessionThatHidesItsActivityIsWaitedOut) {
  const auto hidden = MustConnect(dsn_);
  MustRun(*hidden, "SET track_activities = off");
  MustRun(*hidden, "BEGIN");
  MustRun(*hidden, "INSERT INTO t (note) VALUES ('hidden')");
  EXPECT_EQ(Probe(Job("at")).completeness.level(), kLookback);
  MustRun(*hidden, "COMMIT");
  EXPECT_EQ(Probe(Job("at")).completeness.level(), kProved);
}

TEST_F(PostgresHorizonTest, StampsOfTheApplicationAreNeverProved) {
  v1::JobSpec job = Job("at");
  job.mutable_source()->set_stamped_by(v1::STAMPED_BY_APPLICATION);
  job.mutable_source()->mutable_lookback()->set_seconds(60);
  const HorizonProbe probe = Probe(job, Ago("1 hour"));
  EXPECT_EQ(probe.completeness.level(), kLookback);
  EXPECT_EQ(probe.completeness.lookback_seconds(), 60);
}

TEST_F(PostgresHorizonTest, NaiveTimestampsNeedAZoneAndAreProvedOnlyWithoutDaylightSaving) {
  v1::JobSpec job = Job("naive");
  EXPECT_EQ(MustOpen(dsn_, job)->ProbeHorizon(std::nullopt).status().code(), absl::StatusCode::kInvalidArgument);
  job.mutable_source()->set_watermark_timezone("Asia/Kolkata");
  const HorizonProbe india = Probe(job);
  EXPECT_EQ(india.completeness.level(), kProved) << Premises(india);
  EXPECT_EQ(india.high.type(), "timestamp");
  EXPECT_EQ(india.high.zone(), "Asia/Kolkata");
  EXPECT_EQ(Scalar(dsn_, absl::StrCat("SELECT now() AT TIME ZONE 'Asia/Kolkata' - '", india.high.text(),
                                      "' BETWEEN interval '1 second' AND interval '9 seconds'")),
            "t");
  job.mutable_source()->set_watermark_timezone("Europe/Paris");
  const HorizonProbe paris = Probe(job, MakeWatermark("timestamp", "2026-01-01 00:00:00"));
  EXPECT_EQ(paris.completeness.level(), kLookback);
  EXPECT_EQ(paris.completeness.lookback_seconds(), 7200);
  EXPECT_EQ(paris.effective_low->text(), "2025-12-31 22:00:00");
  job.mutable_source()->set_watermark_timezone("Mars/Olympus");
  EXPECT_EQ(MustOpen(dsn_, job)->ProbeHorizon(std::nullopt).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(PostgresHorizonTest, ADateIsOverWhenItsDayIs) {
  // A day counts as over two hours late. Not around that moment, when another one is from one probe to the next.
  Exec(dsn_,
       "SELECT pg_sleep(CASE WHEN date_trunc('day', soon) + interval '1 min' > soon THEN 60 ELSE 0 END) FROM (SELECT "
       "now() AT TIME ZONE 'UTC' - interval '2 h' + interval '30 s') AS t (soon)");
  v1::JobSpec job = Job("day");
  job.mutable_source()->set_watermark_timezone("UTC");
  const HorizonProbe probe = Probe(job);
  EXPECT_EQ(probe.completeness.level(), kProved);
  EXPECT_EQ(probe.high.text(), Scalar(dsn_, "SELECT ((now() AT TIME ZONE 'UTC') - interval '2 h')::date - 1"));
  EXPECT_FALSE(probe.probed_at.has_value());
  EXPECT_TRUE(Probe(job, probe.high).empty);
  job.mutable_source()->clear_watermark_timezone();
  EXPECT_EQ(Scalar(dsn_, absl::StrCat("SELECT date '", Probe(job).high.text(), "' <= date '", probe.high.text(), "'")),
            "t");
}

TEST_F(PostgresHorizonTest, IntegersOfASequenceWaitForWhoMayHoldALowerOne) {
  Exec(dsn_, "INSERT INTO t (note) SELECT 'early' FROM generate_series(1, 10)");
  const HorizonProbe quiet = Probe(Job("id"), MakeWatermark("bigint", "3"));
  EXPECT_EQ(quiet.completeness.level(), kProved) << Premises(quiet);
  EXPECT_EQ(quiet.high.text(), "10");
  EXPECT_FALSE(quiet.empty);
  EXPECT_TRUE(Probe(Job("id"), MakeWatermark("bigint", "10")).empty);

  const auto late = MustConnect(dsn_);
  MustRun(*late, "BEGIN");
  MustRun(*late, "INSERT INTO t (note) VALUES ('late')");  // 11
  Exec(dsn_, "INSERT INTO t (note) VALUES ('after')");     // 12
  const HorizonProbe held = Probe(Job("id"), MakeWatermark("bigint", "10"));
  EXPECT_TRUE(held.empty);
  EXPECT_EQ(held.high.text(), "10");
  EXPECT_THAT(Premises(held), HasSubstr("still open"));
  std::thread committer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    MustRun(*late, "COMMIT");
  });
  v1::JobSpec patient = Job("id");
  patient.mutable_source()->mutable_horizon_wait()->set_seconds(20);
  const HorizonProbe waited = Probe(patient, MakeWatermark("bigint", "10"));
  committer.join();
  EXPECT_EQ(waited.high.text(), "12");
  EXPECT_THAT(ReadKeys(*MustOpen(dsn_, Job("id")), MakeWindow(MakeWatermark("bigint", "10"), waited.high)),
              ElementsAre("11", "12"));
}

TEST_F(PostgresHorizonTest, OtherIntegersAreNotProved) {
  Exec(dsn_,
       "INSERT INTO t (loose) VALUES (5); CREATE SEQUENCE cached CACHE 20; CREATE TABLE c (id int DEFAULT "
       "nextval('cached')); INSERT INTO c DEFAULT VALUES; "
       "CREATE TABLE serial (id serial)");
  const HorizonProbe loose = Probe(Job("loose"), MakeWatermark("bigint", "1"));
  EXPECT_EQ(loose.completeness.level(), kLookback);
  EXPECT_EQ(loose.high.text(), "5");
  EXPECT_EQ(Probe(TableJob("c", "id")).completeness.level(), kLookback);
  EXPECT_EQ(Probe(TableJob("serial", "id")).completeness.level(), kProved);
}

TEST_F(PostgresHorizonTest, APartitionOrHeirWithASequenceOfItsOwnIsNotProved) {
  Exec(
      dsn_,
      "CREATE SEQUENCE own; CREATE TABLE pa (id bigserial, v text) PARTITION BY LIST (v); CREATE TABLE pa_a PARTITION "
      "OF pa FOR VALUES IN ('a'); CREATE TABLE ip (id bigserial); CREATE TABLE ic () INHERITS (ip); INSERT INTO pa (v) "
      "VALUES ('a'); INSERT INTO ip DEFAULT VALUES");
  EXPECT_EQ(Probe(TableJob("pa", "id")).completeness.level(), kProved);
  EXPECT_EQ(Probe(TableJob("ip", "id")).completeness.level(), kProved);
  Exec(dsn_,
       "CREATE TABLE pa_rest PARTITION OF pa DEFAULT; ALTER TABLE pa_rest ALTER id SET DEFAULT nextval('own'); ALTER "
       "TABLE ic ALTER id SET DEFAULT nextval('own')");
  EXPECT_EQ(Probe(TableJob("pa", "id")).completeness.level(), kLookback);
  EXPECT_EQ(Probe(TableJob("ip", "id")).completeness.level(), kLookback);
}

TEST_F(PostgresHorizonTest, RowsOfAnotherServerAreNotProvedWhateverTheyAreReadThrough) {
  Exec(dsn_,
       "CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw; CREATE TABLE near (id int, "
       "at timestamptz); CREATE FOREIGN TABLE away (id int, at timestamptz) SERVER far; CREATE TABLE head (id int, at "
       "timestamptz); CREATE VIEW seen AS SELECT n.* FROM near n UNION ALL SELECT * FROM away");
  EXPECT_EQ(Probe(TableJob("head", "at")).completeness.level(), kProved);
  EXPECT_EQ(Probe(TableJob("seen", "at")).completeness.level(), kLookback);
  EXPECT_EQ(Probe(TableJob("away", "at")).completeness.level(), kLookback);
  v1::JobSpec query = TableJob("", "at");
  query.mutable_source()->set_query("SELECT * FROM near");
  EXPECT_EQ(Probe(query).completeness.level(), kProved);
  query.mutable_source()->set_query("SELECT * FROM away WHERE at > :last_watermark");
  EXPECT_THAT(Premises(Probe(query)), HasSubstr("the query holds rows of another server"));
  Exec(dsn_, "ALTER FOREIGN TABLE away INHERIT head");
  EXPECT_EQ(Probe(TableJob("head", "at")).completeness.level(), kLookback);
}

TEST_F(PostgresHorizonTest, ASequenceThatWasSetBackIsRefused) {
  Exec(dsn_, "CREATE TABLE s (id bigserial); INSERT INTO s SELECT FROM generate_series(1, 10)");
  const v1::Watermark low = Probe(TableJob("s", "id")).high;
  EXPECT_EQ(low.text(), "10");
  Exec(dsn_, "SELECT setval('s_id_seq', 11, false)");
  EXPECT_EQ(Probe(TableJob("s", "id"), low).completeness.level(), kProved);
  Exec(dsn_, "TRUNCATE s RESTART IDENTITY; INSERT INTO s DEFAULT VALUES");
  const absl::Status refused = MustOpen(dsn_, TableJob("s", "id"))->ProbeHorizon(low).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("s_id_seq of watermark column id stands at 1, below"));
}

TEST_F(PostgresHorizonTest, ValuesThatTheSequenceHasStillToGiveAreNotProved) {
  Exec(dsn_, "CREATE TABLE s (id bigserial); INSERT INTO s DEFAULT VALUES; INSERT INTO s VALUES (100)");
  const HorizonProbe probe = Probe(TableJob("s", "id"));
  EXPECT_EQ(probe.completeness.level(), kLookback);
  EXPECT_THAT(Premises(probe), HasSubstr("id holds 100, which its sequence"));
  // Rows that are copied in with their values do not set a sequence back.
  Exec(dsn_, "INSERT INTO s VALUES (101)");
  const HorizonProbe next = Probe(TableJob("s", "id"), probe.high);
  EXPECT_EQ(next.completeness.level(), kLookback);
  EXPECT_EQ(next.high.text(), "101");
}

TEST_F(PostgresHorizonTest, TransactionIdsAreBoundedByTheOldestThatRuns) {
  const auto writer = MustConnect(dsn_);
  MustRun(*writer, "BEGIN");
  MustRun(*writer, "INSERT INTO t (note) VALUES ('open')");
  Exec(dsn_, "INSERT INTO t (note) VALUES ('later')");
  const HorizonProbe probe = Probe(Job("x"));
  EXPECT_EQ(probe.completeness.level(), kProved);
  EXPECT_TRUE(Below(*writer, probe, "x", "note = 'open'"));
  EXPECT_TRUE(Below(*writer, probe, "x", "note = 'later'"));
  EXPECT_FALSE(*MustOpen(dsn_, Job("x"))->HorizonReached(*probe.probed_at));
  MustRun(*writer, "COMMIT");
  EXPECT_TRUE(*MustOpen(dsn_, Job("x"))->HorizonReached(*probe.probed_at));
  EXPECT_EQ(ReadKeys(*MustOpen(dsn_, Job("x")), MakeWindow(probe.high, Probe(Job("x")).high)).size(), 2);
}

TEST_F(PostgresHorizonTest, TheHorizonReachesTheProbesTimeOnceNothingHoldsIt) {
  const auto session = MustOpen(dsn_, Job("at"));
  const HorizonProbe probe = Probe(Job("at"));
  EXPECT_FALSE(*session->HorizonReached(*probe.probed_at));
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  const auto writer = MustConnect(dsn_);
  EXPECT_TRUE(*session->HorizonReached(*probe.probed_at));
  MustRun(*writer, "BEGIN");
  const HorizonProbe held = Probe(Job("at"));
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  EXPECT_FALSE(*session->HorizonReached(*held.probed_at));
}

TEST_F(PostgresHorizonTest, TheBoundNeverStepsBack) {
  const v1::Watermark recent = Ago("0.5 seconds");
  const HorizonProbe early = Probe(Job("at"), recent);
  EXPECT_TRUE(early.empty);
  EXPECT_EQ(early.high.text(), recent.text());
  EXPECT_EQ(early.completeness.level(), kProved);
  // The clock of the source stands before the last watermark: what is stamped now lies below it.
  const v1::Watermark future = Ago("-1 hour");
  const HorizonProbe behind = Probe(Job("at"), future);
  EXPECT_FALSE(behind.empty);
  EXPECT_EQ(behind.high.text(), future.text());
  EXPECT_EQ(behind.completeness.level(), kLookback);
  EXPECT_THAT(Premises(behind), HasSubstr("clock is behind"));
  Exec(dsn_, "INSERT INTO t (note) VALUES ('stamped below')");
  EXPECT_EQ(ReadKeys(*MustOpen(dsn_, Job("at")), MakeWindow(behind.effective_low, behind.high)).size(), 1);
  EXPECT_EQ(MustOpen(dsn_, Job("at"))->ProbeHorizon(MakeWatermark("bigint", "5")).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(PostgresHorizonTest, RowsThatAppearWithoutATransactionHereAreNotProved) {
  Exec(dsn_, "CREATE MATERIALIZED VIEW m AS SELECT * FROM t; CREATE VIEW v AS SELECT * FROM t");
  v1::JobSpec job = Job("at");
  job.mutable_source()->set_table("m");
  EXPECT_EQ(Probe(job).completeness.level(), kLookback);
  job.mutable_source()->set_table("v");
  EXPECT_EQ(Probe(job).completeness.level(), kProved);
  EXPECT_THAT(Premises(Probe(job)), HasSubstr("view or query"));
}

}  // namespace
}  // namespace tidemark::postgres
