#include "worker/connectors/postgres/postgres_swap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/support/postgres_server.h"
#include "worker/connectors/postgres/postgres_swap_catalog.h"
#include "worker/connectors/postgres/postgres_target_testing.h"

namespace tidemark::postgres {
namespace {

using test::Exec;
using test::Query;
using test::Scalar;
using testing::ElementsAre;
using testing::HasSubstr;

class PostgresSwapTest : public testing::Test {
 protected:
  PostgresSwapTest() : job_(dsn_, v1::LOAD_STRATEGY_FULL) {}

  absl::StatusOr<v1::CommitResult> FullLoad(const std::vector<Event>& events) {
    ++sequence_;
    return job_.Load(job_.Run(absl::StrCat("r", sequence_), sequence_), WindowOf(v1::WINDOW_KIND_FULL, "", ""), events);
  }
  // The method, or the error.
  std::string SwapOf(const std::vector<Event>& events) {
    const auto result = FullLoad(events);
    return result.ok() ? result->swap() : std::string(result.status().message());
  }
  std::vector<std::string> Picture(const std::string& table = "events") {
    const auto connection = Connection::Open(dsn_, SessionOptions(), ConnectionSettings());
    uint32_t oid = 0;
    EXPECT_TRUE(absl::SimpleAtoi(Oid(table), &oid));
    const auto picture = CatalogPicture(**connection, oid);
    EXPECT_TRUE(picture.ok()) << picture.status();
    return *picture;
  }
  std::string Oid(const std::string& table = "events") {
    return Scalar(dsn_, absl::StrCat("SELECT '", table, "'::regclass::oid"));
  }
  std::string Notes() { return Scalar(dsn_, "SELECT string_agg(note, ' ' ORDER BY id) FROM events"); }
  // A role of this test alone: roles are of the whole server.
  std::string Role(const std::string& name) {
    const std::string role =
        absl::StrCat(name, "_", Scalar(dsn_, "SELECT oid FROM pg_database WHERE datname = current_database()"));
    Exec(dsn_, absl::StrCat("CREATE ROLE ", role));
    return role;
  }

