// The tasks that are one question or one command to a session.
#include <gtest/gtest.h>

#include "worker/task/abort.h"
#include "worker/task/commit.h"
#include "worker/task/fake_source.h"
#include "worker/task/fake_target.h"
#include "worker/task/horizon.h"
#include "worker/task/probe.h"

namespace tidemark {
namespace {

class LedgerTasksTest : public testing::Test {
 protected:
  LedgerTasksTest() { task_.set_run_id("run-1"); }

  void SetCounts(int64_t read, int64_t loaded, int64_t filtered) {
    absl::MutexLock lock(&target_->mutex);
    v1::RowCounts& counts = *target_->commit_result.mutable_counts();
    counts.set_read(read);
    counts.set_loaded(loaded);
    counts.set_filtered(filtered);
    (*counts.mutable_filtered_by_reason())["superseded"] = filtered;
  }

  std::shared_ptr<test::FakeTarget> target_ = std::make_shared<test::FakeTarget>();
  std::unique_ptr<TargetSession> session_ = *test::FakeTargetSession::Open(target_);
  v1::Task task_;
};

TEST_F(LedgerTasksTest, ACommitMustBalanceAndBeOfTheStagedRows) {
  for (const int64_t rows : {4, 6}) {
    v1::StagedMove& move = *task_.mutable_commit()->add_moves();
    move.set_rows(rows);
  }
  SetCounts(10, 7, 3);
  ASSERT_TRUE(Commit(task_, *session_).ok());
  SetCounts(10, 7, 2);
  EXPECT_EQ(Commit(task_, *session_).status().code(), absl::StatusCode::kInternal);
  SetCounts(9, 7, 2);
  EXPECT_EQ(Commit(task_, *session_).status().code(), absl::StatusCode::kInternal);
}

TEST_F(LedgerTasksTest, AbortAndProbeAreOfTheRun) {
  ASSERT_TRUE(Abort(task_, *session_).ok());
  EXPECT_EQ(target_->Calls(), std::vector<std::string>{"abort run-1"});
  EXPECT_TRUE(Probe(task_, *session_)->committed());
}

TEST_F(LedgerTasksTest, TheHorizonIsAskedForThePointOfTheWait) {
  auto source = std::make_shared<test::FakeSource>();
  test::FakeSourceSession session(source);
  task_.mutable_horizon()->mutable_until()->set_text("300");
  EXPECT_FALSE(ProbeHorizon(task_, session)->reached());
  source->reached = true;
  EXPECT_TRUE(ProbeHorizon(task_, session)->reached());
  EXPECT_EQ(source->Calls(), (std::vector<std::string>{"reached 300", "reached 300"}));
}

}  // namespace
}  // namespace tidemark
