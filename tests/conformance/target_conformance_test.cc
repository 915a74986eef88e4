#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/conformance/arrow_rows.h"
#include "tests/conformance/store_under_test.h"
#include "tests/conformance/target_driver.h"
#include "worker/connector/fence_error.h"

namespace tidemark::conformance {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr v1::WindowKind kWindow = v1::WINDOW_KIND_WINDOW;
constexpr v1::WindowKind kFull = v1::WINDOW_KIND_FULL;

std::vector<Cells> Sorted(const std::vector<Row>& rows) {
  std::vector<Cells> cells = RowCells(rows);
  std::sort(cells.begin(), cells.end());
  return cells;
}

Row MakeRow(int64_t id, const std::string& note, int64_t w) {
  return {.id = id, .note = note, .cents = id * 101, .w = w};
}

class TargetConformance : public ::testing::TestWithParam<StoreFactory> {
 protected:
  TargetDriver Driver(v1::LoadStrategy strategy) { return TargetDriver(*store_, strategy); }
  static v1::LedgerHead HeadOf(const TargetDriver& driver) {
    const auto described = driver.Open()->Describe(RowSchema(), {v1::CHUNK_FORMAT_ARROW});
    EXPECT_TRUE(described.ok()) << described.status();
    return described.ok() ? described->ledger : v1::LedgerHead();
  }

  std::unique_ptr<StoreUnderTest> store_ = GetParam().make();
};

RunIdentity Foreign(RunIdentity run) {
  run.cluster_id = "elsewhere";
  run.job_uid = "another";
  return run;
}

void ExpectRefused(const absl::Status& status, const std::string& text) {
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(text));
}

TEST_P(TargetConformance, DescribeChangesNothing) {
  const TargetDriver driver = Driver(v1::LOAD_STRATEGY_UPSERT);
  const auto described = driver.Open()->Describe(RowSchema(), {v1::CHUNK_FORMAT_ARROW});
  ASSERT_TRUE(described.ok()) << described.status();
  EXPECT_FALSE(described->table_exists);
  EXPECT_FALSE(described->ledger.exists());
  EXPECT_THAT(described->formats, ElementsAre(v1::CHUNK_FORMAT_ARROW));
  EXPECT_TRUE(described->capabilities.transactional_commit());
  EXPECT_THAT(driver.Tables(), IsEmpty());
}

TEST_P(TargetConformance, DescribeRefusesWhatTheLoadCouldNotDo) {
  TargetDriver driver = Driver(v1::LOAD_STRATEGY_UPSERT);
  const auto sql = driver.Sql();
  sql->Exec("CREATE TABLE loaded (id bigint, note text, amount numeric(18,2), w timestamp with time zone)");
  if (!store_->merges_without_index()) {
    const absl::Status no_index = driver.Open()->Describe(RowSchema(), {v1::CHUNK_FORMAT_ARROW}).status();
    EXPECT_TRUE(absl::IsInvalidArgument(no_index)) << no_index;
    EXPECT_THAT(std::string(no_index.message()), HasSubstr("UNIQUE"));
    sql->Exec("CREATE UNIQUE INDEX loaded_key ON loaded (id)");
  }
  const auto described = driver.Open()->Describe(RowSchema(), {v1::CHUNK_FORMAT_ARROW});
  ASSERT_TRUE(described.ok()) << described.status();
  EXPECT_TRUE(described->table_exists);
  EXPECT_EQ(described->schema.columns_size(), 4);
  sql->Exec("ALTER TABLE loaded DROP COLUMN note");
  const absl::Status missing = driver.Open()->Describe(RowSchema(), {v1::CHUNK_FORMAT_ARROW}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(missing)) << missing;
  EXPECT_THAT(std::string(missing.message()), HasSubstr("note"));
  sql->Exec("ALTER TABLE loaded ADD COLUMN note integer");
  const absl::Status type = driver.Open()->Describe(RowSchema(), {v1::CHUNK_FORMAT_ARROW}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(type)) << type;
  EXPECT_THAT(std::string(type.message()), HasSubstr("note"));
}

TEST_P(TargetConformance, DescribeSeesThatItsRowsAreGone) {
  const TargetDriver driver = Driver(v1::LOAD_STRATEGY_INCREMENTAL);
  const auto emptied = [&] { return driver.Open()->Describe(RowSchema(), {v1::CHUNK_FORMAT_ARROW})->ledger.emptied(); };
  ASSERT_TRUE(driver.Load(driver.Run("r1", 1), TargetDriver::WindowOf(kWindow, -1, 1), {{}}).ok());
  EXPECT_FALSE(emptied()) << "nothing was loaded";
  ASSERT_TRUE(driver.Load(driver.Run("r2", 2), TargetDriver::WindowOf(kWindow, 1, 2), {{MakeRow(1, "a", 2)}}).ok());
  EXPECT_FALSE(emptied());
  driver.Sql()->Exec("DELETE FROM loaded");
  EXPECT_TRUE(emptied());
  ASSERT_TRUE(driver.Load(driver.Run("r3", 3), TargetDriver::WindowOf(kFull, -1, 3), {{}}).ok());
  EXPECT_FALSE(emptied()) << "a full load of nothing";
}

TEST_P(TargetConformance, OneTableIsKnownAsSourceAndAsTarget) {
  const TargetDriver driver = Driver(v1::LOAD_STRATEGY_INCREMENTAL);
  ASSERT_TRUE(driver.Load(driver.Run("r1", 1), TargetDriver::WindowOf(kWindow, -1, 1), {{MakeRow(1, "a", 1)}}).ok());
  const auto target = driver.Open()->Describe(RowSchema(), {v1::CHUNK_FORMAT_ARROW});
  ASSERT_TRUE(target.ok()) << target.status();
  const auto identity_of = [&](const std::string& table) {
    v1::JobSpec job;
    job.mutable_source()->set_table(table);
    const auto source = store_->connector().OpenSource(driver.connection(), job, SessionOptions());
    return (*source)->Describe()->table_identity;
  };
  EXPECT_THAT(target->table_identity, Not(IsEmpty()));
  EXPECT_EQ(identity_of("loaded"), target->table_identity);
  driver.Sql()->Exec("CREATE TABLE beside (id bigint)");
  EXPECT_NE(identity_of("beside"), target->table_identity);
}

TEST_P(TargetConformance, ARunPreparedAgainStartsAgain) {
  const TargetDriver driver = Driver(v1::LOAD_STRATEGY_INCREMENTAL);
  const RunIdentity run = driver.Run("r1", 1);
  ASSERT_TRUE(driver.Prepare(run).ok());
  ASSERT_TRUE(driver.Prepare(run).ok());
  ASSERT_TRUE(driver.Move(run, 0, {MakeRow(1, "of the lost snapshot", 10)}).ok());
  ASSERT_TRUE(driver.Prepare(run).ok());
  const auto moves = driver.Open()->LoadedMoves(run);
  ASSERT_TRUE(moves.ok()) << moves.status();
  EXPECT_THAT(*moves, IsEmpty());
  const auto moved = driver.Move(run, 0, {MakeRow(1, "a", 10)});
  ASSERT_TRUE(moved.ok()) << moved.status();
  EXPECT_FALSE(moved->already_done);
  const auto committed = driver.Commit(run, TargetDriver::WindowOf(kWindow, -1, 10), {1});
  ASSERT_TRUE(committed.ok()) << committed.status();
  EXPECT_EQ(driver.Loaded(), Sorted({MakeRow(1, "a", 10)}));
}