  const std::string dsn_ = test::PostgresServer::Shared().NewDatabase();
  TargetJob job_;
  int sequence_ = 0;
};

constexpr char kPlain[] =
    "CREATE TABLE events (id bigint PRIMARY KEY, note text, w timestamptz); INSERT INTO events VALUES (1, 'old', "
    "now())";

TEST_F(PostgresSwapTest, RenameCarriesEverythingThatBelongsToTheTable) {
  const std::string owner = Role("owner");
  const std::string reader = Role("reader");
  Exec(dsn_, absl::StrCat("GRANT CREATE ON SCHEMA public TO ", owner));
  Exec(dsn_, R"sql(
    CREATE TABLE other (id bigint PRIMARY KEY);
    INSERT INTO other SELECT generate_series(1, 10);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
    CREATE TABLE "Even ""ts"" ON x" (
      id bigint CONSTRAINT "Odd Key" PRIMARY KEY,
      gone int,
      note text COLLATE "C" DEFAULT 'none' CONSTRAINT short CHECK (length(note) < 100),
      w timestamptz NOT NULL DEFAULT now(),
      counted serial,
      upper_note text GENERATED ALWAYS AS (upper(note)) STORED,
      CONSTRAINT once UNIQUE (note, w) DEFERRABLE INITIALLY DEFERRED,
      CONSTRAINT known FOREIGN KEY (id) REFERENCES other
    ) WITH (fillfactor = 70, autovacuum_enabled = false, toast.autovacuum_enabled = false);
    ALTER TABLE "Even ""ts"" ON x" RENAME TO events;
    ALTER TABLE events DROP COLUMN gone;
    ALTER TABLE events ALTER note SET STORAGE external, ALTER note SET STATISTICS 77, ALTER w SET (n_distinct = -0.5);
    CREATE INDEX "by ON x USING (w)" ON events USING btree (w DESC NULLS LAST, lower(note)) INCLUDE (id) WHERE note <> ' ON public.events USING ';
    ALTER INDEX "by ON x USING (w)" ALTER COLUMN 2 SET STATISTICS 55;
    CREATE INDEX hashed ON events USING hash (note) WITH (fillfactor = 60);
    ALTER TABLE events CLUSTER ON "Odd Key";
    ALTER TABLE events REPLICA IDENTITY FULL;
    CREATE STATISTICS related (dependencies) ON id, w FROM events;
    COMMENT ON TABLE events IS 'all of ''them''';
    COMMENT ON COLUMN events.note IS 'a word';
    COMMENT ON INDEX hashed IS 'quick';
    COMMENT ON CONSTRAINT short ON events IS 'not long';
    COMMENT ON STATISTICS related IS 'they are';
    CREATE TRIGGER noted BEFORE UPDATE OF note ON events FOR EACH ROW WHEN (OLD.note IS DISTINCT FROM NEW.note) EXECUTE FUNCTION note();
    CREATE TRIGGER silent AFTER INSERT ON events EXECUTE FUNCTION note();
    ALTER TABLE events DISABLE TRIGGER silent;
    COMMENT ON TRIGGER noted ON events IS 'ding';
    INSERT INTO events (id, note) VALUES (1, 'old'), (2, 'older'))sql");
  Exec(dsn_,
       absl::StrCat("ALTER TABLE events OWNER TO ", owner, "; GRANT SELECT, UPDATE ON events TO ", reader,
                    " WITH GRANT OPTION; GRANT SELECT ON events TO PUBLIC; "
                    "REVOKE TRIGGER ON events FROM ",
                    owner, "; GRANT UPDATE (note), REFERENCES (id) ON events TO ", reader, "; GRANT USAGE ON SEQUENCE ",
                    Scalar(dsn_, "SELECT pg_get_serial_sequence('events', 'counted')"), " TO ", reader));
  // Grants that default privileges add to the new table are not the old one's.
  Exec(dsn_, absl::StrCat("ALTER DEFAULT PRIVILEGES GRANT INSERT ON TABLES TO ", reader));
  const std::vector<std::string> before = Picture();
  const std::string oid = Oid();

  const auto description = job_.Open()->Describe(EventSchema(), {v1::CHUNK_FORMAT_ARROW});
  ASSERT_TRUE(description.ok()) << description.status();
  EXPECT_THAT(description->notes, testing::IsEmpty());
  ASSERT_EQ(SwapOf({{3, "new", 5}, {4, "newer", 6}}), "rename");

  EXPECT_NE(Oid(), oid);
  std::vector<std::string> after = Picture();
  // The two new rows have drawn their numbers from the sequence, which is the same one.
  const auto sequence_line = [](const std::string& line) { return line.rfind("sequence ", 0) == 0; };
  EXPECT_EQ(std::erase_if(after, sequence_line), 1u);
  std::vector<std::string> expected = before;
  std::erase_if(expected, sequence_line);
  EXPECT_EQ(after, expected);
  EXPECT_EQ(Query(dsn_, "SELECT id, note, counted, upper_note FROM events ORDER BY id"),
            (std::vector<std::vector<std::string>>{{"3", "new", "3", "NEW"}, {"4", "newer", "4", "NEWER"}}));
  // And again, onto the table the first swap has made.
  EXPECT_EQ(SwapOf({{5, "newest", 7}}), "rename");
  EXPECT_EQ(Notes(), "newest");
}

TEST_F(PostgresSwapTest, IdentityGoesOnCounting) {
  Exec(dsn_,
       "CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY (INCREMENT BY 5 CACHE 3) PRIMARY KEY, note text, w "
       "timestamptz)");
  Exec(dsn_, "INSERT INTO events (note) VALUES ('a')");
  const std::vector<std::string> before = Picture();
  ASSERT_EQ(SwapOf({{100, "b", 1}}), "rename");
  EXPECT_EQ(Picture(), before);
  Exec(dsn_, "INSERT INTO events (note) VALUES ('c')");
  EXPECT_EQ(Scalar(dsn_, "SELECT id FROM events WHERE note = 'c'"),
            "16");  // 1, 6 and 11 were the first session's cache.
}

TEST_F(PostgresSwapTest, AnIdentityThatIsNotFedStaysInPlace) {
  Exec(dsn_,
       "CREATE TABLE events (n int GENERATED ALWAYS AS IDENTITY, id bigint, note text, w timestamptz); INSERT INTO "
       "events (id) VALUES (1)");
  EXPECT_EQ(SwapOf({{7, "a", 1}, {8, "b", 2}}), "truncate_insert");
  EXPECT_EQ(Query(dsn_, "SELECT n, id FROM events ORDER BY n"),
            (std::vector<std::vector<std::string>>{{"2", "7"}, {"3", "8"}}));
}

struct Dependent {
  std::string name;
  std::string sql;
  std::string phrase;
};
class PostgresSwapDependentTest : public PostgresSwapTest, public testing::WithParamInterface<Dependent> {};

TEST_P(PostgresSwapDependentTest, IsKeptByRewritingInPlace) {
  Exec(dsn_, kPlain);
  Exec(dsn_, GetParam().sql);
  const std::vector<std::string> before = Picture();
  const std::string oid = Oid();
  const auto description = job_.Open()->Describe(EventSchema(), {v1::CHUNK_FORMAT_ARROW});
  ASSERT_TRUE(description.ok()) << description.status();
  ASSERT_EQ(description->notes.size(), 1u);
  EXPECT_THAT(description->notes[0], HasSubstr(GetParam().phrase));
  EXPECT_EQ(SwapOf({{2, "new", 5}}), "truncate_insert");
  EXPECT_EQ(Oid(), oid);
  EXPECT_EQ(Picture(), before);
  EXPECT_EQ(Notes(), "new");

  job_.spec().mutable_target()->set_swap(v1::SWAP_MODE_RENAME);
  EXPECT_THAT(std::string(job_.Open()->Describe(EventSchema(), {v1::CHUNK_FORMAT_ARROW}).status().message()),
              HasSubstr("swap: rename cannot replace"));
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, PostgresSwapDependentTest,
    testing::Values(
        Dependent{"View", "CREATE VIEW v AS SELECT note FROM events", "view v reads it"},
        Dependent{"MaterializedView", "CREATE MATERIALIZED VIEW v AS SELECT note FROM events",
                  "materialized view v reads it"},
        Dependent{"RowSecurity", "ALTER TABLE events ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON events USING (true)",
                  "row-level security"},
        Dependent{"Publication", "CREATE PUBLICATION p FOR TABLE events", "publication p has it"},
        Dependent{"AllTables", "CREATE PUBLICATION p FOR ALL TABLES", "publication p has all tables"},
        Dependent{"Schema", "CREATE PUBLICATION p FOR TABLES IN SCHEMA public", "publication p has its schema"},
        Dependent{"Rule", "CREATE RULE r AS ON UPDATE TO events DO ALSO NOTIFY changed", "rule r is on it"},
        Dependent{"SelfReference", "ALTER TABLE events ADD parent bigint REFERENCES events", "points to it"},
        Dependent{"RowType", "CREATE FUNCTION f(events) RETURNS int LANGUAGE sql AS 'SELECT 1'", "depends on it"},
        Dependent{"Unlogged", "ALTER TABLE events SET UNLOGGED", "it is unlogged"},
        Dependent{"Inherits",
                  "CREATE TABLE parent (id bigint); ALTER TABLE events ALTER id SET NOT NULL; ALTER TABLE events "
                  "INHERIT parent",
                  "it inherits"}),
    [](const auto& info) { return info.param.name; });

TEST_F(PostgresSwapTest, AViewGoesOnReadingTheTable) {
  Exec(dsn_, kPlain);
  Exec(dsn_, "CREATE VIEW notes AS SELECT note FROM events");
  ASSERT_EQ(SwapOf({{2, "new", 5}}), "truncate_insert");
  EXPECT_EQ(Scalar(dsn_, "SELECT string_agg(note, ' ') FROM notes"), "new");
}

TEST_F(PostgresSwapTest, ReferencedRowsAreNotReplaced) {
  Exec(dsn_, kPlain);
  Exec(dsn_,
       "CREATE TABLE child (event bigint CONSTRAINT of_event REFERENCES events ON DELETE CASCADE); INSERT INTO child "
       "VALUES (1)");
  for (const v1::SwapMode mode : {v1::SWAP_MODE_AUTO, v1::SWAP_MODE_TRUNCATE_INSERT, v1::SWAP_MODE_DELETE_INSERT}) {
    job_.spec().mutable_target()->set_swap(mode);
    const absl::Status refused = job_.Open()->Describe(EventSchema(), {v1::CHUNK_FORMAT_ARROW}).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(refused.message()), HasSubstr("foreign key of_event of child"));
  }
  job_.spec().mutable_target()->set_swap(v1::SWAP_MODE_AUTO);
  EXPECT_FALSE(FullLoad({{2, "new", 5}}).ok());
  EXPECT_EQ(Notes(), "old");
  EXPECT_EQ(Scalar(dsn_, "SELECT count(*) FROM child"), "1");
}

TEST_F(PostgresSwapTest, ADependentThatComesDuringTheLoadIsSeen) {
  Exec(dsn_, kPlain);
  const auto work = job_.Stage(job_.Run("r1", 1), EventSchema(), WindowOf(v1::WINDOW_KIND_FULL, "", ""),
                               {EventChunk({{2, "new", 5}})});
  ASSERT_TRUE(work.ok()) << work.status();
  Exec(dsn_, "CREATE VIEW v AS SELECT note FROM events; CREATE INDEX late ON events (w)");
  const auto result = job_.Open()->Commit(job_.Run("r1", 1), *work);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->swap(), "truncate_insert");
  EXPECT_EQ(Scalar(dsn_, "SELECT note FROM v"), "new");
}

