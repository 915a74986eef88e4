#include "worker/task/read_point.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "worker/task/describe.h"
#include "worker/task/fake_source.h"
#include "worker/task/fake_target.h"
#include "worker/task/task_error.h"

namespace tidemark {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

class ReadPointTest : public testing::Test {
 protected:
  ReadPointTest() {
    task_.mutable_job()->mutable_source()->set_watermark("updated_at");
    task_.mutable_job()->mutable_target()->set_strategy(v1::LOAD_STRATEGY_INCREMENTAL);
    v1::Window& window = *task_.mutable_read_point()->mutable_window();
    window.set_kind(v1::WINDOW_KIND_WINDOW);
    window.mutable_low()->set_text("100");
  }

  absl::StatusOr<v1::ReadPoint> Fix() {
    test::FakeSourceSession source(source_);
    return FixReadPoint(task_, source);
  }

  // A describe that reads a replica.
  absl::StatusOr<v1::DescribeResult> DescribeReplica(const v1::ReadPoint& point) {
    v1::Task task = task_;
    *task.mutable_describe()->mutable_window() = task_.read_point().window();
    *task.mutable_describe()->mutable_read_point() = point;
    test::FakeSourceSession source(replica_);
    auto target = test::FakeTargetSession::Open(target_);
    EXPECT_TRUE(target.ok());
    return Describe(task, source, **target);
  }

  std::shared_ptr<test::FakeSource> source_ = std::make_shared<test::FakeSource>();
  std::shared_ptr<test::FakeSource> replica_ = std::make_shared<test::FakeSource>();
  std::shared_ptr<test::FakeTarget> target_ = std::make_shared<test::FakeTarget>();
  v1::Task task_;
};

TEST_F(ReadPointTest, ThePositionIsAskedAfterTheProbe) {
  source_->probe.effective_low.emplace().set_text("90");
  source_->probe.hold = absl::Seconds(1.5);
  const auto point = Fix();
  ASSERT_TRUE(point.ok()) << point.status();
  EXPECT_THAT(source_->Calls(), ElementsAre("identity", "probe above 100", "position"));
  EXPECT_EQ(point->position(), "0/1000");
  EXPECT_EQ(point->source_identity(), "server-1");
  EXPECT_EQ(point->high().text(), "200");
  EXPECT_EQ(point->effective_low().text(), "90");
  EXPECT_DOUBLE_EQ(point->horizon_hold_seconds(), 1.5);
  EXPECT_EQ(point->completeness().level(), v1::Completeness::LEVEL_PROVED);
}

TEST_F(ReadPointTest, TheProbeKnowsHowTheLastWindowEnded) {
  task_.mutable_read_point()->mutable_last_completeness()->set_lookback_seconds(900);
  task_.mutable_read_point()->set_last_source_identity("server-0");
  ASSERT_TRUE(Fix().ok());
  EXPECT_EQ(source_->last_window->lookback, absl::Minutes(15));
  EXPECT_TRUE(source_->last_window->other_source);
}

TEST_F(ReadPointTest, WithoutAWatermarkItIsThePositionAlone) {
  task_.mutable_job()->mutable_source()->clear_watermark();
  const auto point = Fix();
  ASSERT_TRUE(point.ok()) << point.status();
  EXPECT_THAT(source_->Calls(), ElementsAre("identity", "position"));
  EXPECT_FALSE(point->has_high());
}

TEST_F(ReadPointTest, ADescribeOfAReplicaWaitsFirstAndProbesNothing) {
  const auto point = Fix();
  ASSERT_TRUE(point.ok());
  replica_->lag = absl::Seconds(2);
  replica_->probe_error = absl::InternalError("a replica is not probed");
  const auto described = DescribeReplica(*point);
  ASSERT_TRUE(described.ok()) << described.status();
  EXPECT_THAT(replica_->Calls(), ElementsAre("await 0/1000", "identity", "describe", "rows above 200", "partitions"));
  EXPECT_EQ(described->high().text(), "200");
  EXPECT_EQ(described->completeness().level(), v1::Completeness::LEVEL_PROVED);
  EXPECT_DOUBLE_EQ(described->replica_lag_seconds(), 2);
}

TEST_F(ReadPointTest, AReplicaThatIsLateOrOfAnotherPrimaryIsUnfit) {
  const auto point = Fix();
  ASSERT_TRUE(point.ok());
  task_.mutable_source()->mutable_max_lag()->set_seconds(1);
  replica_->lag = absl::Seconds(2);
  const auto late = DescribeReplica(*point);
  v1::TaskError error = ToTaskError(late.status(), task_);
  EXPECT_TRUE(error.replica_unfit() && error.retryable() && error.at_source()) << late.status();
  replica_->lag = absl::ZeroDuration();
  replica_->description.identity = "server-2";
  const auto other = DescribeReplica(*point);
  error = ToTaskError(other.status(), task_);
  EXPECT_TRUE(error.replica_unfit() && error.retryable() && error.at_source()) << other.status();
  EXPECT_THAT(error.message(), HasSubstr("it follows server-2, the primary is server-1"));
}

}  // namespace
}  // namespace tidemark