TEST_P(TargetConformance, AMoveTwiceIsOnce) {
  const TargetDriver driver = Driver(v1::LOAD_STRATEGY_INCREMENTAL);
  const RunIdentity run = driver.Run("r1", 1);
  ASSERT_TRUE(driver.Prepare(run).ok());
  const auto first = driver.Move(run, 0, {MakeRow(1, "a", 10), MakeRow(2, "b", 10)});
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_FALSE(first->already_done);
  EXPECT_EQ(first->rows, 2);
  const auto second = driver.Move(run, 0, {MakeRow(3, "another attempt", 10)});
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_TRUE(second->already_done);
  EXPECT_EQ(second->rows, 2);
  ASSERT_TRUE(driver.Commit(run, TargetDriver::WindowOf(kWindow, -1, 10), {2}).ok());
  EXPECT_EQ(driver.Loaded(), Sorted({MakeRow(1, "a", 10), MakeRow(2, "b", 10)}));
}

TEST_P(TargetConformance, AMoveThatIsGivenUpLeavesNothing) {
  const TargetDriver driver = Driver(v1::LOAD_STRATEGY_INCREMENTAL);
  const RunIdentity run = driver.Run("r1", 1);
  ASSERT_TRUE(driver.Prepare(run).ok());
  {
    const auto session = driver.Open();
    auto writer = session->BeginMove(run, 0, RowSchema(), v1::CHUNK_FORMAT_ARROW);
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_TRUE((*writer)->Write(RowChunk({MakeRow(1, "lost", 1)})).ok());
    writer->reset();
    // The session itself goes on.
    EXPECT_THAT(*session->LoadedMoves(run), IsEmpty());
  }
  const auto moved = driver.Move(run, 0, {MakeRow(2, "kept", 2)});
  ASSERT_TRUE(moved.ok()) << moved.status();
  EXPECT_FALSE(moved->already_done);
  ASSERT_TRUE(driver.Commit(run, TargetDriver::WindowOf(kWindow, -1, 2), {1}).ok());
  EXPECT_EQ(driver.Loaded(), Sorted({MakeRow(2, "kept", 2)}));
}

TEST_P(TargetConformance, AZombieIsRefusedEverywhere) {
  const TargetDriver driver = Driver(v1::LOAD_STRATEGY_INCREMENTAL);
  const RunIdentity old = driver.Run("r1", 1, 1);
  const RunIdentity now = driver.Run("r1", 1, 2);
  ASSERT_TRUE(driver.Prepare(old).ok());
  // It has begun before it was replaced, and writes afterwards.
  const auto zombie = driver.Open();
  auto writer = zombie->BeginMove(old, 1, RowSchema(), v1::CHUNK_FORMAT_ARROW);
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(driver.Prepare(now).ok());
  absl::Status status = (*writer)->Write(RowChunk({MakeRow(9, "zombie", 9)}));
  if (status.ok()) status = (*writer)->Commit().status();
  EXPECT_FALSE(status.ok());
  const absl::Status moved = driver.Move(old, 1, {MakeRow(9, "zombie", 9)}).status();
  ExpectRefused(moved, "epoch 2");
  EXPECT_EQ(FenceEpochOf(moved), 2);
  EXPECT_EQ(FenceEpochOf(driver.Prepare(old)), 2);
  EXPECT_EQ(FenceEpochOf(driver.Commit(old, TargetDriver::WindowOf(kWindow, -1, 1), {1}).status()), 2);
  ASSERT_TRUE(driver.Move(now, 0, {MakeRow(1, "a", 1)}).ok());
  const absl::Status abort = driver.Open()->Abort(old);
  EXPECT_EQ(FenceEpochOf(abort), 2) << abort;
  const auto committed = driver.Commit(now, TargetDriver::WindowOf(kWindow, -1, 1), {1});
  ASSERT_TRUE(committed.ok()) << committed.status();
  EXPECT_EQ(driver.Loaded(), Sorted({MakeRow(1, "a", 1)}));
}

TEST_P(TargetConformance, AnotherOwnersTableIsRefusedUnlessRefreshed) {
  const TargetDriver driver = Driver(v1::LOAD_STRATEGY_INCREMENTAL);
  ASSERT_TRUE(driver.Load(driver.Run("r1", 5), TargetDriver::WindowOf(kWindow, -1, 1), {{MakeRow(1, "a", 1)}}).ok());
  RunIdentity other = driver.Run("r2", 1);
  other.cluster_id = "elsewhere";
  ExpectRefused(driver.Prepare(other), "--full-refresh");
  other.cluster_id = "cluster";
  other.job_uid = "another";
  ExpectRefused(driver.Prepare(other), "--full-refresh");
  EXPECT_FALSE(driver.Move(other, 0, {MakeRow(2, "b", 2)}).ok());
  const auto refreshed =
      driver.Load(other, TargetDriver::WindowOf(kFull, -1, 1), {{MakeRow(3, "c", 1)}}, TakeOver::kReplace);
  ASSERT_TRUE(refreshed.ok()) << refreshed.status();
  EXPECT_EQ(driver.Loaded(), Sorted({MakeRow(3, "c", 1)}));
  // The old owner is the foreigner now, and the new one's chain begins at its refresh.
  EXPECT_FALSE(driver.Prepare(driver.Run("r3", 6)).ok());
  RunIdentity next = other;
  next.run_id = "r4";
  next.sequence = 2;
  const auto went_on = driver.Load(next, TargetDriver::WindowOf(kWindow, 1, 2), {{MakeRow(4, "d", 2)}});
  EXPECT_TRUE(went_on.ok()) << went_on.status();
}

TEST_P(TargetConformance, MovesMustBeThoseReported) {
  const TargetDriver driver = Driver(v1::LOAD_STRATEGY_INCREMENTAL);
  const RunIdentity run = driver.Run("r1", 1);
  ASSERT_TRUE(driver.Prepare(run).ok());
  ASSERT_TRUE(driver.Move(run, 0, {MakeRow(1, "a", 1), MakeRow(2, "b", 1)}).ok());
  ASSERT_TRUE(driver.Move(run, 1, {}).ok());
  const v1::Window window = TargetDriver::WindowOf(kWindow, -1, 1);
  EXPECT_FALSE(driver.Commit(run, window, {2}).ok()) << "one move is not reported";
  EXPECT_FALSE(driver.Commit(run, window, {2, 0, 0}).ok()) << "one move is not there";
  EXPECT_FALSE(driver.Commit(run, window, {1, 0}).ok()) << "a row too many";
  EXPECT_THAT(driver.Loaded(), IsEmpty());
  EXPECT_FALSE(driver.Probe(run)->committed());
  const auto committed = driver.Commit(run, window, {2, 0});
  ASSERT_TRUE(committed.ok()) << committed.status();
  EXPECT_EQ(Balance(committed->counts()), "read 2 = loaded 2 + filtered 0 + quarantined 0");
}

