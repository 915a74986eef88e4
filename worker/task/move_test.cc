// Both halves of a move, driven by one thread on a simulated clock.
#include "worker/task/move.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <filesystem>
#include <thread>

#include "absl/synchronization/notification.h"

#include "worker/task/fake_source.h"
#include "worker/task/fake_target.h"
#include "worker/task/task_error.h"

namespace tidemark {
namespace {

using testing::HasSubstr;

class MoveTest : public testing::Test {
 protected:
  MoveTest() {
    std::string path = (std::filesystem::temp_directory_path() / "move_test_XXXXXX").string();
    EXPECT_NE(mkdtemp(path.data()), nullptr);
    directory_ = path;
    task_.set_run_id("run-1");
    task_.mutable_move()->set_partition(5);
    task_.mutable_move()->set_format(v1::CHUNK_FORMAT_PG_COPY_BINARY);
    task_.mutable_job()->mutable_retry()->set_attempts(4);
    task_.mutable_job()->mutable_retry()->mutable_backoff()->set_seconds(2);
    rate_.SetRate(0);
    OpenSpill(1 << 20);
  }
  ~MoveTest() override {
    spill_.reset();
    std::filesystem::remove_all(directory_);
  }

  void OpenSpill(int64_t memory_share) {
    SpillOptions options;
    options.directory = directory_;
    options.name = "task";
    options.memory_share = memory_share;
    auto spill = tidemark::OpenSpill(options, &budget_);
    ASSERT_TRUE(spill.ok());
    spill_ = *std::move(spill);
  }

  // Runs the extract, then the load, waiting on the simulated clock. The load's last word.
  absl::Status Move() {
    // The load has the last word: it gets the extract's error too.
    Extract().IgnoreError();
    return Load();
  }

  absl::Status Extract() {
    test::FakeSourceSession session(source_);
    MoveExtract extract(task_.move(), absl::Seconds(30), &session, spill_.get(), &rate_, &clock_, &progress_);
    return Drive(extract);
  }

  absl::Status Load() {
    MoveLoad load(
        task_,
        [&]() -> absl::StatusOr<std::unique_ptr<TargetSession>> { return test::FakeTargetSession::Open(target_); },
        &slot_, spill_.get(), &clock_, &rng_, &progress_);
    const absl::Status status = Drive(load);
    result_ = load.result();
    return status;
  }

  template <class Machine>
  absl::Status Drive(Machine& machine) {
    while (true) {
      const auto step = machine.Run();
      if (!step.ok()) return step.status();
      if (step->kind == Step::Kind::kDone) return absl::OkStatus();
      EXPECT_NE(step->kind, Step::Kind::kBlocked);
      if (step->kind == Step::Kind::kWait) {
        ++waits_;
        EXPECT_EQ(target_->Open(), 0) << "a session is held over a wait";
        clock_.Advance(step->wait);
      }
    }
  }

