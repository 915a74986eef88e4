#include "worker/connectors/postgres/postgres_target.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <chrono>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/support/postgres_server.h"
#include "worker/connector/fence_error.h"
#include "worker/connectors/postgres/postgres_connection.h"
#include "worker/connectors/postgres/postgres_target_testing.h"

namespace tidemark::postgres {
namespace {

using test::Exec;
using test::Query;
using test::Scalar;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr v1::ChunkFormat kArrow = v1::CHUNK_FORMAT_ARROW;
constexpr v1::ChunkFormat kWire = v1::CHUNK_FORMAT_PG_COPY_BINARY;
const std::vector<v1::ChunkFormat> kBoth = {kWire, kArrow};

class PostgresTargetTest : public testing::Test {
 protected:
  void CreateEvents(const std::string& more = "") {
    Exec(dsn_, absl::StrCat("CREATE TABLE events (id bigint PRIMARY KEY, note text, w timestamptz", more, ")"));
  }
  // id, note and seconds of every row, by id.
  std::vector<std::vector<std::string>> Events() {
    return Query(dsn_, "SELECT id, note, extract(epoch FROM w)::bigint FROM events ORDER BY id, w");
  }
  static void ExpectRefused(const absl::Status& status, absl::StatusCode code, const std::string& says) {
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(says));
  }
  absl::Status Describe(const TargetJob& job, const v1::TableSchema& schema) {
    return job.Open()->Describe(schema, kBoth).status();
  }
  // A session that is none of Tidemark's.
  std::unique_ptr<Connection> Somebody() {
    SessionOptions options;
    options.application_name = "somebody";
    auto opened = Connection::Open(dsn_, options, ConnectionSettings());
    EXPECT_TRUE(opened.ok()) << opened.status();
    return *std::move(opened);
  }
  // Until a session of the database waits for a lock.
  void WaitUntilSomebodyWaits() {
    const std::string waiting =
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    for (int i = 0; i < 400 && Scalar(dsn_, waiting) != "t"; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_EQ(Scalar(dsn_, waiting), "t");
  }

  const std::string dsn_ = test::PostgresServer::Shared().NewDatabase();
};

TEST_F(PostgresTargetTest, TheControlTablesAreNoTarget) {
  TargetJob job(dsn_);
  job.spec().mutable_target()->set_table("tidemark.ledger");
  ExpectRefused(job.Open()->Describe(EventSchema(), kBoth).status(), absl::StatusCode::kInvalidArgument,
                "the schema tidemark holds");
}

TEST_F(PostgresTargetTest, DescribeOfAnAbsentTableChangesNothing) {
  TargetJob job(dsn_);
  const auto description = job.Open()->Describe(EventSchema(), kBoth);
  ASSERT_TRUE(description.ok()) << description.status();
  EXPECT_FALSE(description->table_exists);
  EXPECT_THAT(description->formats, ElementsAre(kWire, kArrow));
  EXPECT_FALSE(description->ledger.exists());
  EXPECT_EQ(Scalar(dsn_, "SELECT count(*) FROM pg_namespace WHERE nspname = 'tidemark'"), "0");

  v1::TableSchema schema = EventSchema();
  *schema.add_columns() = MakeColumn("mood", v1::LogicalType::KIND_OTHER, "mood");
  EXPECT_THAT(job.Open()->Describe(schema, kBoth)->formats, ElementsAre(kWire, kArrow));
  schema.mutable_columns(3)->clear_wire_type();
  EXPECT_THAT(job.Open()->Describe(schema, kBoth)->formats, ElementsAre(kArrow));
}

TEST_F(PostgresTargetTest, WireOnlyIntoTheVerySameTypes) {
  CreateEvents(", amount numeric(10,2)");
  TargetJob job(dsn_);
  v1::TableSchema schema = EventSchema();
  const auto same = job.Open()->Describe(schema, kBoth);
  ASSERT_TRUE(same.ok()) << same.status();
  EXPECT_THAT(same->formats, ElementsAre(kWire, kArrow));
  EXPECT_EQ(same->schema.columns_size(), 4);
  EXPECT_THAT(same->schema.primary_key(), ElementsAre("id"));
  *schema.mutable_columns(0) = MakeColumn("id", v1::LogicalType::KIND_INT32, "integer");
  EXPECT_THAT(job.Open()->Describe(schema, kBoth)->formats, ElementsAre(kArrow));
  // Labels of an enum are text; a domain is the type below it, with its checks.
  Exec(dsn_,
       "DROP TABLE events; CREATE TYPE mood AS ENUM ('ok'); CREATE DOMAIN positive AS bigint CHECK (VALUE > 0); CREATE "
       "TABLE events (id positive, note mood, w timestamptz)");
  EXPECT_THAT(job.Open()->Describe(EventSchema(), kBoth)->formats, ElementsAre(kWire, kArrow));
  EXPECT_THAT(job.Open()->Describe(EventSchema(), {kArrow})->formats, ElementsAre(kArrow));
}

TEST_F(PostgresTargetTest, ColumnsThatCannotBeFedAreRefused) {
  Exec(dsn_,
       "CREATE TABLE events (id bigint, note varchar(5), w timestamp, needed int NOT NULL, twice bigint GENERATED "
       "ALWAYS AS (id * 2) STORED)");
  TargetJob job(dsn_);
  v1::TableSchema schema;
  *schema.add_columns() = MakeColumn("id", v1::LogicalType::KIND_INT64, "bigint");
  ExpectRefused(Describe(job, schema), absl::StatusCode::kInvalidArgument,
                "column needed of \"public\".\"events\" is NOT NULL without a default");
  *schema.add_columns() = MakeColumn("needed", v1::LogicalType::KIND_INT32, "integer");
  EXPECT_TRUE(Describe(job, schema).ok());
  *schema.add_columns() = MakeColumn("w", v1::LogicalType::KIND_TIMESTAMPTZ, "timestamp with time zone");
  ExpectRefused(Describe(job, schema), absl::StatusCode::kInvalidArgument,
                "column w: a value of the source's type timestamp with time zone might not arrive unchanged");
  *schema.mutable_columns(2) = MakeColumn("twice", v1::LogicalType::KIND_INT64, "bigint");
  ExpectRefused(Describe(job, schema), absl::StatusCode::kInvalidArgument, "generated");
  *schema.mutable_columns(2) = MakeColumn("other", v1::LogicalType::KIND_INT64, "bigint");
  ExpectRefused(Describe(job, schema), absl::StatusCode::kInvalidArgument, "ADD COLUMN \"other\"");
}

TEST_F(PostgresTargetTest, ConversionsThatCouldRoundOrReinterpretAreRefused) {
  struct Case {
    v1::LogicalType::Kind kind;
    int precision, scale;
    std::string target;
    bool fits;
  };
  using T = v1::LogicalType;
  const Case cases[] = {
      {T::KIND_INT64, 0, 0, "integer", true},
      {T::KIND_INT64, 0, 0, "double precision", false},
      {T::KIND_DECIMAL, 15, 2, "numeric(10,2)", true},
      {T::KIND_DECIMAL, 15, 2, "numeric(15,1)", false},
      {T::KIND_DECIMAL, 0, 0, "numeric(15,2)", false},
      {T::KIND_DECIMAL, 0, 0, "numeric", true},
      {T::KIND_FLOAT64, 0, 0, "real", false},
      {T::KIND_FLOAT32, 0, 0, "double precision", true},
      {T::KIND_STRING, 0, 0, "character(10)", false},
      {T::KIND_STRING, 0, 0, "bpchar", true},
      {T::KIND_STRING, 0, 0, "varchar(10)", true},
      {T::KIND_STRING, 0, 0, "uuid", false},
      {T::KIND_UUID, 0, 0, "uuid", true},
      {T::KIND_STRING, 0, 0, "bigint", false},
      {T::KIND_BYTES, 0, 0, "text", false},
      {T::KIND_DATE, 0, 0, "timestamp", true},
      {T::KIND_TIMESTAMP, 0, 6, "date", false},
      {T::KIND_TIMESTAMP, 0, 6, "timestamp(3)", false},
      {T::KIND_TIMESTAMP, 0, 3, "timestamp(3)", true},
      {T::KIND_TIMESTAMP, 0, 6, "timestamptz", false},
      {T::KIND_JSON, 0, 0, "jsonb", false},
      {T::KIND_STRING, 0, 0, "jsonb", false},
      {T::KIND_JSON, 0, 0, "json", true},
      {T::KIND_STRING, 0, 0, "json", true},
      {T::KIND_OTHER, 0, 0, "point", false},
      {T::KIND_STRING, 0, 0, "mood", true},
      {T::KIND_DECIMAL, 15, 2, "price", true},
  };
  Exec(dsn_, "CREATE TYPE mood AS ENUM ('good', 'bad')");
  Exec(dsn_, "CREATE DOMAIN price AS numeric(20,2)");
  TargetJob job(dsn_);
  for (const Case& c : cases) {
    Exec(dsn_, absl::StrCat("DROP TABLE IF EXISTS events; CREATE TABLE events (v ", c.target, ")"));
    v1::TableSchema schema;
    *schema.add_columns() = MakeColumn("v", c.kind, "source type");
    schema.mutable_columns(0)->mutable_type()->set_precision(c.precision);
    schema.mutable_columns(0)->mutable_type()->set_scale(c.scale);
    EXPECT_EQ(Describe(job, schema).ok(), c.fits) << v1::LogicalType::Kind_Name(c.kind) << " into " << c.target;
  }
}

TEST_F(PostgresTargetTest, OneNameIsOneTypeOnlyWhereItMeansTheSame) {
  struct Case {
    v1::LogicalType::Kind kind;
    int precision, scale;
    std::string native, target;
    bool fits;
  };
  using T = v1::LogicalType;
  const Case cases[] = {
      {T::KIND_JSON, 0, 0, "jsonb", "jsonb", true},
      {T::KIND_JSON, 0, 0, "json", "jsonb", false},
      {T::KIND_JSON, 0, 0, "jsonb", "document", true},
      {T::KIND_STRING, 0, 0, "character(4)", "character(4)", true},
      {T::KIND_STRING, 0, 0, "character(4)", "character(6)", false},
      // Domains of one name over numeric(12,4) there and numeric(12,2) here.
      {T::KIND_DECIMAL, 12, 4, "price", "price", false},
      {T::KIND_DECIMAL, 12, 2, "price", "price", true},
      {T::KIND_DECIMAL, 12, 2, "numeric(12,2)", "price", true},
      {T::KIND_OTHER, 0, 0, "prices", "prices", false},
      {T::KIND_OTHER, 0, 0, "numeric(12,2)[]", "prices", true},
      {T::KIND_OTHER, 0, 0, "address", "address", true},
      {T::KIND_OTHER, 0, 0, "point", "point", true},
      // The word is another system's.
      {T::KIND_FLOAT64, 0, 0, "real", "real", false},
      {T::KIND_FLOAT32, 0, 0, "real", "real", true},
  };
  Exec(dsn_,
       "CREATE DOMAIN price AS numeric(12,2); CREATE DOMAIN prices AS numeric(12,2)[]; CREATE DOMAIN address AS inet; "
       "CREATE DOMAIN document AS jsonb");
  TargetJob job(dsn_);
  for (const Case& c : cases) {
    Exec(dsn_, absl::StrCat("DROP TABLE IF EXISTS events; CREATE TABLE events (v ", c.target, ")"));
    v1::TableSchema schema;
    *schema.add_columns() = MakeColumn("v", c.kind, c.native);
    schema.mutable_columns(0)->mutable_type()->set_precision(c.precision);
    schema.mutable_columns(0)->mutable_type()->set_scale(c.scale);
    const absl::Status described = Describe(job, schema);
    EXPECT_EQ(described.ok(), c.fits) << c.native << " into " << c.target << ": " << described;
  }
  Exec(dsn_, "DROP TABLE events; CREATE TABLE events (v jsonb)");
  v1::TableSchema schema;
  *schema.add_columns() = MakeColumn("v", T::KIND_JSON, "json");
  ExpectRefused(Describe(job, schema), absl::StatusCode::kInvalidArgument,
                "jsonb drops duplicate keys and respells numbers");
}

TEST_F(PostgresTargetTest, UpsertNamesTheIndexItNeeds) {
  Exec(dsn_,
       "CREATE TABLE events (id bigint, note text, w timestamptz, UNIQUE (id, note)); CREATE UNIQUE INDEX ON events "
       "(id) WHERE note IS NULL");
  TargetJob job(dsn_, v1::LOAD_STRATEGY_UPSERT);
  ExpectRefused(Describe(job, EventSchema()), absl::StatusCode::kInvalidArgument,
                "CREATE UNIQUE INDEX ON \"public\".\"events\" (\"id\")");
  Exec(dsn_, "CREATE UNIQUE INDEX ON events (id)");
  EXPECT_TRUE(Describe(job, EventSchema()).ok());
}

TEST_F(PostgresTargetTest, MissingPrivilegesNameTheGrant) {
  CreateEvents();
  const std::string role =
      absl::StrCat("loader_", Scalar(dsn_, "SELECT oid FROM pg_database WHERE datname = current_database()"));
  Exec(dsn_, absl::StrCat("CREATE ROLE ", role, " LOGIN"));
  std::string dsn = dsn_;
  dsn.replace(dsn.find("postgres@"), 9, role + "@");
  TargetJob job(dsn, v1::LOAD_STRATEGY_UPSERT);
  ExpectRefused(Describe(job, EventSchema()), absl::StatusCode::kPermissionDenied, "GRANT CREATE ON DATABASE ");
  Exec(dsn_, absl::StrCat("CREATE SCHEMA tidemark AUTHORIZATION ", role));
  ExpectRefused(Describe(job, EventSchema()), absl::StatusCode::kPermissionDenied,
                absl::StrCat("GRANT SELECT, INSERT, UPDATE ON \"public\".\"events\" TO ", role));
  Exec(dsn_, absl::StrCat("GRANT SELECT, INSERT, UPDATE ON events TO ", role));
  EXPECT_TRUE(Describe(job, EventSchema()).ok());
  // And these are enough for a whole run.
  const auto result = job.Load(job.Run("r1", 1), WindowOf(v1::WINDOW_KIND_WINDOW, "", "10"), {{1, "a", 5}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(Events(), ElementsAre(ElementsAre("1", "a", "5")));
}

TEST_F(PostgresTargetTest, ManyPrepareAtOnceOnAnEmptyDatabase) {
  TargetJob job(dsn_);
  std::vector<std::thread> threads;
  std::vector<absl::Status> statuses(6);
  for (size_t i = 0; i < statuses.size(); ++i) {
    threads.emplace_back([&, i] {
      statuses[i] = job.Open()->Prepare(job.Run(absl::StrCat("run", i), 1), EventSchema(), TakeOver::kNothing);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : statuses) EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(Scalar(dsn_, "SELECT count(*) FROM pg_class WHERE relname LIKE 'stg%' AND relkind = 'r'"), "6");
}

TEST_F(PostgresTargetTest, EpochsOnlyRise) {
  TargetJob job(dsn_);
  ASSERT_TRUE(job.Open()->Prepare(job.Run("r1", 1, 5), EventSchema(), TakeOver::kNothing).ok());
  const absl::Status zombie = job.Open()->Prepare(job.Run("r1", 1, 4), EventSchema(), TakeOver::kNothing);
  EXPECT_EQ(zombie.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(FenceEpochOf(zombie), 5);
  EXPECT_EQ(FenceEpochOf(job.Open()->Abort(job.Run("r1", 1, 4))), 5);
  EXPECT_EQ(FenceEpochOf(job.Open()->BeginMove(job.Run("r1", 1, 4), 0, EventSchema(), kArrow).status()), 5);
  ASSERT_TRUE(job.Open()->Prepare(job.Run("r1", 1, 6), EventSchema(), TakeOver::kNothing).ok());
  EXPECT_EQ(Scalar(dsn_, "SELECT epoch FROM tidemark.fence WHERE target_table = 'public.events'"), "6");
}

// What destroys staging has looked at the fence before: nobody may pass it in between, or an old leader's statement
// that stood still there would destroy what the new leader's moves have staged meanwhile.
TEST_F(PostgresTargetTest, NobodyRaisesTheFenceUnderAPrepareOrAnAbort) {
  TargetJob job(dsn_);
  const RunIdentity run = job.Run("r1", 1);
  for (const bool aborts : {false, true}) {
    ASSERT_TRUE(job.Open()->Prepare(run, EventSchema(), TakeOver::kNothing).ok());
    // Whoever drops the staging table waits for this reader.
    const auto reader = Somebody();
    ASSERT_TRUE(reader->ExecuteCommand("BEGIN").ok());
    ASSERT_TRUE(reader->ExecuteCommand("LOCK TABLE tidemark.stg_r1 IN ACCESS SHARE MODE").ok());
    absl::Status status;
    std::thread dropper([&] {
      status = aborts ? job.Open()->Abort(run) : job.Open()->Prepare(run, EventSchema(), TakeOver::kNothing);
    });
    WaitUntilSomebodyWaits();
    EXPECT_EQ(Scalar(dsn_, "SELECT count(*) FROM (SELECT FROM tidemark.fence FOR UPDATE SKIP LOCKED) f"), "0")
        << "the fence could be raised under " << (aborts ? "an abort" : "a prepare");
    EXPECT_TRUE(reader->ExecuteCommand("ROLLBACK").ok());
    dropper.join();
    EXPECT_TRUE(status.ok()) << status;
  }
}

TEST_F(PostgresTargetTest, AbortLeavesAForeignFenceAlone) {
  TargetJob job(dsn_);
  ASSERT_TRUE(job.Open()->Prepare(job.Run("r1", 1, 5), EventSchema(), TakeOver::kNothing).ok());
  RunIdentity other = job.Run("r2", 1, 9);
  other.cluster_id = "cluster-b";
  ASSERT_TRUE(job.Open()->Prepare(other, EventSchema(), TakeOver::kReplace).ok());
  ASSERT_TRUE(job.Open()->Abort(job.Run("r1", 1, 5)).ok());
  EXPECT_EQ(Scalar(dsn_, "SELECT to_regclass('tidemark.stg_r1')"), "NULL");
  EXPECT_EQ(Scalar(dsn_, "SELECT cluster_id || ' ' || epoch FROM tidemark.fence"), "cluster-b 9");
}

TEST_F(PostgresTargetTest, AProbeUnderACommitIsOnePicture) {
  TargetJob job(dsn_);
  const RunIdentity run = job.Run("r1", 1);
  ASSERT_TRUE(
      job.Stage(run, EventSchema(), WindowOf(v1::WINDOW_KIND_WINDOW, "", "10"), {EventChunk({{1, "a", 5}})}).ok());
  // The backend of a worker that is gone, at the end of its commit; the probe has to pass by `moves`.
  const auto commit = Somebody();
  ASSERT_TRUE(commit->ExecuteCommand("BEGIN").ok());
  ASSERT_TRUE(commit->ExecuteCommand("LOCK TABLE tidemark.moves").ok());
  absl::StatusOr<v1::ProbeResult> probe;
  std::thread prober([&] { probe = job.Open()->Probe(run); });
  WaitUntilSomebodyWaits();
  EXPECT_TRUE(commit
                  ->ExecuteCommand("INSERT INTO tidemark.ledger (run_id, target_table, cluster_id, job_uid, sequence, "
                                   "kind, rows_read, rows_loaded, rows_filtered, rows_quarantined, "
                                   "filtered_by_reason, swap) VALUES ('r1', 'public.events', 'cluster-a', 'job-1', 1, "
                                   "'window', 1, 1, 0, 0, '{}', '')")
                  .ok());
  EXPECT_TRUE(commit->ExecuteCommand("DELETE FROM tidemark.moves").ok());
  EXPECT_TRUE(commit->ExecuteCommand("DROP TABLE tidemark.stg_r1").ok());
  EXPECT_TRUE(commit->ExecuteCommand("COMMIT").ok());
  prober.join();
  ASSERT_TRUE(probe.ok()) << probe.status();
  EXPECT_TRUE(probe->committed() || (probe->staging_exists() && probe->moves_size() == 1))
      << "a committed run looks lost: " << probe->ShortDebugString();
  EXPECT_TRUE(job.Open()->Probe(run)->committed());
}

TEST_F(PostgresTargetTest, AFenceRaisedUnderAMoveRefusesIt) {
  TargetJob job(dsn_);
  ASSERT_TRUE(job.Open()->Prepare(job.Run("r1", 1, 1), EventSchema(), TakeOver::kNothing).ok());
  const auto session = job.Open();
  auto writer = session->BeginMove(job.Run("r1", 1, 1), 0, EventSchema(), kArrow);
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE((*writer)->Write(EventChunk({{1, "a", 1}})).ok());
  Exec(dsn_, "UPDATE tidemark.fence SET epoch = 2");
  EXPECT_EQ(FenceEpochOf((*writer)->Commit().status()), 2);
  writer->reset();
  EXPECT_EQ(Scalar(dsn_, "SELECT count(*) FROM tidemark.stg_r1"), "0");
  EXPECT_THAT(*session->LoadedMoves(job.Run("r1", 1, 2)), testing::IsEmpty());
  // The next leader's move raises nothing that is above it, and passes.
  auto next = session->BeginMove(job.Run("r1", 1, 3), 0, EventSchema(), kArrow);
  ASSERT_TRUE(next.ok()) << next.status();
  ASSERT_TRUE((*next)->Commit().ok());
  EXPECT_EQ(Scalar(dsn_, "SELECT epoch FROM tidemark.fence"), "3");
}

TEST_F(PostgresTargetTest, AZombiesCommitIsRefused) {
  CreateEvents();
  TargetJob job(dsn_);
  const auto work = job.Stage(job.Run("r1", 1, 1), EventSchema(), WindowOf(v1::WINDOW_KIND_WINDOW, "", "10"),
                              {EventChunk({{1, "a", 5}})});
  ASSERT_TRUE(work.ok()) << work.status();
  Exec(dsn_, "UPDATE tidemark.fence SET epoch = 2");
  EXPECT_EQ(FenceEpochOf(job.Open()->Commit(job.Run("r1", 1, 1), *work).status()), 2);
  EXPECT_EQ(Scalar(dsn_, "SELECT count(*) FROM events"), "0");
  ASSERT_TRUE(job.Open()->Commit(job.Run("r1", 1, 2), *work).ok());
  EXPECT_EQ(Scalar(dsn_, "SELECT count(*) FROM events"), "1");
}

TEST_F(PostgresTargetTest, AnotherClusterIsRefusedUntilAFullRefreshTakesOver) {
  TargetJob job(dsn_);
  ASSERT_TRUE(job.Open()->Prepare(job.Run("r1", 1, 9), EventSchema(), TakeOver::kNothing).ok());
  RunIdentity other = job.Run("r2", 1, 1);
  other.cluster_id = "cluster-b";
  const absl::Status refused = job.Open()->Prepare(other, EventSchema(), TakeOver::kNothing);
  ExpectRefused(refused, absl::StatusCode::kFailedPrecondition, "jobs adopt events");
  EXPECT_THAT(std::string(refused.message()), HasSubstr("--full-refresh"));
  EXPECT_EQ(job.Open()->Describe(EventSchema(), kBoth)->ledger.cluster_id(), "cluster-a");
  ASSERT_TRUE(job.Open()->Prepare(other, EventSchema(), TakeOver::kReplace).ok());
  ExpectRefused(job.Open()->Prepare(job.Run("r3", 2, 10), EventSchema(), TakeOver::kNothing),
                absl::StatusCode::kFailedPrecondition, "cluster-b");
}

TEST_F(PostgresTargetTest, StagingOfDeadRunsGoesAtTheNextPrepare) {
  TargetJob job(dsn_);
  ASSERT_TRUE(job.Stage(job.Run("dead", 1), EventSchema(), WindowOf(v1::WINDOW_KIND_WINDOW, "", "1"),
                        {EventChunk({{1, "a", 1}})})
                  .ok());
  ASSERT_TRUE(job.Stage(job.Run("replayed", 2), EventSchema(), WindowOf(v1::WINDOW_KIND_WINDOW, "", "1"),
                        {EventChunk({{1, "a", 1}})})
                  .ok());
  EXPECT_EQ(Scalar(dsn_, "SELECT to_regclass('tidemark.stg_dead')"), "NULL");
  // Somebody is loading into it.
  const auto session = job.Open();
  auto writer = session->BeginMove(job.Run("replayed", 2), 1, EventSchema(), kArrow);
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE(job.Open()->Prepare(job.Run("r3", 3), EventSchema(), TakeOver::kNothing).ok());
  EXPECT_EQ(Scalar(dsn_, "SELECT to_regclass('tidemark.stg_replayed')"), "tidemark.stg_replayed");
  EXPECT_EQ(Scalar(dsn_, "SELECT string_agg(run_id, ' ') FROM tidemark.moves"), "replayed");
}

TEST_F(PostgresTargetTest, WireAndArrowLoadTheSame) {
  TargetJob job(dsn_);
  const auto session = job.Open();
  const RunIdentity run = job.Run("r1", 1);
  ASSERT_TRUE(session->Prepare(run, EventSchema(), TakeOver::kNothing).ok());
  const std::string rows =
      "SELECT g::bigint, CASE WHEN g % 3 > 0 THEN E'tab\\t' || g END, to_timestamp(g) FROM generate_series(1, 1000) g";
  auto wire = session->BeginMove(run, 0, EventSchema(), kWire);
  ASSERT_TRUE(wire.ok()) << wire.status();
  ASSERT_TRUE((*wire)->Write(WireChunk(dsn_, rows)).ok());
  EXPECT_EQ((*wire)->Commit()->rows, 1000);
  wire->reset();
  std::vector<Event> events;
  for (int64_t i = 1; i <= 1000; ++i) {
    Event event{i, std::nullopt, i};
    if (i % 3 > 0) event.note = absl::StrCat("tab\t", i);
    events.push_back(event);
  }
  auto arrow = session->BeginMove(run, 1, EventSchema(), kArrow);
  ASSERT_TRUE(arrow.ok()) << arrow.status();
  ASSERT_TRUE((*arrow)->Write(EventChunk(events)).ok());
  EXPECT_EQ((*arrow)->Commit()->rows, 1000);
  EXPECT_EQ(
      Scalar(dsn_, "SELECT count(*) FROM (SELECT 1 FROM tidemark.stg_r1 GROUP BY id, note, w HAVING count(*) = 2) d"),
      "1000");
}

TEST_F(PostgresTargetTest, AMoveDoesNotKeepTheMemoryOfALargeValue) {
  TargetJob job(dsn_);
  const auto session = job.Open();
  ASSERT_TRUE(session->Prepare(job.Run("r1", 1), EventSchema(), TakeOver::kNothing).ok());
  auto writer = session->BeginMove(job.Run("r1", 1), 0, EventSchema(), kArrow);
  ASSERT_TRUE(writer.ok()) << writer.status();
  const Chunk chunk = EventChunk({{1, std::string(32 << 20, 'x'), 1}});
  // Bytes the allocator has given out, mapped ones apart from the others.
  const auto in_use = [] {
    const struct mallinfo2 info = mallinfo2();
    return static_cast<int64_t>(info.uordblks + info.hblkhd);
  };
  const int64_t before = in_use();
  ASSERT_TRUE((*writer)->Write(chunk).ok());
  EXPECT_LT(in_use() - before, 8 << 20);
  EXPECT_EQ((*writer)->Commit()->rows, 1);
}

TEST_F(PostgresTargetTest, AMoveHappensOnce) {
  TargetJob job(dsn_);
  const RunIdentity run = job.Run("r1", 1);
  ASSERT_TRUE(job.Open()->Prepare(run, EventSchema(), TakeOver::kNothing).ok());
  const auto one = job.Open();
  const auto two = job.Open();
  auto first = one->BeginMove(run, 7, EventSchema(), kArrow);
  auto second = two->BeginMove(run, 7, EventSchema(), kArrow);
  ASSERT_TRUE((*first)->Write(EventChunk({{1, "a", 1}, {2, "b", 2}})).ok());
  ASSERT_TRUE((*second)->Write(EventChunk({{1, "a", 1}, {2, "b", 2}})).ok());
  EXPECT_FALSE((*first)->Commit()->already_done);
  const auto repeated = (*second)->Commit();
  ASSERT_TRUE(repeated.ok()) << repeated.status();
  EXPECT_TRUE(repeated->already_done);
  EXPECT_EQ(repeated->rows, 2);
  second->reset();
  auto late = two->BeginMove(run, 7, EventSchema(), kArrow);
  ASSERT_TRUE(late.ok()) << late.status();
  ASSERT_TRUE((*late)->Write(EventChunk({{1, "a", 1}})).ok());
  EXPECT_EQ((*late)->Commit()->rows, 2);
  EXPECT_EQ(Scalar(dsn_, "SELECT count(*) FROM tidemark.stg_r1"), "2");
  ASSERT_EQ(one->LoadedMoves(run)->size(), 1u);
  EXPECT_EQ(one->LoadedMoves(run)->front().partition(), 7);
}

TEST_F(PostgresTargetTest, AnAbandonedMoveLeavesNothing) {
  TargetJob job(dsn_);
  const auto session = job.Open();
  ASSERT_TRUE(session->Prepare(job.Run("r1", 1), EventSchema(), TakeOver::kNothing).ok());
  auto writer = session->BeginMove(job.Run("r1", 1), 0, EventSchema(), kArrow);
  ASSERT_TRUE((*writer)->Write(EventChunk({{1, "a", 1}})).ok());
  writer->reset();
  EXPECT_EQ(Scalar(dsn_, "SELECT count(*) FROM tidemark.stg_r1"), "0");
  EXPECT_THAT(*session->LoadedMoves(job.Run("r1", 1)), testing::IsEmpty());
  // The session goes on being of use; data the server refuses is an error of the move alone.
  Exec(dsn_, "ALTER TABLE tidemark.stg_r1 ADD CHECK (id > 0)");
  auto refused = session->BeginMove(job.Run("r1", 1), 0, EventSchema(), kArrow);
  ASSERT_TRUE((*refused)->Write(EventChunk({{-1, "a", 1}})).ok());
  EXPECT_EQ((*refused)->Commit().status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(PostgresTargetTest, PrepareAgainStartsFromNothing) {
  TargetJob job(dsn_);
  const RunIdentity run = job.Run("r1", 1);
  const auto work = job.Stage(run, EventSchema(), WindowOf(v1::WINDOW_KIND_WINDOW, "", "10"),
                              {EventChunk({{1, "of an older snapshot", 1}})});
  ASSERT_TRUE(work.ok()) << work.status();
  ASSERT_TRUE(job.Open()->Prepare(run, EventSchema(), TakeOver::kNothing).ok());
  EXPECT_THAT(*job.Open()->LoadedMoves(run), testing::IsEmpty());
  ExpectRefused(job.Open()->Commit(run, *work).status(), absl::StatusCode::kFailedPrecondition, "should have 1 moves");
}

TEST_F(PostgresTargetTest, AbortDropsWhatTheRunStaged) {
  TargetJob job(dsn_);
  EXPECT_TRUE(job.Open()->Abort(job.Run("r1", 1)).ok());  // Nothing is there, not even control tables.
  EXPECT_FALSE(job.Open()->Probe(job.Run("r1", 1))->committed());
  ASSERT_TRUE(job.Stage(job.Run("r1", 1), EventSchema(), WindowOf(v1::WINDOW_KIND_WINDOW, "", "10"),
                        {EventChunk({{1, "a", 1}})})
                  .ok());
  const auto before = job.Open()->Probe(job.Run("r1", 1));
  EXPECT_TRUE(before->staging_exists());
  EXPECT_EQ(before->moves_size(), 1);
  ASSERT_TRUE(job.Open()->Abort(job.Run("r1", 1)).ok());
  ASSERT_TRUE(job.Open()->Abort(job.Run("r1", 1)).ok());
  EXPECT_FALSE(job.Open()->Probe(job.Run("r1", 1))->staging_exists());
  EXPECT_EQ(Scalar(dsn_, "SELECT count(*) FROM tidemark.moves"), "0");
}

TEST_F(PostgresTargetTest, AVersionOfEveryTypeSurvivesIntoANewTable) {
  Exec(
      dsn_,
      R"(CREATE TABLE source (id bigint PRIMARY KEY, n numeric(10,3), un numeric, d date, t time(3), ts timestamp, tz timestamptz, i interval,
    j json, jb jsonb, u uuid, b bytea, v varchar(7), c char(4), a int[], r int4range, bi bit varying(9), x real, y double precision, ip inet))");
  Exec(dsn_, R"(INSERT INTO source VALUES
    (1, 1.500, 'NaN', '4713-01-01 BC', '24:00', 'infinity', '294276-01-01 00:00+00', '1 mon -2 days 03:00', '{"a":1,"a":2}', '{"b":[1]}',
     '01234567-89ab-cdef-0123-456789abcdef', '\x00ff', 'é', 'ab', '[2:3]={1,NULL}', '[1,5)', B'101', 'NaN', '-0', '10.0.0.1/8'),
    (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL))");
  v1::TableSchema schema;
  for (const auto& row : Query(dsn_,
                               "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute "
                               "WHERE attrelid = 'source'::regclass AND attnum > 0 ORDER BY attnum")) {
    v1::Column* column = schema.add_columns();
    column->set_name(row[0]);
    column->set_native_type(row[1]);
    column->set_wire_type(row[1]);
    column->set_nullable(row[2] == "f");
  }
  using T = v1::LogicalType;
  const T::Kind kinds[] = {T::KIND_INT64,     T::KIND_DECIMAL,     T::KIND_DECIMAL,  T::KIND_DATE,    T::KIND_TIME,
                           T::KIND_TIMESTAMP, T::KIND_TIMESTAMPTZ, T::KIND_INTERVAL, T::KIND_JSON,    T::KIND_JSON,
                           T::KIND_UUID,      T::KIND_BYTES,       T::KIND_STRING,   T::KIND_STRING,  T::KIND_OTHER,
                           T::KIND_OTHER,     T::KIND_OTHER,       T::KIND_FLOAT32,  T::KIND_FLOAT64, T::KIND_OTHER};
  for (int i = 0; i < schema.columns_size(); ++i) schema.mutable_columns(i)->mutable_type()->set_kind(kinds[i]);
  schema.add_primary_key("id");

  TargetJob job(dsn_, v1::LOAD_STRATEGY_FULL);
  ASSERT_THAT(job.Open()->Describe(schema, kBoth)->formats, ElementsAre(kWire, kArrow));
  const auto result = job.Load(job.Run("r1", 1), schema, WindowOf(v1::WINDOW_KIND_FULL, "", ""),
                               {WireChunk(dsn_, "SELECT * FROM source")});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->swap(), "create");
  EXPECT_EQ(Scalar(dsn_, "SELECT bool_and(s::text = e::text) FROM source s JOIN events e USING (id)"), "t");
  const std::string types =
      "SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod) || attnotnull, ',' ORDER BY attnum) FROM "
      "pg_attribute WHERE attnum > 0 AND attrelid = ";
  EXPECT_EQ(Scalar(dsn_, types + "'events'::regclass"), Scalar(dsn_, types + "'source'::regclass"));
  EXPECT_EQ(Scalar(dsn_, "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'events_pkey'"),
            "PRIMARY KEY (id)");
}

}  // namespace
}  // namespace tidemark::postgres