TEST_F(PostgresSwapTest, WhatARenameWouldChangeGoesTheOtherWay) {
  // tidemark.fence_pkey exists already: the index cannot be built under its name beside the control tables.
  Exec(dsn_, "CREATE TABLE events (id bigint CONSTRAINT fence_pkey PRIMARY KEY, note text, w timestamptz)");
  const std::vector<std::string> before = Picture();
  EXPECT_EQ(SwapOf({{2, "new", 5}}), "truncate_insert");
  EXPECT_EQ(Picture(), before);
  job_.spec().mutable_target()->set_swap(v1::SWAP_MODE_RENAME);
  EXPECT_THAT(SwapOf({{3, "newer", 5}}), HasSubstr("cannot replace \"public\".\"events\""));
  EXPECT_EQ(Notes(), "new");
}

TEST_F(PostgresSwapTest, RowsThatATriggerKeepsFailTheLoad) {
  Exec(dsn_, kPlain);
  Exec(dsn_,
       "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; CREATE TRIGGER keep "
       "BEFORE DELETE ON events FOR EACH ROW EXECUTE FUNCTION keep()");
  job_.spec().mutable_target()->set_swap(v1::SWAP_MODE_DELETE_INSERT);
  EXPECT_THAT(SwapOf({{2, "new", 5}}), HasSubstr("holds 2 rows where 1 were loaded"));
  EXPECT_EQ(Notes(), "old");
}