TEST_P(TargetConformance, TheChainMustNotBreak) {
  TargetDriver driver = Driver(v1::LOAD_STRATEGY_INCREMENTAL);
  driver.job().mutable_target()->add_key("id");
  // A window that starts in the middle of nothing: the ledger is behind the store.
  ExpectRefused(driver.Load(driver.Run("r0", 1), TargetDriver::WindowOf(kWindow, 5, 9), {{}}).status(),
                "--full-refresh");
  ASSERT_TRUE(driver.Load(driver.Run("r1", 1), TargetDriver::WindowOf(kWindow, -1, 10), {{MakeRow(1, "a", 1)}}).ok());
  ExpectRefused(
      driver.Load(driver.Run("r2", 2), TargetDriver::WindowOf(kWindow, 9, 20), {{MakeRow(2, "b", 11)}}).status(),
      "chain");
  ExpectRefused(
      driver.Load(driver.Run("r3", 2), TargetDriver::WindowOf(kWindow, -1, 20), {{MakeRow(2, "b", 11)}}).status(),
      "chain");
  ASSERT_TRUE(driver.Load(driver.Run("r4", 2), TargetDriver::WindowOf(kWindow, 10, 20), {{MakeRow(2, "b", 11)}}).ok());
  // A backfill keeps its bounds apart, and a full refresh starts a new chain.
  const auto range =
      driver.Load(driver.Run("r5", 3), TargetDriver::WindowOf(v1::WINDOW_KIND_RANGE, 2, 5), {{MakeRow(3, "c", 3)}});
  ASSERT_TRUE(range.ok()) << range.status();
  ASSERT_TRUE(driver.Load(driver.Run("r6", 4), TargetDriver::WindowOf(kWindow, 20, 30), {{MakeRow(4, "d", 21)}}).ok());
  EXPECT_EQ(driver.Loaded(),
            Sorted({MakeRow(1, "a", 1), MakeRow(2, "b", 11), MakeRow(3, "c", 3), MakeRow(4, "d", 21)}));
  ASSERT_TRUE(driver.Load(driver.Run("r7", 5), TargetDriver::WindowOf(kFull, -1, 15), {{MakeRow(1, "z", 1)}}).ok());
  ASSERT_TRUE(driver.Load(driver.Run("r8", 6), TargetDriver::WindowOf(kWindow, 15, 30), {{MakeRow(5, "e", 16)}}).ok());
  EXPECT_EQ(driver.Loaded(), Sorted({MakeRow(1, "z", 1), MakeRow(5, "e", 16)}));
  const auto described = driver.Open()->Describe(RowSchema(), {v1::CHUNK_FORMAT_ARROW});
  ASSERT_TRUE(described.ok()) << described.status();
  EXPECT_EQ(described->ledger.run_id(), "r8");
  EXPECT_EQ(described->ledger.sequence(), 6);
  EXPECT_EQ(described->ledger.high().text(), TargetDriver::WindowOf(kWindow, -1, 30).high().text());
}

// A window behind a backfill may read its rows again, and only the ledger knows of it.
TEST_P(TargetConformance, RangesAreToldOfUntilAFullLoad) {
  TargetDriver driver = Driver(v1::LOAD_STRATEGY_INCREMENTAL);
  driver.job().mutable_target()->add_key("id");
  const auto head = [&] { return HeadOf(driver); };
  const v1::Window range = TargetDriver::WindowOf(v1::WINDOW_KIND_RANGE, 2, 5);
  ASSERT_TRUE(driver.Load(driver.Run("r1", 1), range, {{MakeRow(1, "a", 3)}}).ok());
  EXPECT_FALSE(head().exists());
  EXPECT_TRUE(head().has_ranges());
  ASSERT_TRUE(driver.Load(driver.Run("r2", 2), TargetDriver::WindowOf(kWindow, -1, 10), {{MakeRow(2, "b", 7)}}).ok());
  EXPECT_EQ(head().run_id(), "r2");
  EXPECT_TRUE(head().has_ranges());
  ASSERT_TRUE(driver.Load(driver.Run("r3", 3), TargetDriver::WindowOf(kFull, -1, 10), {{MakeRow(1, "a", 3)}}).ok());
  EXPECT_FALSE(head().has_ranges());
  ASSERT_TRUE(driver.Load(driver.Run("r4", 4), range, {{MakeRow(4, "d", 4)}}).ok());
  EXPECT_EQ(head().run_id(), "r3");
  EXPECT_TRUE(head().has_ranges());
  // Another job's are none of the chain that its full refresh begins.
  RunIdentity other = driver.Run("r5", 1);
  other.job_uid = "another";
  ASSERT_TRUE(driver.Load(other, TargetDriver::WindowOf(kFull, -1, 10), {{}}, TakeOver::kReplace).ok());
  EXPECT_EQ(head().job_uid(), "another");
  EXPECT_FALSE(head().has_ranges());
}

TEST_P(TargetConformance, WhoTookTheFenceOverHasLoadedNothingYet) {
  const TargetDriver driver = Driver(v1::LOAD_STRATEGY_INCREMENTAL);
  ASSERT_TRUE(driver.Load(driver.Run("r1", 5), TargetDriver::WindowOf(kWindow, -1, 1), {{MakeRow(1, "a", 1)}}).ok());
  RunIdentity other = driver.Run("r2", 1);
  other.cluster_id = "elsewhere";
  ASSERT_TRUE(driver.Prepare(other, TakeOver::kReplace).ok());
  const auto described = driver.Open()->Describe(RowSchema(), {v1::CHUNK_FORMAT_ARROW});
  ASSERT_TRUE(described.ok()) << described.status();
  EXPECT_EQ(described->ledger.run_id(), "r1");
  EXPECT_EQ(described->ledger.cluster_id(), "cluster");
}

TEST_P(TargetConformance, AnAdoptedTableGoesOnWithoutAGapOrADouble) {
  const TargetDriver driver = Driver(v1::LOAD_STRATEGY_INCREMENTAL);
  ASSERT_TRUE(driver.Load(driver.Run("r1", 5), TargetDriver::WindowOf(kWindow, -1, 10), {{MakeRow(1, "a", 10)}}).ok());
  ASSERT_TRUE(driver.Load(driver.Run("r2", 7), TargetDriver::WindowOf(kWindow, 10, 20), {{MakeRow(2, "b", 20)}}).ok());
  const RunIdentity first = Foreign(driver.Run("n1", 8));
  ExpectRefused(driver.Prepare(first), "jobs adopt");
  EXPECT_EQ(HeadOf(driver).cluster_id(), "cluster") << "a refusal changes nothing";
  for (int i = 0; i < 2; ++i) {
    const absl::Status adopted = driver.Prepare(first, TakeOver::kAdopt);
    ASSERT_TRUE(adopted.ok()) << adopted;
    const v1::LedgerHead head = HeadOf(driver);
    EXPECT_EQ(head.cluster_id(), "elsewhere");
    EXPECT_EQ(head.job_uid(), "another");
    EXPECT_EQ(head.run_id(), "r2");
    EXPECT_EQ(head.sequence(), 7);
    EXPECT_EQ(head.high().text(), TargetDriver::WindowOf(kWindow, -1, 20).high().text());
  }
  // The former owner is the foreigner now.
  ExpectRefused(driver.Prepare(driver.Run("r3", 8)), "jobs adopt");
  ASSERT_TRUE(driver.Move(first, 0, {MakeRow(3, "c", 30)}).ok());
  for (const int64_t low : {-1, 10, 21})
    ExpectRefused(driver.Commit(first, TargetDriver::WindowOf(kWindow, low, 30), {1}).status(), "chain");
  const auto went_on = driver.Commit(first, TargetDriver::WindowOf(kWindow, 20, 30), {1});
  ASSERT_TRUE(went_on.ok()) << went_on.status();
  // Nobody has to adopt twice.
  const auto next = driver.Load(Foreign(driver.Run("n2", 9)), TargetDriver::WindowOf(kWindow, 30, 40), {{}});
  EXPECT_TRUE(next.ok()) << next.status();
  EXPECT_EQ(driver.Loaded(), Sorted({MakeRow(1, "a", 10), MakeRow(2, "b", 20), MakeRow(3, "c", 30)}));
  EXPECT_EQ(driver.CountControl("ledger", "cluster_id = 'elsewhere' AND job_uid = 'another'"), 4);
}

