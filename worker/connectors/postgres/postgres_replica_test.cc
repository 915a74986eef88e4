// Sessions on a standby.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/support/postgres_server.h"
#include "worker/connectors/postgres/postgres_source_testing.h"

namespace tidemark::postgres {
namespace {

using testing::HasSubstr;

// A primary with a standby, which the tests of this program share.
class PostgresReplicaTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    primary_ = test::PostgresServer::Start().value().release();
    standby_ = test::PostgresServer::StartStandby(*primary_, {.settings = {"max_standby_streaming_delay = 100ms"}})
                   .value()
                   .release();
  }
  static void TearDownTestSuite() {
    delete standby_;
    delete primary_;
  }

  PostgresReplicaTest() : source_(primary_->NewDatabase()) {
    test::Exec(source_,
               "CREATE TABLE events (id bigint PRIMARY KEY, note text);"
               "INSERT INTO events SELECT g, md5(g::text) FROM generate_series(1, 5000) g");
    const auto session = MustOpen(source_, TableJob("events"));
    const auto position = session->Position();
    EXPECT_TRUE(position.ok()) << position.status();
    // The database is there once its making is replayed.
    const auto elsewhere = MustOpen(standby_->Dsn(), TableJob("pg_class"));
    const auto waited = elsewhere->AwaitPosition(position.value_or(""), absl::Seconds(30));
    EXPECT_TRUE(waited.ok()) << waited.status();
  }
  ~PostgresReplicaTest() override { test::Exec(standby_->Dsn(), "SELECT pg_wal_replay_resume()"); }

  std::string Replica() const { return standby_->Dsn(source_.substr(source_.rfind('/') + 1)); }

  static test::PostgresServer* primary_;
  static test::PostgresServer* standby_;
  const std::string source_;
};

test::PostgresServer* PostgresReplicaTest::primary_ = nullptr;
test::PostgresServer* PostgresReplicaTest::standby_ = nullptr;

TEST_F(PostgresReplicaTest, HasTheIdentityOfItsPrimaryAndNoPositionOfItsOwn) {
  const auto primary = MustOpen(source_, TableJob("events"));
  const auto replica = MustOpen(Replica(), TableJob("events"));
  ASSERT_TRUE(primary->Identity().ok());
  EXPECT_NE(*primary->Identity(), "");
  EXPECT_EQ(*replica->Identity(), *primary->Identity());
  EXPECT_THAT(std::string(replica->Position().status().message()), HasSubstr("leads to a standby"));
  EXPECT_TRUE(absl::IsInvalidArgument(replica->Position().status()));
}

TEST_F(PostgresReplicaTest, ShowsWhatWasCommittedBeforeThePositionItHasReplayed) {
  test::Exec(standby_->Dsn(), "SELECT pg_wal_replay_pause()");
  test::Exec(source_, "INSERT INTO events VALUES (5001, 'late')");
  const auto primary = MustOpen(source_, TableJob("events"));
  const std::string position = *primary->Position();
  EXPECT_TRUE(primary->AwaitPosition(position, absl::ZeroDuration()).ok());
  const auto replica = MustOpen(Replica(), TableJob("events"));
  const auto paused = replica->AwaitPosition(position, absl::Milliseconds(100));
  EXPECT_TRUE(absl::IsUnavailable(paused.status())) << paused.status();
  EXPECT_THAT(std::string(paused.status().message()), HasSubstr("its replay is paused"));
  EXPECT_EQ(ReadKeys(*replica).size(), 5000u);

  std::thread resume([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    test::Exec(standby_->Dsn(), "SELECT pg_wal_replay_resume()");
  });
  const auto waited = replica->AwaitPosition(position, absl::Seconds(30));
  resume.join();
  ASSERT_TRUE(waited.ok()) << waited.status();
  EXPECT_GT(*waited, absl::ZeroDuration());
  EXPECT_EQ(ReadKeys(*replica).size(), 5001u);
}

TEST_F(PostgresReplicaTest, ExportsASnapshotToOthersThere) {
  const auto exporter = MustOpen(Replica(), TableJob("events"));
  const auto snapshot = exporter->OpenSnapshot();
  ASSERT_TRUE(snapshot.ok()) << snapshot.status();
  const auto importer = MustOpen(Replica(), TableJob("events"));
  ASSERT_TRUE(importer->ImportSnapshot(*snapshot).ok());
  test::Exec(source_, "INSERT INTO events VALUES (5001, 'late')");
  const auto primary = MustOpen(source_, TableJob("events"));
  const auto later = MustOpen(Replica(), TableJob("events"));
  ASSERT_TRUE(later->AwaitPosition(*primary->Position(), absl::Seconds(30)).ok());
  EXPECT_EQ(ReadKeys(*later).size(), 5001u);
  EXPECT_EQ(ReadKeys(*importer).size(), 5000u);
}

TEST_F(PostgresReplicaTest, AReaderInTheWayOfItsReplayIsCancelledAndMayTryAgain) {
  const auto reader = MustOpen(Replica(), TableJob("events"));
  ASSERT_TRUE(reader->OpenSnapshot().ok());
  test::Exec(source_, "DELETE FROM events WHERE id % 2 = 0");
  test::Exec(source_, "VACUUM events");
  const auto description = reader->Describe();
  absl::Status status;
  for (int i = 0; i < 200 && status.ok(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    status = reader->Describe().status();
  }
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("the snapshot is gone"));
}

TEST_F(PostgresReplicaTest, APieceOfARangeIsWhatIsInBoth) {
  const auto session = MustOpen(source_, TableJob("events"));
  const auto description = session->Describe();
  ASSERT_TRUE(description.ok());
  v1::KeyRange range;
  range.set_partitioning(v1::PARTITIONING_KEY);
  range.add_columns("id");
  range.mutable_lower()->add_values("100");
  range.mutable_upper()->add_values("200");
  v1::KeyRange piece = range;
  piece.mutable_lower()->set_values(0, "190");
  piece.mutable_upper()->set_values(0, "300");
  auto reader = session->Read({.schema = description->schema,
                               .window = {},
                               .range = range,
                               .format = v1::CHUNK_FORMAT_PG_COPY_BINARY,
                               .piece = piece});
  ASSERT_TRUE(reader.ok()) << reader.status();
  const auto chunk = (*reader)->Next();
  ASSERT_TRUE(chunk.ok() && chunk->has_value()) << chunk.status();
  EXPECT_EQ((*chunk)->rows(), 10);
}

}  // namespace
}  // namespace tidemark::postgres