TEST_F(PostgresSwapTest, ATableWhoseRowsAreHiddenIsNoTarget) {
  Exec(dsn_, kPlain);
  Exec(dsn_, "ALTER TABLE events ENABLE ROW LEVEL SECURITY; CREATE POLICY new ON events USING (id > 1)");
  const std::string loader = Role("loader");
  Exec(dsn_, absl::StrCat("ALTER ROLE ", loader, " LOGIN; GRANT ALL ON events TO ", loader,
                          "; GRANT CREATE ON DATABASE ", Scalar(dsn_, "SELECT current_database()"), " TO ", loader));
  for (const v1::LoadStrategy strategy : {v1::LOAD_STRATEGY_FULL, v1::LOAD_STRATEGY_UPSERT}) {
    TargetJob job(absl::StrCat(dsn_, "?user=", loader), strategy);
    const absl::Status refused = job.Open()->Describe(EventSchema(), {v1::CHUNK_FORMAT_ARROW}).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kPermissionDenied);
    EXPECT_THAT(std::string(refused.message()), HasSubstr("row security is active on target"));
  }
}

TEST_F(PostgresSwapTest, DeleteInsertKeepsOldReadersReading) {
  Exec(dsn_, kPlain);
  job_.spec().mutable_target()->set_swap(v1::SWAP_MODE_DELETE_INSERT);
  const auto reader = Connection::Open(dsn_, SessionOptions(), ConnectionSettings());
  ASSERT_TRUE((*reader)->ExecuteCommand("BEGIN ISOLATION LEVEL REPEATABLE READ").ok());
  ASSERT_EQ((*(*reader)->ExecuteRow("SELECT note FROM events"))[0], "old");
  EXPECT_EQ(SwapOf({{1, "new", 5}}), "delete_insert");
  EXPECT_EQ((*(*reader)->ExecuteRow("SELECT note FROM events"))[0], "old");
  EXPECT_EQ(Notes(), "new");
}

