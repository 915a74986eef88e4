#include "worker/connectors/postgres/postgres_target_commit.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/support/postgres_server.h"
#include "worker/connectors/postgres/postgres_target_testing.h"

namespace tidemark::postgres {
namespace {

using test::Exec;
using test::Query;
using test::Scalar;
using testing::ElementsAre;
using testing::HasSubstr;

using Rows = std::vector<std::vector<std::string>>;

// Stands before a server and lets everything through, until it is armed: the next COMMIT reaches the server, its answer
// reaches nobody.
class AnswerThief {
 public:
  explicit AnswerThief(int server_port) : server_port_(server_port) {
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = Loopback(0);
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listener_, 4), 0);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Serve(); });
  }
  ~AnswerThief() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  int port() const { return port_; }
  void Arm() { armed_ = true; }

 private:
  static sockaddr_in Loopback(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    return address;
  }
  // One connection after the other.
  void Serve() {
    while (true) {
      const int client = accept(listener_, nullptr, nullptr);
      if (client < 0) return;
      const int server = socket(AF_INET, SOCK_STREAM, 0);
      const sockaddr_in address = Loopback(server_port_);
      if (connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) Pump(client, server);
      close(client);
      close(server);
    }
  }
  void Pump(int client, int server) {
    char data[16384];
    bool steal = false;
    while (true) {
      pollfd ends[] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
      if (poll(ends, 2, -1) < 0) return;
      if (ends[0].revents != 0) {
        const ssize_t size = recv(client, data, sizeof(data), 0);
        if (size <= 0) return;
        // With the zero byte that ends it: BEGIN names READ COMMITTED.
        steal = armed_ && std::string_view(data, size).find(std::string_view("COMMIT\0", 7)) != std::string_view::npos;
        if (send(server, data, size, MSG_NOSIGNAL) != size) return;
      }
      if (ends[1].revents != 0) {
        const ssize_t size = recv(server, data, sizeof(data), 0);
        if (size <= 0) return;
        if (steal) {
          armed_ = false;
          return;
        }
        if (send(client, data, size, MSG_NOSIGNAL) != size) return;
      }
    }
  }

  const int server_port_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> armed_ = false;
  std::thread thread_;
};

class PostgresTargetCommitTest : public testing::Test {
 protected:
  static v1::Window Window(const std::string& low, const std::string& high) {
    return WindowOf(v1::WINDOW_KIND_WINDOW, low, high);
  }
  Rows Events() { return Query(dsn_, "SELECT id, note, extract(epoch FROM w)::bigint FROM events ORDER BY id, w"); }
  // Rows after which the table fails with `sqlstate`, that many times.
  void FailTimes(const std::string& sqlstate, int times) {
    Exec(dsn_,
         absl::StrCat(
             "CREATE SEQUENCE tries; CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF "
             "nextval('tries') <= ",
             times, " THEN RAISE EXCEPTION 'planted' USING ERRCODE = '", sqlstate,
             "'; END IF; RETURN NULL; END $$; CREATE TRIGGER fail AFTER INSERT ON events EXECUTE FUNCTION fail()"));
  }

  const std::string dsn_ = test::PostgresServer::Shared().NewDatabase();
};

TEST_F(PostgresTargetCommitTest, AppendCreatesTheTableThenAddsToIt) {
  TargetJob job(dsn_);
  const auto first = job.Load(job.Run("r1", 1), Window("", "10"), {{1, "a", 5}, {2, std::nullopt, 6}});
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(Balance(first->counts()), "read 2 = loaded 2 + filtered 0 + quarantined 0");
  const auto second = job.Load(job.Run("r2", 2), Window("10", "20"), {{3, "c", 15}});
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_THAT(Events(),
              ElementsAre(ElementsAre("1", "a", "5"), ElementsAre("2", "NULL", "6"), ElementsAre("3", "c", "15")));
  EXPECT_EQ(Query(dsn_,
                  "SELECT run_id, target_table, sequence, kind, low_type, low_text, high_text, rows_read, rows_loaded "
                  "FROM tidemark.ledger ORDER BY 1"),
            (Rows{{"r1", "public.events", "1", "window", "NULL", "NULL", "10", "2", "2"},
                  {"r2", "public.events", "2", "window", "timestamptz", "10", "20", "1", "1"}}));
  // Nothing of the runs is left.
  EXPECT_EQ(Scalar(dsn_, "SELECT count(*) FROM pg_class WHERE relname LIKE 'stg%'"), "0");
  EXPECT_EQ(Scalar(dsn_, "SELECT count(*) FROM tidemark.moves"), "0");
}