TEST_P(TargetConformance, AdoptingIsNoWayPastALaterEpoch) {
  const TargetDriver driver = Driver(v1::LOAD_STRATEGY_INCREMENTAL);
  ASSERT_TRUE(
      driver.Load(driver.Run("r1", 1, 5), TargetDriver::WindowOf(kWindow, -1, 10), {{MakeRow(1, "a", 10)}}).ok());
  EXPECT_EQ(FenceEpochOf(driver.Prepare(driver.Run("r2", 2, 4), TakeOver::kAdopt)), 5);
  // Epochs of different clusters are not comparable, until they are one's own.
  ASSERT_TRUE(driver.Prepare(Foreign(driver.Run("n1", 2, 3)), TakeOver::kAdopt).ok());
  EXPECT_EQ(FenceEpochOf(driver.Prepare(Foreign(driver.Run("n1", 2, 2)), TakeOver::kAdopt)), 3);
  EXPECT_TRUE(driver.Prepare(Foreign(driver.Run("n1", 2, 4)), TakeOver::kAdopt).ok());
}

TEST_P(TargetConformance, WhoLosesATableCommitsNothingMoreAndItsStagingGoes) {
  for (const TakeOver take_over : {TakeOver::kReplace, TakeOver::kAdopt}) {
    TargetDriver driver = Driver(v1::LOAD_STRATEGY_INCREMENTAL);
    const v1::Window window = TargetDriver::WindowOf(kWindow, -1, 10);
    const RunIdentity lost = driver.Run("lost", 1);
    ASSERT_TRUE(driver.Prepare(lost).ok());
    ASSERT_TRUE(driver.Move(lost, 0, {MakeRow(1, "lost", 5)}).ok());
    const RunIdentity beside = driver.Run("beside", 1);
    driver.job().mutable_target()->set_table("beside");
    ASSERT_TRUE(driver.Load(driver.Run("b0", 0), window, {{}}).ok());
    ASSERT_TRUE(driver.Prepare(beside).ok());
    driver.job().mutable_target()->set_table("loaded");
    ASSERT_TRUE(driver.Prepare(Foreign(driver.Run("n1", 2)), take_over).ok());
    EXPECT_FALSE(driver.Move(lost, 1, {MakeRow(2, "lost", 5)}).ok());
    ExpectRefused(driver.Commit(lost, window, {1}).status(), "another cluster");
    const auto loaded = driver.Load(Foreign(driver.Run("n2", 3)), window, {{MakeRow(3, "c", 5)}});
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_FALSE(driver.Probe(lost)->staging_exists());
    EXPECT_EQ(driver.CountControl("moves", "run_id = 'lost'"), 0);
    EXPECT_EQ(driver.Loaded(), Sorted({MakeRow(3, "c", 5)}));
    // What the former owner has in other tables is still its own.
    driver.job().mutable_target()->set_table("beside");
    EXPECT_TRUE(driver.Probe(beside)->staging_exists());
    EXPECT_EQ(HeadOf(driver).cluster_id(), "cluster");
  }
}

TEST_P(TargetConformance, AFullLoadThatAdoptsStandsAboveWhatItReplaces) {
  const TargetDriver driver = Driver(v1::LOAD_STRATEGY_FULL);
  ASSERT_TRUE(driver.Load(driver.Run("r1", 5), TargetDriver::WindowOf(kFull, -1, 10), {{MakeRow(1, "a", 10)}}).ok());
  const RunIdentity below = Foreign(driver.Run("n1", 5));
  const v1::Window window = TargetDriver::WindowOf(kFull, -1, 20);
  ExpectRefused(driver.Load(below, window, {{MakeRow(2, "b", 20)}}).status(), "jobs adopt");
  ExpectRefused(driver.Load(below, window, {{MakeRow(2, "b", 20)}}, TakeOver::kAdopt).status(), "superseded");
  EXPECT_EQ(driver.Loaded(), Sorted({MakeRow(1, "a", 10)}));
  const auto adopted = driver.Load(Foreign(driver.Run("n2", 6)), window, {{MakeRow(2, "b", 20)}}, TakeOver::kAdopt);
  ASSERT_TRUE(adopted.ok()) << adopted.status();
  EXPECT_EQ(driver.Loaded(), Sorted({MakeRow(2, "b", 20)}));
  EXPECT_EQ(HeadOf(driver).run_id(), "n2");
  EXPECT_EQ(driver.CountControl("ledger", "cluster_id = 'elsewhere'"), 2);
}

// A chain that is adopted by who has had one of its own before stands behind that, whatever its sequences were.
TEST_P(TargetConformance, AdoptingBackKeepsTheOrderOfTheLoads) {
  TargetDriver driver = Driver(v1::LOAD_STRATEGY_INCREMENTAL);
  driver.job().mutable_target()->add_key("id");
  const v1::Window range = TargetDriver::WindowOf(v1::WINDOW_KIND_RANGE, 2, 5);
  ASSERT_TRUE(driver.Load(driver.Run("r1", 10), TargetDriver::WindowOf(kWindow, -1, 90), {{MakeRow(1, "a", 1)}}).ok());
  ASSERT_TRUE(driver.Load(driver.Run("r2", 12), range, {{MakeRow(2, "b", 3)}}).ok());
  ASSERT_TRUE(driver
                  .Load(Foreign(driver.Run("n1", 1)), TargetDriver::WindowOf(kFull, -1, 15), {{MakeRow(3, "c", 10)}},
                        TakeOver::kReplace)
                  .ok());
  ASSERT_TRUE(driver.Load(Foreign(driver.Run("n2", 2)), TargetDriver::WindowOf(kWindow, 15, 30), {{}}).ok());
  const RunIdentity back = driver.Run("r3", 12);
  ASSERT_TRUE(driver.Prepare(back, TakeOver::kAdopt).ok());
  ASSERT_TRUE(driver.Prepare(back, TakeOver::kAdopt).ok());
  const v1::LedgerHead head = HeadOf(driver);
  EXPECT_EQ(head.job_uid(), "job");
  EXPECT_EQ(head.run_id(), "n2");
  EXPECT_EQ(head.high().text(), TargetDriver::WindowOf(kWindow, -1, 30).high().text());
  EXPECT_EQ(head.sequence(), 14);
  EXPECT_FALSE(head.has_ranges()) << "its own backfill was replaced";
  ASSERT_TRUE(driver.Move(back, 0, {MakeRow(4, "old", 9)}).ok());
  ExpectRefused(driver.Commit(back, range, {1}).status(), "superseded");
  const auto went_on =
      driver.Load(driver.Run("r4", 15), TargetDriver::WindowOf(kWindow, 30, 40), {{MakeRow(5, "e", 35)}});
  ASSERT_TRUE(went_on.ok()) << went_on.status();
  EXPECT_EQ(driver.Loaded(), Sorted({MakeRow(3, "c", 10), MakeRow(5, "e", 35)}));
}