TEST_F(PostgresSwapTest, AShellIsMadeAndItsPartitionReplaced) {
  job_.spec().mutable_target()->set_swap(v1::SWAP_MODE_SHELL);
  job_.spec().mutable_target()->add_key("id");
  ASSERT_EQ(SwapOf({{1, "first", 5}}), "create");
  EXPECT_EQ(Scalar(dsn_, "SELECT relkind FROM pg_class WHERE oid = 'events'::regclass"), "p");
  Exec(dsn_, "CREATE VIEW v AS SELECT note FROM events; CREATE INDEX by_note ON events (note)");
  const std::vector<std::string> before = Picture();
  const std::vector<std::string> partition_before = Picture("events_default");
  const std::string oid = Oid("events_default");
  ASSERT_EQ(SwapOf({{2, "second", 6}}), "shell");
  EXPECT_EQ(Picture(), before);
  EXPECT_EQ(Picture("events_default"), partition_before);
  EXPECT_NE(Oid("events_default"), oid);
  EXPECT_EQ(Scalar(dsn_, "SELECT string_agg(note, ' ') FROM v"), "second");
  // Where there is a shell, `auto` uses it.
  job_.spec().mutable_target()->set_swap(v1::SWAP_MODE_AUTO);
  EXPECT_EQ(SwapOf({{3, "third", 6}}), "shell");
  EXPECT_EQ(Notes(), "third");
}

TEST_F(PostgresSwapTest, APlainTableIsNoShell) {
  Exec(dsn_, kPlain);
  job_.spec().mutable_target()->set_swap(v1::SWAP_MODE_SHELL);
  EXPECT_THAT(std::string(job_.Open()->Describe(EventSchema(), {v1::CHUNK_FORMAT_ARROW}).status().message()),
              HasSubstr("DEFAULT partition"));
}

TEST_F(PostgresSwapTest, RowsThatBreakTheTablesRulesLeaveItAsItWas) {
  Exec(dsn_, kPlain);
  EXPECT_THAT(SwapOf({{2, "new", 5}, {2, "twice", 6}}), HasSubstr("could not create unique index"));
  EXPECT_EQ(Notes(), "old");
  Exec(dsn_, "DROP TABLE events");
  job_.spec().mutable_target()->add_key("id");
  EXPECT_THAT(SwapOf({{2, "new", 5}, {2, "twice", 6}}), HasSubstr("could not create unique index"));
  EXPECT_EQ(Scalar(dsn_, "SELECT to_regclass('events')"), "NULL");
}

TEST_F(PostgresSwapTest, ANewSchemaIsMade) {
  job_.spec().mutable_target()->set_table("\"Lake View\".\"Ev.ents\"");
  EXPECT_EQ(SwapOf({{1, "a", 5}}), "create");
  EXPECT_EQ(Scalar(dsn_, "SELECT note FROM \"Lake View\".\"Ev.ents\""), "a");
  EXPECT_EQ(Scalar(dsn_, "SELECT target_table FROM tidemark.ledger"), "\"Lake View\".\"Ev.ents\"");
}

TEST_F(PostgresSwapTest, AFullRefreshOfAnUpsertKeepsOneRowPerKey) {
  Exec(dsn_, kPlain);
  TargetJob upsert(dsn_, v1::LOAD_STRATEGY_UPSERT);
  const auto result = upsert.Load(upsert.Run("r1", 1), WindowOf(v1::WINDOW_KIND_FULL, "", "20"),
                                  {{5, "v1", 5}, {5, "v2", 6}, {6, "x", 7}}, TakeOver::kReplace);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->swap(), "rename");
  EXPECT_EQ(Balance(result->counts()), "read 3 = loaded 2 + filtered 1 (superseded 1) + quarantined 0");
  EXPECT_EQ(Notes(), "v2 x");
  ASSERT_TRUE(upsert.Load(upsert.Run("r2", 2), WindowOf(v1::WINDOW_KIND_WINDOW, "20", "30"), {{6, "y", 25}}).ok());
  EXPECT_EQ(Notes(), "v2 y");
}

TEST_F(PostgresSwapTest, AReaderThatHoldsTheTableIsWaitedFor) {
  Exec(dsn_, kPlain);
  const auto reader = Connection::Open(dsn_, SessionOptions(), ConnectionSettings());
  ASSERT_TRUE((*reader)->ExecuteCommand("BEGIN").ok());
  ASSERT_TRUE((*reader)->Execute("SELECT * FROM events").ok());
  std::thread release([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    EXPECT_TRUE((*reader)->ExecuteCommand("COMMIT").ok());
  });
  EXPECT_EQ(SwapOf({{2, "new", 5}}), "rename");
  release.join();
  EXPECT_EQ(Notes(), "new");
}

}  // namespace
}  // namespace tidemark::postgres