TEST_F(PostgresTargetCommitTest, ACommitHappensOnce) {
  TargetJob job(dsn_);
  const RunIdentity run = job.Run("r1", 1);
  const auto work = job.Stage(run, EventSchema(), Window("", "10"), {EventChunk({{1, "a", 5}})});
  ASSERT_TRUE(work.ok()) << work.status();
  EXPECT_FALSE(job.Open()->Commit(run, *work)->already_done());
  const auto again = job.Open()->Commit(run, *work);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(again->already_done());
  EXPECT_EQ(Balance(again->counts()), "read 1 = loaded 1 + filtered 0 + quarantined 0");
  EXPECT_EQ(Events().size(), 1u);
  const auto probe = job.Open()->Probe(run);
  EXPECT_TRUE(probe->committed());
  EXPECT_EQ(probe->high().text(), "10");
  EXPECT_FALSE(probe->staging_exists());
  EXPECT_EQ(job.Open()->Prepare(run, EventSchema(), TakeOver::kNothing).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(job.Open()->BeginMove(run, 0, EventSchema(), v1::CHUNK_FORMAT_ARROW).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(job.Open()->Abort(run).ok());
  EXPECT_TRUE(job.Open()->Probe(run)->committed());
}

TEST_F(PostgresTargetCommitTest, AWindowMustJoinTheLast) {
  TargetJob job(dsn_);
  ASSERT_TRUE(job.Load(job.Run("r1", 1), Window("", "10"), {{1, "a", 5}}).ok());
  for (const v1::Window& gap : {Window("11", "20"), Window("9", "20"), Window("", "20")}) {
    const absl::Status broken = job.Load(job.Run("r2", 2), gap, {{2, "b", 15}}).status();
    EXPECT_EQ(broken.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(broken.message()), HasSubstr("the chain is broken"));
  }
  EXPECT_EQ(Events().size(), 1u);
  // A store that is ahead of a target without a ledger.
  const std::string empty = test::PostgresServer::Shared().NewDatabase();
  TargetJob elsewhere(empty);
  EXPECT_THAT(
      std::string(elsewhere.Load(elsewhere.Run("r2", 2), Window("10", "20"), {{2, "b", 15}}).status().message()),
      HasSubstr("jobs adopt events"));
  // A full load starts a chain wherever the last one ended.
  ASSERT_TRUE(job.Load(job.Run("r3", 3), WindowOf(v1::WINDOW_KIND_FULL, "", "30"), {{9, "full", 25}}).ok());
  ASSERT_TRUE(job.Load(job.Run("r4", 4), Window("30", "40"), {{10, "next", 35}}).ok());
  EXPECT_THAT(Events(), ElementsAre(ElementsAre("9", "full", "25"), ElementsAre("10", "next", "35")));
  const auto head = job.Open()->Describe(EventSchema(), {v1::CHUNK_FORMAT_ARROW})->ledger;
  EXPECT_EQ(head.run_id(), "r4");
  EXPECT_EQ(head.high().text(), "40");
}

TEST_F(PostgresTargetCommitTest, ARunBehindTheLedgerIsSuperseded) {
  TargetJob job(dsn_, v1::LOAD_STRATEGY_UPSERT);
  const auto old = job.Stage(job.Run("old", 5), EventSchema(), Window("", "10"), {EventChunk({{1, "old", 5}})});
  ASSERT_TRUE(old.ok());
  // The next run's Prepare would drop it: this one was replayed from elsewhere.
  Exec(dsn_, "COMMENT ON TABLE tidemark.stg_old IS NULL");
  ASSERT_TRUE(job.Load(job.Run("new", 6), Window("", "10"), {{1, "new", 6}}).ok());
  const absl::Status superseded = job.Open()->Commit(job.Run("old", 5), *old).status();
  EXPECT_EQ(superseded.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(superseded.message()), HasSubstr("superseded"));
  EXPECT_THAT(Events(), ElementsAre(ElementsAre("1", "new", "6")));
}

TEST_F(PostgresTargetCommitTest, ATableThatIsGoneIsNotMadeAnewFromOneIncrement) {
  TargetJob job(dsn_, v1::LOAD_STRATEGY_UPSERT);
  ASSERT_TRUE(job.Load(job.Run("r1", 1), Window("", "10"), {{1, "a", 5}}).ok());
  const auto work = job.Stage(job.Run("r2", 2), EventSchema(), Window("10", "20"), {EventChunk({{2, "b", 15}})});
  ASSERT_TRUE(work.ok()) << work.status();
  // After the run was described and staged.
  Exec(dsn_, "ALTER TABLE events RENAME TO renamed");
  const absl::Status gone = job.Open()->Commit(job.Run("r2", 2), *work).status();
  EXPECT_EQ(gone.code(), absl::StatusCode::kFailedPrecondition) << gone;
  EXPECT_THAT(std::string(gone.message()), HasSubstr("the target table public.events is gone"));
  EXPECT_THAT(std::string(gone.message()), HasSubstr("up to 10: restore it, or run with --full-refresh"));
  Exec(dsn_, "ALTER TABLE renamed RENAME TO events");
  EXPECT_TRUE(job.Open()->Commit(job.Run("r2", 2), *work).ok());
  EXPECT_THAT(Events(), ElementsAre(ElementsAre("1", "a", "5"), ElementsAre("2", "b", "15")));
}

TEST_F(PostgresTargetCommitTest, NorIsOneThatHeldBackfillsAlone) {
  TargetJob job(dsn_, v1::LOAD_STRATEGY_UPSERT);
  ASSERT_TRUE(job.Load(job.Run("r1", 1), WindowOf(v1::WINDOW_KIND_RANGE, "5", "10"), {{1, "a", 6}}).ok());
  Exec(dsn_, "DROP TABLE events");
  EXPECT_THAT(
      std::string(
          job.Load(job.Run("r2", 2), WindowOf(v1::WINDOW_KIND_RANGE, "1", "5"), {{2, "b", 2}}).status().message()),
      HasSubstr("though the ledger has loads of this job: restore it, or run with --full-refresh"));
  ASSERT_TRUE(job.Load(job.Run("r3", 3), WindowOf(v1::WINDOW_KIND_FULL, "", "10"), {{1, "a", 6}, {2, "b", 2}}).ok());
  EXPECT_EQ(Events().size(), 2u);
}

TEST_F(PostgresTargetCommitTest, MovesMustBeTheOnesThatWerePlanned) {
  TargetJob job(dsn_);
  const RunIdentity run = job.Run("r1", 1);
  auto work = job.Stage(run, EventSchema(), Window("", "10"), {EventChunk({{1, "a", 5}})});
  ASSERT_TRUE(work.ok());
  v1::CommitWork more = *work;
  more.add_moves()->set_partition(1);
  EXPECT_EQ(job.Open()->Commit(run, more).status().code(), absl::StatusCode::kFailedPrecondition);
  Exec(dsn_, "DELETE FROM tidemark.stg_r1");
  const absl::Status lost = job.Open()->Commit(run, *work).status();
  EXPECT_THAT(std::string(lost.message()), HasSubstr("holds 0 rows, its moves counted 1"));
  EXPECT_EQ(Scalar(dsn_, "SELECT count(*) FROM tidemark.ledger"), "0");
}

TEST_F(PostgresTargetCommitTest, AnEmptyWindowStillMovesTheChain) {
  Exec(dsn_, "CREATE TABLE events (id bigint PRIMARY KEY, note text, w timestamptz)");
  for (const auto strategy : {v1::LOAD_STRATEGY_INCREMENTAL, v1::LOAD_STRATEGY_UPSERT}) {
    TargetJob job(dsn_, strategy);
    const bool first = strategy == v1::LOAD_STRATEGY_INCREMENTAL;
    const auto result = job.Load(job.Run(first ? "r1" : "r2", first ? 1 : 2), EventSchema(),
                                 first ? Window("", "10") : Window("10", "20"), {});
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(Balance(result->counts()), "read 0 = loaded 0 + filtered 0 + quarantined 0");
  }
  EXPECT_EQ(Scalar(dsn_, "SELECT max(high_text) FROM tidemark.ledger"), "20");
}

TEST_F(PostgresTargetCommitTest, AnOverlapIsToldFromNewRowsByKeyAndVersion) {
  TargetJob job(dsn_);
  job.spec().mutable_target()->add_key("id");
  ASSERT_TRUE(job.Load(job.Run("r1", 1), Window("", "10"), {{1, "a", 5}, {2, "b", 6}}).ok());
  v1::Window window = Window("10", "20");
  window.set_overlap(true);
  const auto result =
      job.Load(job.Run("r2", 2), window, {{1, "a", 5}, {2, "b2", 12}, {3, "late", 7}, {std::nullopt, "keyless", 8}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(Balance(result->counts()), "read 4 = loaded 2 + filtered 1 (already_loaded 1) + quarantined 1");
  EXPECT_THAT(Events(), ElementsAre(ElementsAre("1", "a", "5"), ElementsAre("2", "b", "6"),
                                    ElementsAre("2", "b2", "12"), ElementsAre("3", "late", "7")));
  TargetJob keyless(dsn_);
  EXPECT_THAT(std::string(keyless
                              .Load(keyless.Run("r3", 3),
                                    [] {
                                      v1::Window next = Window("20", "30");
                                      next.set_overlap(true);
                                      return next;
                                    }(),
                                    {{1, "a", 5}})
                              .status()
                              .message()),
              HasSubstr("name target.key"));
}

TEST_F(PostgresTargetCommitTest, UpsertAccountsForEveryRow) {
  Exec(dsn_, "CREATE TABLE events (id bigint PRIMARY KEY, note text, w timestamptz, extra text DEFAULT 'kept')");
  Exec(dsn_,
       "INSERT INTO events (id, note, w, extra) VALUES (1, 'same', to_timestamp(5), 'mine'), (2, 'old', "
       "to_timestamp(5), 'mine'), (3, 'newer', to_timestamp(50), 'kept'), "
       "(4, 'no watermark', NULL, 'kept'), (5, 'equal', to_timestamp(5), 'kept')");
  TargetJob job(dsn_, v1::LOAD_STRATEGY_UPSERT);
  const auto result = job.Load(job.Run("r1", 1), Window("", "20"),
                               {{1, "same", 5},                         // unchanged
                                {2, "new", 6},                          // update
                                {3, "older", 7},                        // superseded in the target
                                {4, "stamped", 8},                      // update of a NULL watermark
                                {5, "changed at the same instant", 5},  // update: not older
                                {6, "v1", 9},
                                {6, "v3", 11},
                                {6, "v2", 10},  // one stays, two superseded in staging
                                {7, "x", 12},
                                {7, "x", 12},  // the same twice: superseded
                                {8, "y", 13},
                                {8, "z", 13},  // same version, other content: quarantine
                                {std::nullopt, "no key", 14}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(Balance(result->counts()), "read 13 = loaded 6 + filtered 5 (superseded 4, unchanged 1) + quarantined 2");
  EXPECT_EQ(Query(dsn_, "SELECT id, note, extract(epoch FROM w)::bigint, extra FROM events ORDER BY id"),
            (Rows{{"1", "same", "5", "mine"},
                  {"2", "new", "6", "mine"},
                  {"3", "newer", "50", "kept"},
                  {"4", "stamped", "8", "kept"},
                  {"5", "changed at the same instant", "5", "kept"},
                  {"6", "v3", "11", "kept"},
                  {"7", "x", "12", "kept"},
                  {"8", "z", "13", "kept"}}));
  EXPECT_EQ(Query(dsn_,
                  "SELECT run_id, target_table, reason, payload ->> 'id', payload ->> 'note' FROM tidemark.quarantine "
                  "ORDER BY reason"),
            (Rows{{"r1", "public.events", "conflicting_version", "8", "y"},
                  {"r1", "public.events", "null_key", "NULL", "no key"}}));
  EXPECT_EQ(Scalar(dsn_, "SELECT filtered_by_reason FROM tidemark.ledger"), "{\"unchanged\": 1, \"superseded\": 4}");
}

TEST_F(PostgresTargetCommitTest, AFirstUpsertBuildsTheTableFromOneRowPerKey) {
  TargetJob job(dsn_, v1::LOAD_STRATEGY_UPSERT);
  const auto result =
      job.Load(job.Run("r1", 1), Window("", "20"), {{1, "old", 5}, {1, "new", 6}, {std::nullopt, "no key", 7}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(Balance(result->counts()), "read 3 = loaded 1 + filtered 1 (superseded 1) + quarantined 1");
  EXPECT_THAT(Events(), ElementsAre(ElementsAre("1", "new", "6")));
  EXPECT_EQ(Scalar(dsn_, "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'events'::regclass"),
            "PRIMARY KEY (id)");
  EXPECT_EQ(Scalar(dsn_, "SELECT obj_description('events'::regclass)"), "NULL");
}

TEST_F(PostgresTargetCommitTest, UpsertComparesTypesWithoutEquality) {
  Exec(dsn_,
       "CREATE TABLE events (id bigint PRIMARY KEY, j json, n numeric, w timestamptz); INSERT INTO events VALUES (1, "
       "'{}', 1.0, to_timestamp(1)), (2, '{}', 1.0, to_timestamp(1))");
  v1::TableSchema schema;
  *schema.add_columns() = MakeColumn("id", v1::LogicalType::KIND_INT64, "bigint");
  *schema.add_columns() = MakeColumn("j", v1::LogicalType::KIND_JSON, "json");
  *schema.add_columns() = MakeColumn("n", v1::LogicalType::KIND_DECIMAL, "numeric");
  *schema.add_columns() = MakeColumn("w", v1::LogicalType::KIND_TIMESTAMPTZ, "timestamp with time zone");
  TargetJob job(dsn_, v1::LOAD_STRATEGY_UPSERT);
  const auto result = job.Load(
      job.Run("r1", 1), schema, Window("", "20"),
      {WireChunk(dsn_, "VALUES (1::bigint, '{}'::json, 1.0, to_timestamp(1)), (2, '{}', 1.00, to_timestamp(1))")});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(Balance(result->counts()), "read 2 = loaded 1 + filtered 1 (unchanged 1) + quarantined 0");
  EXPECT_EQ(Query(dsn_, "SELECT n FROM events ORDER BY id"), (Rows{{"1.0"}, {"1.00"}}));
}

TEST_F(PostgresTargetCommitTest, ConflictsWithOthersAreTriedAgainAsAWhole) {
  for (const char* sqlstate : {"40001", "40P01", "23505"}) {
    Exec(dsn_,
         "DROP TABLE IF EXISTS events; DROP SEQUENCE IF EXISTS tries; DROP FUNCTION IF EXISTS fail CASCADE; DROP "
         "SCHEMA IF EXISTS tidemark CASCADE;"
         "CREATE TABLE events (id bigint PRIMARY KEY, note text, w timestamptz)");
    FailTimes(sqlstate, 4);
    TargetJob job(dsn_, v1::LOAD_STRATEGY_UPSERT);
    const auto result =
        job.Load(job.Run("r1", 1), Window("", "20"), {{1, "a", 5}, {1, "b", 6}, {std::nullopt, "x", 1}});
    ASSERT_TRUE(result.ok()) << sqlstate << ": " << result.status();
    EXPECT_EQ(Balance(result->counts()), "read 3 = loaded 1 + filtered 1 (superseded 1) + quarantined 1");
    EXPECT_EQ(Scalar(dsn_, "SELECT count(*) FROM tidemark.quarantine"), "1");
    EXPECT_EQ(Scalar(dsn_, "SELECT last_value FROM tries"), "5");
  }
}

TEST_F(PostgresTargetCommitTest, ButNotForEver) {
  Exec(dsn_, "CREATE TABLE events (id bigint PRIMARY KEY, note text, w timestamptz)");
  FailTimes("40001", 1000);
  TargetJob job(dsn_, v1::LOAD_STRATEGY_UPSERT);
  EXPECT_EQ(job.Load(job.Run("r1", 1), Window("", "20"), {{1, "a", 5}}).status().code(), absl::StatusCode::kAborted);
  EXPECT_EQ(Scalar(dsn_, "SELECT last_value FROM tries"), "5");
  EXPECT_EQ(job.Open()->Probe(job.Run("r1", 1))->moves_size(), 1);
}

TEST_F(PostgresTargetCommitTest, ATriggerThatDropsRowsBreaksTheBalance) {
  Exec(dsn_,
       "CREATE TABLE events (id bigint, note text, w timestamptz); CREATE FUNCTION skip() RETURNS trigger LANGUAGE "
       "plpgsql AS "
       "$$ BEGIN IF NEW.id = 2 THEN RETURN NULL; END IF; RETURN NEW; END $$; CREATE TRIGGER skip BEFORE INSERT ON "
       "events FOR EACH ROW EXECUTE FUNCTION skip()");
  TargetJob job(dsn_);
  EXPECT_THAT(std::string(job.Load(job.Run("r1", 1), Window("", "20"), {{1, "a", 5}, {2, "b", 5}}).status().message()),
              HasSubstr("of 2 rows 1 arrived"));
  EXPECT_EQ(Events().size(), 0u);
}

TEST_F(PostgresTargetCommitTest, RowsATriggerSwallowsAreNotFilteredOnes) {
  const std::string trigger =
      "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id = 2 THEN RETURN NULL; END IF; "
      "RETURN NEW; END $$; CREATE TRIGGER swallows BEFORE INSERT OR UPDATE ON events FOR EACH ROW EXECUTE FUNCTION "
      "swallow()";
  Exec(dsn_, "CREATE TABLE events (id bigint PRIMARY KEY, note text, w timestamptz); " + trigger);
  const auto refused = [](const absl::Status& status, const std::string& says) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(says));
    EXPECT_THAT(std::string(status.message()), HasSubstr("swallows"));
  };
  TargetJob upsert(dsn_, v1::LOAD_STRATEGY_UPSERT);
  refused(upsert.Load(upsert.Run("r1", 1), Window("", "20"), {{1, "a", 5}, {2, "b", 5}}).status(),
          "1 of 2 rows did not arrive in public.events");
  EXPECT_EQ(Events().size(), 0u);
  // An update is swallowed like an insert; what is really unchanged or older is still that.
  Exec(dsn_,
       "ALTER TABLE events DISABLE TRIGGER swallows; INSERT INTO events VALUES (1, 'same', to_timestamp(5)), (2, "
       "'old', to_timestamp(5)), (3, 'newer', to_timestamp(50)); ALTER TABLE events ENABLE TRIGGER swallows");
  refused(
      upsert.Load(upsert.Run("r2", 2), Window("", "20"), {{1, "same", 5}, {2, "b", 6}, {3, "older", 6}, {4, "d", 6}})
          .status(),
      "1 of 4 rows did not arrive in public.events");
  const auto nothing_lost =
      upsert.Load(upsert.Run("r3", 3), Window("", "20"), {{1, "same", 5}, {2, "old", 5}, {3, "older", 6}, {4, "d", 6}});
  ASSERT_TRUE(nothing_lost.ok()) << nothing_lost.status();
  EXPECT_EQ(Balance(nothing_lost->counts()),
            "read 4 = loaded 1 + filtered 3 (superseded 1, unchanged 2) + quarantined 0");
}

TEST_F(PostgresTargetCommitTest, ATriggerThatRewritesRowsIsNoThief) {
  for (const char* partitions : {"",
                                 "PARTITION BY HASH (id); CREATE TABLE events_all PARTITION OF events FOR VALUES "
                                 "WITH (MODULUS 1, REMAINDER 0)"}) {
    Exec(dsn_, absl::StrCat("DROP TABLE IF EXISTS events; DROP FUNCTION IF EXISTS shout; DROP SCHEMA IF EXISTS "
                            "tidemark CASCADE; CREATE TABLE events (id bigint PRIMARY KEY, note text, w timestamptz) ",
                            partitions,
                            "; INSERT INTO events VALUES (3, 'NEWER', to_timestamp(50)); CREATE FUNCTION shout() "
                            "RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note = upper(NEW.note); RETURN NEW; END "
                            "$$; CREATE TRIGGER shouts BEFORE INSERT OR UPDATE ON events FOR EACH ROW EXECUTE FUNCTION "
                            "shout()"));
    TargetJob job(dsn_, v1::LOAD_STRATEGY_UPSERT);
    const auto result = job.Load(job.Run("r1", 1), Window("", "20"), {{1, "a", 5}, {3, "older", 6}});
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(Balance(result->counts()), "read 2 = loaded 1 + filtered 1 (superseded 1) + quarantined 0");
    EXPECT_THAT(Events(), ElementsAre(ElementsAre("1", "A", "5"), ElementsAre("3", "NEWER", "50")));
  }
}

TEST_F(PostgresTargetCommitTest, SwallowedRowsOfAnOverlapAreNotThoseLoadedAlready) {
  Exec(dsn_,
       "CREATE TABLE events (id bigint, note text, w timestamptz); INSERT INTO events VALUES (1, 'a', "
       "to_timestamp(5)); CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; "
       "CREATE TRIGGER swallows BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION swallow()");
  TargetJob job(dsn_);
  job.spec().mutable_target()->add_key("id");
  v1::Window window = Window("", "20");
  window.set_overlap(true);
  const absl::Status swallowed = job.Load(job.Run("r1", 1), window, {{1, "a", 5}, {2, "b", 15}}).status();
  EXPECT_THAT(std::string(swallowed.message()), HasSubstr("of 1 rows 0 arrived in public.events; its triggers "
                                                          "(swallows)"));
  const auto nothing_new = job.Load(job.Run("r2", 2), window, {{1, "a", 5}});
  ASSERT_TRUE(nothing_new.ok()) << nothing_new.status();
  EXPECT_EQ(Balance(nothing_new->counts()), "read 1 = loaded 0 + filtered 1 (already_loaded 1) + quarantined 0");
}

TEST_F(PostgresTargetCommitTest, AChangedRowOfALoadedVersionIsQuarantinedByAnAppend) {
  Exec(dsn_,
       "CREATE TABLE events (id bigint, note text, w timestamptz); INSERT INTO events VALUES (1, 'a', "
       "to_timestamp(5)), (1, 'a again', to_timestamp(5)), (2, 'b', NULL), (3, 'c', to_timestamp(5)), (4, NULL, NULL)");
  TargetJob job(dsn_);
  job.spec().mutable_target()->add_key("id");
  v1::Window window = Window("", "20");
  window.set_nulls(true);
  const auto result = job.Load(job.Run("r1", 1), window,
                               {{1, "a", 5},                      // loaded already
                                {1, "a again", 5},                // so is this
                                {1, "a changed", 5},              // neither of the two
                                {2, "b", std::nullopt},           // loaded already
                                {2, "b changed", std::nullopt},   // no watermark tells the two apart
                                {3, "c stamped later", 6},        // a new version
                                {4, std::nullopt, std::nullopt},  // loaded already
                                {5, "new, unstamped", std::nullopt}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(Balance(result->counts()), "read 8 = loaded 2 + filtered 4 (already_loaded 4) + quarantined 2");
  EXPECT_EQ(Query(dsn_,
                  "SELECT reason, payload ->> 'id', payload ->> 'note' FROM tidemark.quarantine ORDER BY payload ->> "
                  "'id'"),
            (Rows{{"conflicting_version", "1", "a changed"}, {"conflicting_version", "2", "b changed"}}));
  EXPECT_EQ(Scalar(dsn_, "SELECT count(*) FROM events"), "7");
}

TEST_F(PostgresTargetCommitTest, ALostAnswerIsUnknownAndTheLedgerKnows) {
  AnswerThief thief(test::PostgresServer::Shared().port());
  std::string through = dsn_;
  const std::string port = absl::StrCat(":", test::PostgresServer::Shared().port());
  through.replace(through.find(port), port.size(), absl::StrCat(":", thief.port()));
  TargetJob job(through);
  TargetJob direct(dsn_);
  const RunIdentity run = job.Run("r1", 1);
  ASSERT_TRUE(direct.Open()->Prepare(run, EventSchema(), TakeOver::kNothing).ok());
  {
    const auto session = job.Open();
    auto writer = session->BeginMove(run, 0, EventSchema(), v1::CHUNK_FORMAT_ARROW);
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_TRUE((*writer)->Write(EventChunk({{1, "a", 5}})).ok());
    thief.Arm();
    EXPECT_EQ((*writer)->Commit().status().code(), absl::StatusCode::kUnknown);
  }
  ASSERT_EQ(direct.Open()->LoadedMoves(run)->size(), 1u);
  v1::CommitWork work;
  *work.mutable_window() = Window("", "10");
  *work.mutable_schema() = EventSchema();
  work.add_moves()->set_rows(1);
  {
    const auto session = job.Open();
    thief.Arm();
    EXPECT_EQ(session->Commit(run, work).status().code(), absl::StatusCode::kUnknown);
  }
  EXPECT_TRUE(direct.Open()->Probe(run)->committed());
  EXPECT_TRUE(direct.Open()->Commit(run, work)->already_done());
  EXPECT_EQ(Events().size(), 1u);
}

TEST_F(PostgresTargetCommitTest, AKilledSessionLeavesTheTargetAsItWas) {
  Exec(dsn_,
       "CREATE TABLE events (id bigint PRIMARY KEY, note text, w timestamptz); CREATE FUNCTION die() RETURNS trigger "
       "LANGUAGE plpgsql AS "
       "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(10); RETURN NULL; END $$; CREATE "
       "TRIGGER die AFTER INSERT ON events EXECUTE FUNCTION die()");
  TargetJob job(dsn_);
  const RunIdentity run = job.Run("r1", 1);
  const auto work = job.Stage(run, EventSchema(), Window("", "10"), {EventChunk({{1, "a", 5}})});
  ASSERT_TRUE(work.ok());
  EXPECT_EQ(job.Open()->Commit(run, *work).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(job.Open()->Probe(run)->committed());
  Exec(dsn_, "DROP TRIGGER die ON events");
  ASSERT_TRUE(job.Open()->Commit(run, *work).ok());
  EXPECT_EQ(Events().size(), 1u);
}

TEST_F(PostgresTargetCommitTest, AStalledTwinOfAMoveDoesNotHoldTheCommit) {
  TargetJob job(dsn_);
  const RunIdentity run = job.Run("r1", 1);
  ASSERT_TRUE(job.Open()->Prepare(run, EventSchema(), TakeOver::kNothing).ok());
  const auto stalled = job.Open();
  auto twin = stalled->BeginMove(run, 0, EventSchema(), v1::CHUNK_FORMAT_ARROW);
  ASSERT_TRUE(twin.ok());
  const auto session = job.Open();
  auto writer = session->BeginMove(run, 0, EventSchema(), v1::CHUNK_FORMAT_ARROW);
  ASSERT_TRUE((*writer)->Write(EventChunk({{1, "a", 5}})).ok());
  ASSERT_TRUE((*writer)->Commit().ok());
  writer->reset();
  v1::CommitWork work;
  *work.mutable_window() = Window("", "10");
  *work.mutable_schema() = EventSchema();
  work.add_moves()->set_rows(1);
  const auto result = session->Commit(run, work);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_FALSE((*twin)->Commit().ok());
  EXPECT_EQ(Events().size(), 1u);
}

TEST_F(PostgresTargetCommitTest, CancelReachesTheServer) {
  Exec(dsn_,
       "CREATE TABLE events (id bigint PRIMARY KEY, note text, w timestamptz); CREATE FUNCTION wait() RETURNS trigger "
       "LANGUAGE plpgsql AS "
       "$$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$; CREATE TRIGGER wait AFTER INSERT ON events EXECUTE "
       "FUNCTION wait()");
  TargetJob job(dsn_);
  const RunIdentity run = job.Run("r1", 1);
  const auto work = job.Stage(run, EventSchema(), Window("", "10"), {EventChunk({{1, "a", 5}})});
  ASSERT_TRUE(work.ok());
  const auto session = job.Open();
  std::thread canceller([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    session->Cancel();
  });
  EXPECT_EQ(session->Commit(run, *work).status().code(), absl::StatusCode::kCancelled);
  canceller.join();
  EXPECT_FALSE(job.Open()->Probe(run)->committed());
}

}  // namespace
}  // namespace tidemark::postgres