TEST_P(TargetConformance, BackfillsAloneAreAdoptedToo) {
  const TargetDriver driver = Driver(v1::LOAD_STRATEGY_UPSERT);
  const v1::Window range = TargetDriver::WindowOf(v1::WINDOW_KIND_RANGE, 5, 10);
  ASSERT_TRUE(driver.Load(driver.Run("r1", 1), range, {{MakeRow(1, "a", 6)}}).ok());
  const RunIdentity run = Foreign(driver.Run("n1", 2));
  ASSERT_TRUE(driver.Prepare(run, TakeOver::kAdopt).ok());
  EXPECT_FALSE(HeadOf(driver).exists());
  EXPECT_TRUE(HeadOf(driver).has_ranges());
  EXPECT_EQ(HeadOf(driver).cluster_id(), "elsewhere");
  EXPECT_EQ(driver.CountControl("ledger", "cluster_id = 'elsewhere'"), 1);
}

TEST_P(TargetConformance, WhereNothingWasLoadedAdoptingIsAFirstRun) {
  const TargetDriver driver = Driver(v1::LOAD_STRATEGY_INCREMENTAL);
  ASSERT_TRUE(driver.Prepare(driver.Run("r1", 1, 9)).ok());
  const auto loaded = driver.Load(Foreign(driver.Run("n1", 1)), TargetDriver::WindowOf(kWindow, -1, 10),
                                  {{MakeRow(1, "a", 10)}}, TakeOver::kAdopt);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(driver.Loaded(), Sorted({MakeRow(1, "a", 10)}));
  const TargetDriver fresh = Driver(v1::LOAD_STRATEGY_INCREMENTAL);
  EXPECT_TRUE(fresh.Prepare(fresh.Run("r1", 1), TakeOver::kAdopt).ok());
  EXPECT_FALSE(HeadOf(fresh).exists());
}

TEST_P(TargetConformance, OneSequenceIsOneRun) {
  const TargetDriver driver = Driver(v1::LOAD_STRATEGY_UPSERT);
  ASSERT_TRUE(driver.Load(driver.Run("r1", 3), TargetDriver::WindowOf(kWindow, -1, 10), {{MakeRow(1, "a", 5)}}).ok());
  for (const v1::Window& window :
       {TargetDriver::WindowOf(kWindow, 10, 20), TargetDriver::WindowOf(v1::WINDOW_KIND_RANGE, 2, 5),
        TargetDriver::WindowOf(kFull, -1, 20)}) {
    ExpectRefused(driver.Load(driver.Run("r2", 3), window, {{MakeRow(2, "b", 15)}}).status(), "superseded");
  }
  EXPECT_EQ(driver.Loaded(), Sorted({MakeRow(1, "a", 5)}));
  ASSERT_TRUE(driver.Load(driver.Run("r3", 4), TargetDriver::WindowOf(kWindow, 10, 20), {{MakeRow(2, "b", 15)}}).ok());
}

TEST_P(TargetConformance, AnAppendNeverDoublesWhatMayBeLoaded) {
  const TargetDriver driver = Driver(v1::LOAD_STRATEGY_INCREMENTAL);
  v1::Window overlap = TargetDriver::WindowOf(kWindow, -1, 10);
  overlap.set_overlap(true);
  v1::Window nulls = TargetDriver::WindowOf(kWindow, -1, 10);
  nulls.set_nulls(true);
  for (const v1::Window& window : {overlap, nulls, TargetDriver::WindowOf(v1::WINDOW_KIND_RANGE, 2, 5)}) {
    const absl::Status keyless = driver.Load(driver.Run("r1", 1), window, {{MakeRow(1, "a", 3)}}).status();
    EXPECT_TRUE(absl::IsInvalidArgument(keyless)) << keyless;
    EXPECT_THAT(std::string(keyless.message()), HasSubstr("target.key"));
  }
  // A full load without a watermark has read what no window's low excludes.
  ASSERT_TRUE(driver.Load(driver.Run("r2", 2), TargetDriver::WindowOf(kFull, -1, -1), {{MakeRow(1, "a", 3)}}).ok());
  ExpectRefused(
      driver.Load(driver.Run("r3", 3), TargetDriver::WindowOf(kWindow, -1, 10), {{MakeRow(1, "a", 3)}}).status(),
      "double");
  EXPECT_EQ(driver.Loaded(), Sorted({MakeRow(1, "a", 3)}));
}

TEST_P(TargetConformance, ARunIdThatNoNameCanHoldIsRefused) {
  const TargetDriver driver = Driver(v1::LOAD_STRATEGY_INCREMENTAL);
  ASSERT_TRUE(driver.Prepare(driver.Run(std::string(59, 'r'), 1)).ok());
  for (const std::string& id : {std::string(), std::string(60, 'r'), std::string("r 1"), std::string("r\"; --")}) {
    const RunIdentity run = driver.Run(id, 2);
    EXPECT_TRUE(absl::IsInvalidArgument(driver.Prepare(run))) << id;
    EXPECT_TRUE(absl::IsInvalidArgument(driver.Move(run, 0, {MakeRow(1, "a", 1)}).status())) << id;
    EXPECT_TRUE(absl::IsInvalidArgument(driver.Commit(run, TargetDriver::WindowOf(kWindow, -1, 1), {1}).status()))
        << id;
    EXPECT_TRUE(absl::IsInvalidArgument(driver.Probe(run).status())) << id;
    EXPECT_TRUE(absl::IsInvalidArgument(driver.Open()->Abort(run))) << id;
  }
}