  std::string directory_;
  SimulatedClock clock_;
  Rng rng_{1};
  MemoryBudget budget_{1 << 20};
  RateLimiter rate_{&clock_};
  std::shared_ptr<test::FakeSource> source_ = std::make_shared<test::FakeSource>();
  std::shared_ptr<test::FakeTarget> target_ = std::make_shared<test::FakeTarget>();
  SessionSlot<TargetSession> slot_;
  std::unique_ptr<Spill> spill_;
  MoveProgress progress_;
  v1::Task task_;
  v1::MoveResult result_;
  int waits_ = 0;
};

TEST_F(MoveTest, CarriesEveryRow) {
  ASSERT_EQ(Move(), absl::OkStatus());
  EXPECT_EQ(result_.counts().read(), 30);
  EXPECT_GT(result_.counts().bytes_read(), 0);
  EXPECT_FALSE(result_.already_done());
  EXPECT_TRUE(progress_.extracted);
  absl::MutexLock lock(&target_->mutex);
  EXPECT_EQ(target_->moves[5].second, std::string(10, 'a') + std::string(10, 'b') + std::string(10, 'c'));
  EXPECT_EQ(target_->open, 0);
}

TEST_F(MoveTest, AnEmptyRangeIsStagedToo) {
  source_->chunks = 0;
  ASSERT_EQ(Move(), absl::OkStatus());
  EXPECT_EQ(result_.counts().read(), 0);
  absl::MutexLock lock(&target_->mutex);
  EXPECT_TRUE(target_->moves.contains(5));
}

TEST_F(MoveTest, AReplicaIsAwaitedAndReadInPieces) {
  v1::MoveWork& work = *task_.mutable_move();
  work.set_source_identity("server-1");
  work.set_position("0/1000");
  work.set_pieces(3);
  source_->facts.set_partitioning(v1::PARTITIONING_KEY);
  source_->facts.add_columns("id");
  source_->facts.set_immutable(true);
  source_->facts.add_quantiles()->add_values("10");
  source_->facts.add_quantiles()->add_values("20");
  ASSERT_EQ(Move(), absl::OkStatus());
  EXPECT_EQ(result_.counts().read(), 90) << "the fake gives its rows to each";
  EXPECT_THAT(source_->Calls(), testing::ElementsAre("await 0/1000", "identity", "partitions"));
  absl::MutexLock lock(&source_->mutex);
  ASSERT_EQ(source_->pieces.size(), 3u);
  EXPECT_FALSE(source_->pieces[0]->has_lower());
  EXPECT_EQ(source_->pieces[0]->upper().values(0), "10");
  EXPECT_EQ(source_->pieces[1]->lower().values(0), "10");
  EXPECT_EQ(source_->pieces[1]->upper().values(0), "20");
  EXPECT_EQ(source_->pieces[2]->lower().values(0), "20");
  EXPECT_FALSE(source_->pieces[2]->has_upper());
}

TEST_F(MoveTest, ARangeOfAKeyThatMayChangeIsNotReadInPieces) {
  task_.mutable_move()->set_position("0/1000");
  task_.mutable_move()->set_source_identity("server-1");
  task_.mutable_move()->set_pieces(3);
  source_->facts.set_partitioning(v1::PARTITIONING_KEY);
  source_->facts.add_columns("id");
  source_->facts.add_quantiles()->add_values("10");
  ASSERT_EQ(Move(), absl::OkStatus());
  absl::MutexLock lock(&source_->mutex);
  ASSERT_EQ(source_->pieces.size(), 1u);
  EXPECT_FALSE(source_->pieces[0].has_value());
}

TEST_F(MoveTest, TheLoadWaitsForTheExtractRowByRow) {
  test::FakeSourceSession session(source_);
  MoveExtract extract(task_.move(), absl::Seconds(30), &session, spill_.get(), &rate_, &clock_, &progress_);
  MoveLoad load(
      task_, [&]() -> absl::StatusOr<std::unique_ptr<TargetSession>> { return test::FakeTargetSession::Open(target_); },
      &slot_, spill_.get(), &clock_, &rng_, &progress_);
  EXPECT_EQ(load.Run()->kind, Step::Kind::kBlocked);
  EXPECT_EQ(target_->Open(), 0);
  ASSERT_TRUE(extract.Run().ok());
  ASSERT_EQ(load.Run()->kind, Step::Kind::kMore);
  EXPECT_EQ(load.Run()->kind, Step::Kind::kMore);
  EXPECT_EQ(progress_.rows_loaded, 10);
  EXPECT_EQ(load.Run()->kind, Step::Kind::kBlocked);
}

TEST_F(MoveTest, ATargetThatWasDownIsLoadedFromTheSpill) {
  for (const int64_t share : {int64_t{1} << 20, int64_t{15}, int64_t{0}}) {
    spill_.reset();
    OpenSpill(share);
    progress_.rows_read = 0;
    {
      absl::MutexLock lock(&source_->mutex);
      source_->reads = 0;
    }
    {
      absl::MutexLock lock(&target_->mutex);
      target_->moves.clear();
      target_->open_errors = {absl::OkStatus(), absl::UnavailableError("connection refused")};
      target_->write_errors = {absl::OkStatus(), absl::UnavailableError("server closed the connection")};
      target_->commit_errors = {absl::AbortedError("could not serialize access")};
    }
    waits_ = 0;
    const absl::Duration start = clock_.Monotonic();
    ASSERT_EQ(Move(), absl::OkStatus());
    EXPECT_EQ(waits_, 3);
    EXPECT_GE(clock_.Monotonic() - start, absl::Seconds(1 + 2 + 4));
    EXPECT_EQ(source_->Reads(), 1);
    EXPECT_EQ(target_->MovedRows(), 30);
    EXPECT_EQ(result_.counts().read(), 30);
    EXPECT_EQ(result_.spilled_bytes() > 0, share < 100);
  }
}

TEST_F(MoveTest, ATargetThatStaysDownEndsTheMoveAfterItsAttempts) {
  {
    absl::MutexLock lock(&target_->mutex);
    target_->open_errors = {5, absl::UnavailableError("connection refused")};
  }
  const absl::Status error = Move();
  EXPECT_EQ(error.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(error.message(), "connection refused (attempt 4 of 4)");
  EXPECT_EQ(waits_, 3);
  EXPECT_EQ(source_->Reads(), 1);
  // The attempts are not multiplied by those of the task.
  EXPECT_FALSE(ToTaskError(error, task_).retryable());
}

TEST_F(MoveTest, APermanentErrorIsNotTriedAgain) {
  {
    absl::MutexLock lock(&target_->mutex);
    target_->write_errors = {absl::FailedPreconditionError("fence")};
  }
  EXPECT_EQ(Move(), absl::FailedPreconditionError("fence"));
  EXPECT_EQ(waits_, 0);
}

TEST_F(MoveTest, TheSourcesErrorIsTheMoves) {
  source_->failing_chunk = 2;
  source_->chunk_error = absl::DataLossError("the snapshot is gone");
  EXPECT_EQ(Extract().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Load().message(), "the snapshot is gone");
  EXPECT_EQ(waits_, 0);
  EXPECT_EQ(target_->MovedRows(), 0);

  // Also one that would be retryable: not by the load.
  spill_.reset();
  OpenSpill(1 << 20);
  source_->chunk_error = absl::UnavailableError("the source went away");
  EXPECT_EQ(Move(), FromSource(absl::UnavailableError("the source went away")));
  EXPECT_EQ(waits_, 0);
}

TEST_F(MoveTest, ReadsNoOtherSourceThanItsRunDescribed) {
  task_.mutable_move()->set_source_identity("server-2");
  const absl::Status moved = Move();
  EXPECT_TRUE(absl::IsFailedPrecondition(moved)) << moved;
  EXPECT_THAT(std::string(moved.message()), HasSubstr("the source is another one (server-1)"));
  EXPECT_FALSE(IsRetryable(moved));
  EXPECT_EQ(progress_.rows_read, 0);
  OpenSpill(1 << 20);
  task_.mutable_move()->set_source_identity("server-1");
  EXPECT_EQ(Move(), absl::OkStatus());
}

TEST_F(MoveTest, ALostAnswerToCommitIsLookedUp) {
  {
    absl::MutexLock lock(&target_->mutex);
    target_->commit_errors = {absl::UnknownError("connection lost in COMMIT")};
    target_->commits_before_failing = true;
  }
  ASSERT_EQ(Move(), absl::OkStatus());
  EXPECT_EQ(result_.counts().read(), 30);
  EXPECT_EQ(target_->MovedRows(), 30);
  absl::MutexLock lock(&target_->mutex);
  EXPECT_EQ(target_->calls, (std::vector<std::string>{"begin move", "loaded moves"}));
}

TEST_F(MoveTest, ALostCommitThatDidNotHappenIsDoneAgain) {
  {
    absl::MutexLock lock(&target_->mutex);
    target_->commit_errors = {absl::UnknownError("connection lost in COMMIT")};
  }
  ASSERT_EQ(Move(), absl::OkStatus());
  EXPECT_EQ(target_->MovedRows(), 30);
  absl::MutexLock lock(&target_->mutex);
  EXPECT_EQ(target_->calls, (std::vector<std::string>{"begin move", "loaded moves", "begin move"}));
}

TEST_F(MoveTest, LostAnswersEndTheMoveWithTheErrorOfItsLastAttempt) {
  {
    absl::MutexLock lock(&target_->mutex);
    target_->commit_errors = {absl::UnknownError("connection lost in COMMIT")};
    target_->open_errors = {absl::OkStatus(), absl::UnavailableError("1"), absl::UnavailableError("2"),
                            absl::UnavailableError("3")};
  }
  EXPECT_EQ(Move().message(), "3 (attempt 4 of 4)");

  spill_.reset();
  OpenSpill(1 << 20);
  progress_.rows_read = 0;
  {
    absl::MutexLock lock(&target_->mutex);
    target_->commit_errors = {4, absl::UnknownError("connection lost in COMMIT")};
  }
  const absl::Status unknown = Move();
  EXPECT_EQ(unknown.message(), "connection lost in COMMIT (attempt 4 of 4)");
  EXPECT_FALSE(ToTaskError(unknown, task_).outcome_unknown()) << "a run that failed asks nobody what was staged";
}

TEST_F(MoveTest, WhatAnEarlierAttemptStagedIsWhatCounts) {
  {
    absl::MutexLock lock(&target_->mutex);
    target_->moves[5] = {28, "rows of then"};
  }
  ASSERT_EQ(Move(), absl::OkStatus());
  EXPECT_TRUE(result_.already_done());
  EXPECT_EQ(result_.counts().read(), 28);
  EXPECT_EQ(target_->MovedRows(), 28);
}

TEST_F(MoveTest, RowsThatDoNotAddUpFailTheMove) {
  {
    absl::MutexLock lock(&target_->mutex);
    target_->reported_rows = 29;
  }
  const absl::Status status = Move();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("29"));
}

TEST_F(MoveTest, ADamagedSpillIsNotLoaded) {
  OpenSpill(0);
  ASSERT_EQ(Extract(), absl::OkStatus());
  const int file = open((directory_ + "/task.spill").c_str(), O_RDWR);
  ASSERT_GE(file, 0);
  ASSERT_EQ(pwrite(file, "?", 1, spill_->spilled_bytes() - 1), 1);
  close(file);
  EXPECT_EQ(Load().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(target_->MovedRows(), 0);
  EXPECT_EQ(waits_, 0);
}

// A load whose chunks are all in the spill, on a thread of its own once Start is called.
struct Loading {
  Loading(v1::Task task, const std::vector<std::string>& chunks, int64_t memory_share, const SpillOptions& base,
          MemoryBudget* budget, std::shared_ptr<test::FakeTarget> target, const Clock* clock, Rng* rng) {
    SpillOptions options = base;
    options.name = std::to_string(task.move().partition());
    options.memory_share = memory_share;
    options.in_flight = 100;
    spill = *OpenSpill(options, budget);
    for (const std::string& text : chunks) {
      progress.rows_read += static_cast<int64_t>(text.size());
      EXPECT_TRUE(spill->Append(Chunk::FromPgTuples(text, static_cast<int64_t>(text.size()))).ok());
    }
    spill->Finish(absl::OkStatus());
    load.emplace(
        task,
        [target]() -> absl::StatusOr<std::unique_ptr<TargetSession>> { return test::FakeTargetSession::Open(target); },
        &slot, spill.get(), clock, rng, &progress);
  }
  ~Loading() {
    if (thread.joinable()) thread.join();
  }

  void Start() {
    thread = std::thread([this] {
      absl::StatusOr<Step> step = Step::More();
      while (step.ok() && step->kind == Step::Kind::kMore) step = load->Run();
      status = step.status();
      over.Notify();
    });
  }
  // Whether it ends by itself. What it kept is given back, as at the end of a task.
  bool Ends() {
    const bool ended = over.WaitForNotificationWithTimeout(absl::Seconds(10));
    spill->Cancel();
    slot.Cancel();
    thread.join();
    load.reset();
    spill.reset();
    return ended;
  }

  std::unique_ptr<Spill> spill;
  SessionSlot<TargetSession> slot;
  MoveProgress progress;
  std::optional<MoveLoad> load;
  absl::Notification over;
  absl::Status status;
  std::thread thread;
};

TEST_F(MoveTest, WhoHasTheTurnToWriteDoesNotWaitForMemory) {
  {
    absl::MutexLock lock(&target_->mutex);
    target_->one_writer = true;
  }
  SpillOptions base;
  base.directory = directory_;
  v1::Task other_task = task_;
  other_task.mutable_move()->set_partition(6);
  const std::string small(50, 's');
  // Larger than its share: it needs the whole budget. And one that needs only more than is left.
  for (const int64_t share : {int64_t{100}, int64_t{950'000}}) {
    {
      absl::MutexLock lock(&target_->mutex);
      target_->moves.clear();
    }
    const std::string large(900'000, 'l');
    // What others keep in memory meanwhile.
    const std::vector<std::string> kept(7, std::string(100'000, 'k'));
    Loading without(other_task, kept, 1 << 20, base, &budget_, target_, &clock_, &rng_);
    Loading with_turn(task_, {small, large, small}, share, base, &budget_, target_, &clock_, &rng_);
    ASSERT_EQ(budget_.used(), static_cast<int64_t>(2 * small.size()) + 700'000);
    ASSERT_TRUE(with_turn.load->Run().ok());
    ASSERT_TRUE(with_turn.load->Run().ok());
    EXPECT_EQ(with_turn.progress.rows_loaded, 50);
    without.Start();
    {
      absl::MutexLock lock(&target_->mutex);
      const auto waits = [&] { return target_->waiting_writers == 1; };
      target_->mutex.Await(absl::Condition(&waits));
    }
    with_turn.Start();
    EXPECT_TRUE(without.Ends()) << "waits for its turn";
    EXPECT_TRUE(with_turn.Ends()) << "waits for memory";
    EXPECT_EQ(with_turn.status, absl::OkStatus());
    EXPECT_EQ(without.status, absl::OkStatus());
    absl::MutexLock lock(&target_->mutex);
    EXPECT_TRUE(target_->moves[5].second == small + large + small);
    EXPECT_EQ(target_->moves[6].first, 700'000);
    EXPECT_EQ(target_->open, 0);
  }
  EXPECT_EQ(budget_.used(), 0);
}

TEST_F(MoveTest, ReadsNoFasterThanItsShare) {
  rate_.SetRate(100);
  source_->chunks = 100;
  const absl::Duration start = clock_.Monotonic();
  ASSERT_EQ(Extract(), absl::OkStatus());
  const double seconds = absl::ToDoubleSeconds(clock_.Monotonic() - start);
  EXPECT_NEAR(1000 / seconds, 100, 5);
}

}  // namespace
}  // namespace tidemark