TEST_P(TargetConformance, ATableThatIsGoneIsNotMadeAnewFromOneIncrement) {
  for (const v1::LoadStrategy strategy : {v1::LOAD_STRATEGY_UPSERT, v1::LOAD_STRATEGY_INCREMENTAL}) {
    TargetDriver driver = Driver(strategy);
    driver.job().mutable_target()->clear_key();
    driver.job().mutable_target()->add_key("id");
    ASSERT_TRUE(driver.Load(driver.Run("r1", 1), TargetDriver::WindowOf(kWindow, -1, 10), {{MakeRow(1, "a", 1)}}).ok());
    driver.Sql()->Exec("DROP TABLE loaded");
    for (const v1::Window& window :
         {TargetDriver::WindowOf(kWindow, 10, 20), TargetDriver::WindowOf(v1::WINDOW_KIND_RANGE, 2, 20)}) {
      const absl::Status gone = driver.Load(driver.Run("r2", 2), window, {{MakeRow(2, "b", 11)}}).status();
      ExpectRefused(gone, "is gone");
      ExpectRefused(gone, "--full-refresh");
    }
    EXPECT_THAT(driver.Loaded(), IsEmpty());
    EXPECT_EQ(driver.CountControl("ledger", "1 = 1"), 1);
    const auto refreshed = driver.Load(driver.Run("r3", 3), TargetDriver::WindowOf(kFull, -1, 20),
                                       {{MakeRow(1, "a", 1), MakeRow(2, "b", 11)}}, TakeOver::kReplace);
    ASSERT_TRUE(refreshed.ok()) << refreshed.status();
    EXPECT_EQ(driver.Loaded(), Sorted({MakeRow(1, "a", 1), MakeRow(2, "b", 11)}));
  }
}

TEST_P(TargetConformance, NorIsOneThatHeldBackfillsAlone) {
  const TargetDriver driver = Driver(v1::LOAD_STRATEGY_UPSERT);
  const v1::Window range = TargetDriver::WindowOf(v1::WINDOW_KIND_RANGE, 5, 10);
  ASSERT_TRUE(driver.Load(driver.Run("r1", 1), range, {{MakeRow(1, "a", 6)}}).ok());
  driver.Sql()->Exec("DROP TABLE loaded");
  for (const v1::Window& window :
       {TargetDriver::WindowOf(kWindow, -1, 20), TargetDriver::WindowOf(v1::WINDOW_KIND_RANGE, 1, 5)}) {
    ExpectRefused(driver.Load(driver.Run("r2", 2), window, {{MakeRow(2, "b", 2)}}).status(),
                  "is gone, though the ledger has loads of this job: restore it, or run with --full-refresh");
  }
  ASSERT_TRUE(driver.Load(driver.Run("r3", 3), TargetDriver::WindowOf(kFull, -1, 10), {{MakeRow(1, "a", 6)}}).ok());
}

TEST_P(TargetConformance, AnOldReplayIsSuperseded) {
  const TargetDriver driver = Driver(v1::LOAD_STRATEGY_UPSERT);
  const RunIdentity old = driver.Run("old", 1);
  ASSERT_TRUE(driver.Prepare(old).ok());
  ASSERT_TRUE(driver.Move(old, 0, {MakeRow(1, "old", 1)}).ok());
  ASSERT_TRUE(
      driver.Load(driver.Run("new", 2), TargetDriver::WindowOf(kWindow, -1, 10), {{MakeRow(1, "new", 5)}}).ok());
  ExpectRefused(driver.Commit(old, TargetDriver::WindowOf(kWindow, -1, 10), {1}).status(), "superseded");
  EXPECT_EQ(driver.Loaded(), Sorted({MakeRow(1, "new", 5)}));
}

TEST_P(TargetConformance, CommitTwiceIsOnce) {
  const TargetDriver driver = Driver(v1::LOAD_STRATEGY_INCREMENTAL);
  const RunIdentity run = driver.Run("r1", 1);
  const v1::Window window = TargetDriver::WindowOf(kWindow, -1, 10);
  const auto first = driver.Load(run, window, {{MakeRow(1, "a", 1)}, {MakeRow(2, "b", 2)}});
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_FALSE(first->already_done());
  const auto second = driver.Commit(run, window, {1, 1});
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_TRUE(second->already_done());
  EXPECT_EQ(Balance(second->counts()), Balance(first->counts()));
  EXPECT_FALSE(driver.Prepare(run).ok()) << "a committed run is not started again";
  EXPECT_EQ(driver.Loaded(), Sorted({MakeRow(1, "a", 1), MakeRow(2, "b", 2)}));
  EXPECT_EQ(driver.CountControl("ledger", "run_id = 'r1'"), 1);
}

TEST_P(TargetConformance, ProbeTellsTheTruth) {
  const TargetDriver driver = Driver(v1::LOAD_STRATEGY_INCREMENTAL);
  const RunIdentity run = driver.Run("r1", 1);
  auto probe = driver.Probe(run);
  ASSERT_TRUE(probe.ok()) << probe.status();
  EXPECT_FALSE(probe->committed());
  EXPECT_FALSE(probe->staging_exists());
  ASSERT_TRUE(driver.Prepare(run).ok());
  ASSERT_TRUE(driver.Move(run, 3, {MakeRow(1, "a", 1), MakeRow(2, "b", 2)}).ok());
  probe = driver.Probe(run);
  ASSERT_TRUE(probe.ok()) << probe.status();
  EXPECT_FALSE(probe->committed());
  EXPECT_TRUE(probe->staging_exists());
  ASSERT_EQ(probe->moves_size(), 1);
  EXPECT_EQ(probe->moves(0).partition(), 3);
  EXPECT_EQ(probe->moves(0).rows(), 2);
  v1::CommitWork work;
  *work.mutable_window() = TargetDriver::WindowOf(kWindow, -1, 10);
  *work.mutable_schema() = RowSchema();
  *work.add_moves() = probe->moves(0);
  ASSERT_TRUE(driver.Open()->Commit(run, work).ok());
  probe = driver.Probe(run);
  ASSERT_TRUE(probe.ok()) << probe.status();
  EXPECT_TRUE(probe->committed());
  EXPECT_FALSE(probe->staging_exists());
  EXPECT_EQ(Balance(probe->counts()), "read 2 = loaded 2 + filtered 0 + quarantined 0");
  EXPECT_EQ(probe->high().text(), work.window().high().text());
}

TEST_P(TargetConformance, AbortLeavesNothing) {
  const TargetDriver driver = Driver(v1::LOAD_STRATEGY_INCREMENTAL);
  const RunIdentity run = driver.Run("r1", 1);
  EXPECT_TRUE(driver.Open()->Abort(run).ok()) << "there is nothing to abort yet";
  ASSERT_TRUE(driver.Prepare(run).ok());
  ASSERT_TRUE(driver.Move(run, 0, {MakeRow(1, "a", 1)}).ok());
  for (int i = 0; i < 2; ++i) {
    const absl::Status aborted = driver.Open()->Abort(run);
    ASSERT_TRUE(aborted.ok()) << aborted;
  }
  EXPECT_THAT(driver.Tables(), IsEmpty());
  EXPECT_EQ(driver.CountControl("moves", "run_id = 'r1'"), 0);
  EXPECT_FALSE(driver.Move(run, 1, {MakeRow(2, "b", 2)}).ok()) << "an aborted run must not be written to";
  EXPECT_FALSE(driver.Commit(run, TargetDriver::WindowOf(kWindow, -1, 1), {1}).ok());
  // What is committed stays.
  ASSERT_TRUE(driver.Load(driver.Run("r2", 2), TargetDriver::WindowOf(kWindow, -1, 1), {{MakeRow(3, "c", 1)}}).ok());
  ASSERT_TRUE(driver.Open()->Abort(driver.Run("r2", 2)).ok());
  EXPECT_TRUE(driver.Probe(driver.Run("r2", 2))->committed());
  EXPECT_EQ(driver.Loaded(), Sorted({MakeRow(3, "c", 1)}));
}

TEST_P(TargetConformance, AFullLoadTakesTheTablesPlace) {
  TargetDriver driver = Driver(v1::LOAD_STRATEGY_FULL);
  driver.job().mutable_source()->clear_watermark();
  const v1::Window window = TargetDriver::WindowOf(kFull, -1, -1);
  ASSERT_TRUE(driver.Load(driver.Run("r1", 1), window, {{MakeRow(1, "a", 1)}, {MakeRow(2, "b", 2)}}).ok());
  EXPECT_EQ(driver.Loaded(), Sorted({MakeRow(1, "a", 1), MakeRow(2, "b", 2)}));
  const auto sql = driver.Sql();
  sql->Exec("CREATE VIEW notes AS SELECT note FROM loaded");
  sql->Exec("CREATE INDEX loaded_note ON loaded (note)");
  // Both ways a swap may go.
  int sequence = 2;
  for (const v1::SwapMode mode : {v1::SWAP_MODE_AUTO, v1::SWAP_MODE_DELETE_INSERT}) {
    driver.job().mutable_target()->set_swap(mode);
    const std::string note = absl::StrCat("swapped ", sequence);
    const auto swapped =
        driver.Load(driver.Run(absl::StrCat("r", sequence), sequence), window, {{MakeRow(3, note, 3)}, {}});
    ASSERT_TRUE(swapped.ok()) << swapped.status();
    EXPECT_EQ(Balance(swapped->counts()), "read 1 = loaded 1 + filtered 0 + quarantined 0");
    EXPECT_EQ(driver.Loaded(), Sorted({MakeRow(3, note, 3)}));
    EXPECT_EQ(Scalar(*driver.Sql(), "SELECT note FROM notes"), note) << "the view reads the old table";
    EXPECT_EQ(driver.Tables().size(), 2u) << "something was left behind";
    // The index is still there, under its name.
    driver.Sql()->Exec("DROP INDEX loaded_note");
    driver.Sql()->Exec("CREATE INDEX loaded_note ON loaded (note)");
    ++sequence;
  }
}

TEST_P(TargetConformance, AForeignKeyIsNeverBrokenByAFullLoad) {
  TargetDriver driver = Driver(v1::LOAD_STRATEGY_FULL);
  driver.job().mutable_source()->clear_watermark();
  const auto sql = driver.Sql();
  sql->Exec("CREATE TABLE loaded (id bigint PRIMARY KEY, note text, amount numeric(18,2), w timestamp with time zone)");
  sql->Exec("CREATE TABLE child (parent bigint REFERENCES loaded (id))");
  sql->Exec("INSERT INTO loaded (id) VALUES (1)");
  sql->Exec("INSERT INTO child VALUES (1)");
  absl::Status status = driver.Open()->Describe(RowSchema(), {v1::CHUNK_FORMAT_ARROW}).status();
  if (status.ok())
    status = driver.Load(driver.Run("r1", 1), TargetDriver::WindowOf(kFull, -1, -1), {{MakeRow(2, "b", 2)}}).status();
  EXPECT_FALSE(status.ok()) << "child 1 has lost its parent";
  EXPECT_EQ(Scalar(*sql, "SELECT count(*) FROM loaded WHERE id = 1"), "1");
}

TEST_P(TargetConformance, NullKeysGoToQuarantine) {
  const TargetDriver driver = Driver(v1::LOAD_STRATEGY_UPSERT);
  Row nameless = MakeRow(7, "no id", 3);
  nameless.id.reset();
  const auto result = driver.Load(driver.Run("r1", 1), TargetDriver::WindowOf(kWindow, -1, 10),
                                  {{MakeRow(1, "a", 1), nameless}, {nameless}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(Balance(result->counts()), "read 3 = loaded 1 + filtered 0 + quarantined 2");
  EXPECT_EQ(driver.Loaded(), Sorted({MakeRow(1, "a", 1)}));
  EXPECT_EQ(driver.CountControl("quarantine", "run_id = 'r1'"), 2);
  const auto sql = driver.Sql();
  const std::string payload = Scalar(*sql, absl::StrCat("SELECT payload FROM ", store_->ControlTable("quarantine")));
  EXPECT_THAT(payload, HasSubstr("no id"));
  EXPECT_THAT(payload, HasSubstr("7.07"));
}

TEST_P(TargetConformance, UpsertKeepsTheLatestAndSaysWhatItDidWithTheRest) {
  const TargetDriver driver = Driver(v1::LOAD_STRATEGY_UPSERT);
  ASSERT_TRUE(
      driver
          .Load(driver.Run("r1", 1), TargetDriver::WindowOf(kWindow, -1, 100),
                {{MakeRow(1, "one", 50), MakeRow(2, "two", 50), MakeRow(3, "three", 50), MakeRow(4, "four", 50)}})
          .ok());
  // 1: newer. 2: older than the target's. 3: the very same. 4: of the same age, changed. 5: three versions. 6: two
  // contents of one version.
  const auto result =
      driver.Load(driver.Run("r2", 2), TargetDriver::WindowOf(kWindow, 100, 200),
                  {{MakeRow(1, "one'", 60), MakeRow(2, "two'", 40), MakeRow(3, "three", 50), MakeRow(5, "first", 110)},
                   {MakeRow(4, "four'", 50), MakeRow(5, "third", 130), MakeRow(5, "second", 120), MakeRow(6, "x", 150)},
                   {MakeRow(6, "y", 150), MakeRow(5, "third", 130)}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(Balance(result->counts()), "read 10 = loaded 4 + filtered 5 (superseded 4, unchanged 1) + quarantined 1");
  EXPECT_EQ(driver.Loaded(), Sorted({MakeRow(1, "one'", 60), MakeRow(2, "two", 50), MakeRow(3, "three", 50),
                                     MakeRow(4, "four'", 50), MakeRow(5, "third", 130), MakeRow(6, "y", 150)}));
}

TEST_P(TargetConformance, AppendSkipsWhatAnOverlapBringsAgain) {
  TargetDriver driver = Driver(v1::LOAD_STRATEGY_INCREMENTAL);
  driver.job().mutable_target()->add_key("id");
  ASSERT_TRUE(driver
                  .Load(driver.Run("r1", 1), TargetDriver::WindowOf(kWindow, -1, 10),
                        {{MakeRow(1, "a", 1), MakeRow(2, "b", 10)}})
                  .ok());
  v1::Window window = TargetDriver::WindowOf(kWindow, 10, 20);
  window.set_overlap(true);
  const auto result =
      driver.Load(driver.Run("r2", 2), window, {{MakeRow(2, "b", 10), MakeRow(3, "c", 15)}, {MakeRow(1, "a", 1)}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(Balance(result->counts()), "read 3 = loaded 1 + filtered 2 (already_loaded 2) + quarantined 0");
  EXPECT_EQ(driver.Loaded(), Sorted({MakeRow(1, "a", 1), MakeRow(2, "b", 10), MakeRow(3, "c", 15)}));
  driver.job().mutable_target()->clear_key();
  v1::Window next = TargetDriver::WindowOf(kWindow, 20, 30);
  next.set_overlap(true);
  EXPECT_FALSE(driver.Load(driver.Run("r3", 3), next, {{MakeRow(3, "c", 15)}}).ok()) << "without a key nobody can tell";
}

TEST_P(TargetConformance, AChangedRowOfALoadedVersionIsQuarantinedByAnAppend) {
  TargetDriver driver = Driver(v1::LOAD_STRATEGY_INCREMENTAL);
  driver.job().mutable_target()->add_key("id");
  Row unstamped = MakeRow(4, "d", 1);
  unstamped.w.reset();
  const std::vector<Row> first = {MakeRow(1, "a", 1), MakeRow(2, "b", 10), unstamped};
  ASSERT_TRUE(driver.Load(driver.Run("r1", 1), TargetDriver::WindowOf(kWindow, -1, 10), {first}).ok());
  Row unstamped_changed = unstamped;
  unstamped_changed.note = "d changed";
  v1::Window window = TargetDriver::WindowOf(kWindow, 10, 20);
  window.set_overlap(true);
  window.set_nulls(true);
  const auto result = driver.Load(
      driver.Run("r2", 2), window,
      {{MakeRow(1, "a", 1), MakeRow(2, "b changed", 10), MakeRow(3, "c", 15)}, {unstamped, unstamped_changed}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(Balance(result->counts()), "read 5 = loaded 1 + filtered 2 (already_loaded 2) + quarantined 2");
  EXPECT_EQ(driver.Loaded(), Sorted({MakeRow(1, "a", 1), MakeRow(2, "b", 10), unstamped, MakeRow(3, "c", 15)}));
  EXPECT_EQ(driver.CountControl("quarantine", "run_id = 'r2' AND reason = 'conflicting_version'"), 2);
}

// Random runs against a model that is easy to believe.
TEST_P(TargetConformance, ManyRunsEqualTheModel) {
  for (const v1::LoadStrategy strategy : {v1::LOAD_STRATEGY_UPSERT, v1::LOAD_STRATEGY_INCREMENTAL}) {
    TargetDriver driver = Driver(strategy);
    Rng rng(strategy);
    std::map<int64_t, Row> latest;
    std::vector<Row> appended;
    int64_t low = -1;
    for (int run = 1; run <= 6; ++run) {
      const int64_t high = run * 100;
      std::vector<std::vector<Row>> partitions(1 + rng.Below(4));
      int64_t read = 0;
      for (std::vector<Row>& rows : partitions) {
        for (uint64_t n = rng.Below(40); n > 0; --n, ++read) {
          Row row = MakeRow(static_cast<int64_t>(rng.Below(30)), "", high - static_cast<int64_t>(rng.Below(100)));
          // A version of a key has one content.
          row.cents = *row.id * 100'000 + *row.w;
          row.note = *row.w % 5 == 0 ? std::nullopt : std::optional(absl::StrCat("v", *row.w % 3));
          rows.push_back(row);
        }
      }
      const auto result =
          driver.Load(driver.Run(absl::StrCat("r", run), run), TargetDriver::WindowOf(kWindow, low, high), partitions);
      ASSERT_TRUE(result.ok()) << result.status();
      const v1::RowCounts& counts = result->counts();
      EXPECT_EQ(counts.read(), read);
      EXPECT_EQ(counts.read(), counts.loaded() + counts.filtered() + counts.quarantined()) << Balance(counts);
      EXPECT_EQ(counts.quarantined(), 0);
      int64_t loaded = 0;
      std::map<int64_t, Row> winners;
      for (const std::vector<Row>& rows : partitions) {
        for (const Row& row : rows) {
          appended.push_back(row);
          Row& winner = winners.try_emplace(*row.id, row).first->second;
          if (*row.w >= *winner.w) winner = row;
        }
      }
      for (const auto& [id, row] : winners) {
        const auto known = latest.find(id);
        if (known != latest.end() && (*known->second.w > *row.w || known->second == row)) continue;
        latest[id] = row;
        ++loaded;
      }
      if (strategy == v1::LOAD_STRATEGY_UPSERT) {
        EXPECT_EQ(counts.loaded(), loaded) << Balance(counts);
        std::vector<Row> model;
        for (const auto& [id, row] : latest) model.push_back(row);
        EXPECT_EQ(driver.Loaded(), Sorted(model));
      } else {
        EXPECT_EQ(counts.loaded(), read);
        EXPECT_EQ(driver.Loaded(), Sorted(appended));
      }
      low = high;
    }
    EXPECT_EQ(driver.Tables().size(), 1u) << "staging was left behind";
    EXPECT_EQ(driver.CountControl("moves", "1 = 1"), 0);
    EXPECT_EQ(driver.CountControl("ledger", "1 = 1"), 6);
  }
}

TEST_P(TargetConformance, MovesOfOneRunMayRunTogether) {
  const TargetDriver driver = Driver(v1::LOAD_STRATEGY_INCREMENTAL);
  const RunIdentity run = driver.Run("r1", 1);
  ASSERT_TRUE(driver.Prepare(run).ok());
  std::vector<std::thread> movers;
  std::vector<absl::Status> statuses(6);
  for (int partition = 0; partition < 6; ++partition) {
    movers.emplace_back([&, partition] {
      std::vector<Row> rows;
      for (int i = 0; i < 200; ++i) rows.push_back(MakeRow(partition * 1000 + i, "together", i));
      statuses[static_cast<size_t>(partition)] = driver.Move(run, partition, rows).status();
    });
  }
  for (std::thread& mover : movers) mover.join();
  for (const absl::Status& status : statuses) EXPECT_TRUE(status.ok()) << status;
  const auto result = driver.Commit(run, TargetDriver::WindowOf(kWindow, -1, 200), std::vector<int64_t>(6, 200));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(driver.Loaded().size(), 1200u);
}

TEST_P(TargetConformance, CancelEndsALoad) {
  const TargetDriver driver = Driver(v1::LOAD_STRATEGY_INCREMENTAL);
  const RunIdentity run = driver.Run("r1", 1);
  ASSERT_TRUE(driver.Prepare(run).ok());
  const auto session = driver.Open();
  auto writer = session->BeginMove(run, 0, RowSchema(), v1::CHUNK_FORMAT_ARROW);
  ASSERT_TRUE(writer.ok());
  std::vector<Row> rows;
  for (int i = 0; i < 1000; ++i) rows.push_back(MakeRow(i, "never", i));
  const Chunk chunk = RowChunk(rows);
  ASSERT_TRUE((*writer)->Write(chunk).ok());
  std::thread([&] { session->Cancel(); }).join();
  const absl::Time begin = absl::Now();
  absl::Status status;
  for (int i = 0; i < 2000 && status.ok(); ++i) status = (*writer)->Write(chunk);
  if (status.ok()) status = (*writer)->Commit().status();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_LT(absl::Now() - begin, absl::Seconds(10));
  writer->reset();
  EXPECT_FALSE(driver.Probe(run)->moves_size() > 0);
}

INSTANTIATE_TEST_SUITE_P(Stores, TargetConformance, ::testing::ValuesIn(SqlStores()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace tidemark::conformance
