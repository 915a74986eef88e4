// Runs whose source has replicas.
#include "coordinator/run/coordinator_steps.h"

namespace tidemark::coordinator {
namespace {

using testing::ElementsAre;

constexpr char kPrimary[] = "postgresql://primary/shop";

class ReplicasTest : public CoordinatorSteps {
 protected:
  ReplicasTest() {
    Boot();
    source_ = Connection("src", kPrimary, 1);
    source_.add_replicas("postgresql://one/shop");
    source_.add_replicas("postgresql://two/shop");
    job_.mutable_retry()->mutable_backoff()->set_nanos(1'000'000);
  }

  std::string Start(v1::LoadStrategy strategy) {
    job_.mutable_target()->set_strategy(strategy);
    const absl::Status applied =
        core_->ApplyProject({source_, Connection("dst", "postgresql://host/warehouse", 2)}, {job_});
    EXPECT_TRUE(applied.ok()) << applied;
    Register(4);
    return core_->StartRun("job", request_).value();
  }

  // Answers the probe of the primary, and returns the describe.
  v1::Task Probe() {
    const v1::Task task = Next(v1::Task::kReadPoint);
    EXPECT_EQ(task.source().dsn(), kPrimary);
    EXPECT_TRUE(task.source().replicas().empty());
    v1::CompleteTaskRequest request = Report(task, v1::SessionState::STATE_CLOSED);
    v1::ReadPoint& point = *request.mutable_read_point();
    point.set_position("0/77");
    point.set_source_identity("server-1");
    *point.mutable_high() = SimulatedWatermark(1000);
    EXPECT_EQ(Complete(request), absl::OkStatus());
    return Next(v1::Task::kDescribe);
  }

  static v1::TaskError Unfit() {
    v1::TaskError error = SimulatedError(14, "the replica lags", /*retryable=*/true);
    error.set_at_source(true);
    error.set_replica_unfit(true);
    return error;
  }

  v1::Task Again(v1::Task::WorkCase kind) {
    TickFor(absl::Milliseconds(100));
    return Next(kind);
  }

  std::vector<std::string> Servers(const std::string& run) {
    const v1::DescribeResult description = *core_->GetRun(run)->description;
    return {description.servers().begin(), description.servers().end()};
  }

  v1::ConnectionSpec source_;
  v1::JobSpec job_ = Job("job");
  RunRequest request_;
};

TEST_F(ReplicasTest, TheirRowsRestOnWhatTheirPrimarySaid) {
  const std::string run = Start(v1::LOAD_STRATEGY_FULL);
  const v1::Task describe = Probe();
  EXPECT_EQ(describe.source().dsn(), "postgresql://one/shop");
  EXPECT_EQ(describe.describe().read_point().position(), "0/77");
  EXPECT_EQ(core_->budget().Held("src"), 0) << "the primary's session is given back";
  ASSERT_EQ(Describe(describe, 1000), absl::OkStatus());
  const v1::Task first = Next(v1::Task::kMove);
  EXPECT_EQ(first.session().session_id(), describe.session().session_id());
  EXPECT_TRUE(Poll().empty()) << "the replica has one session to give, and the snapshot is on no other";
  ASSERT_EQ(Move(first, 500), absl::OkStatus());
  ASSERT_EQ(Move(Next(v1::Task::kMove), 500), absl::OkStatus());
  EXPECT_THAT(Servers(run), ElementsAre("replica postgresql://one:5432/shop"));
}

TEST_F(ReplicasTest, RangesWithoutASnapshotAreReadOnAnyOfThemAndInPiecesAfterAFailure) {
  request_.from = "100";
  request_.to = "1000";
  const std::string run = Start(v1::LOAD_STRATEGY_UPSERT);
  v1::CompleteTaskRequest described = Described(Probe(), 1000);
  described.mutable_describe()->set_has_snapshot(false);
  described.mutable_describe()->clear_snapshot();
  described.mutable_sessions(0)->set_state(v1::SessionState::STATE_CLOSED);
  ASSERT_EQ(Complete(described), absl::OkStatus());
  const v1::Task first = Next(v1::Task::kMove);
  const v1::Task second = Next(v1::Task::kMove);
  EXPECT_NE(first.source().dsn(), second.source().dsn());
  EXPECT_NE(first.source().dsn(), kPrimary);
  EXPECT_NE(second.source().dsn(), kPrimary);
  EXPECT_EQ(first.move().position(), "0/77");
  EXPECT_EQ(first.move().pieces(), 0);
  v1::TaskError cancelled = SimulatedError(10, "canceling statement due to conflict with recovery", /*retryable=*/true);
  cancelled.set_at_source(true);
  ASSERT_EQ(Fail(first, cancelled), absl::OkStatus());
  const v1::Task shorter = Again(v1::Task::kMove);
  EXPECT_EQ(shorter.source().dsn(), first.source().dsn());
  EXPECT_EQ(shorter.move().pieces(), 8);
  ASSERT_EQ(Move(second, 500), absl::OkStatus());
  ASSERT_EQ(Fail(shorter, cancelled), absl::OkStatus());
  const v1::Task elsewhere = Again(v1::Task::kMove);
  EXPECT_EQ(elsewhere.source().dsn(), second.source().dsn());
  EXPECT_EQ(elsewhere.move().pieces(), 32);
}

TEST_F(ReplicasTest, OneThatIsUnfitIsLeftAlone) {
  Start(v1::LOAD_STRATEGY_FULL);
  ASSERT_EQ(Fail(Probe(), Unfit()), absl::OkStatus());
  const v1::Task elsewhere = Again(v1::Task::kDescribe);
  EXPECT_EQ(elsewhere.source().dsn(), "postgresql://two/shop");
  EXPECT_EQ(elsewhere.describe().read_point().position(), "0/77") << "the primary is not asked again";
  ASSERT_EQ(Fail(elsewhere, Unfit()), absl::OkStatus());
  // Nothing else is left, and the primary is not for reading.
  EXPECT_EQ(Again(v1::Task::kDescribe).source().dsn(), "postgresql://one/shop");
}

TEST_F(ReplicasTest, ThePrimaryServesWhereItMay) {
  source_.set_fallback_to_primary(true);
  const std::string run = Start(v1::LOAD_STRATEGY_FULL);
  ASSERT_EQ(Fail(Probe(), Unfit()), absl::OkStatus());
  ASSERT_EQ(Fail(Again(v1::Task::kDescribe), Unfit()), absl::OkStatus());
  const v1::Task describe = Again(v1::Task::kDescribe);
  EXPECT_EQ(describe.source().dsn(), kPrimary);
  ASSERT_EQ(Describe(describe, 1000), absl::OkStatus());
  EXPECT_THAT(Servers(run), ElementsAre("replica postgresql://one:5432/shop", "replica postgresql://two:5432/shop",
                                        "primary postgresql://primary:5432/shop"));
}

TEST_F(ReplicasTest, ABusyReplicaIsWaitedForThoughThePrimaryMayServe) {
  source_.set_fallback_to_primary(true);
  source_.mutable_replicas()->RemoveLast();
  Start(v1::LOAD_STRATEGY_FULL);
  ASSERT_EQ(Describe(Probe(), 1000), absl::OkStatus());
  v1::JobSpec other = Job("other");
  ASSERT_EQ(core_->ApplyProject({source_, Connection("dst", "postgresql://host/warehouse", 2)}, {job_, other}),
            absl::OkStatus());
  ASSERT_TRUE(core_->StartRun("other", {}).ok());
  Next(v1::Task::kMove);
  v1::CompleteTaskRequest probed = Report(Next(v1::Task::kReadPoint), v1::SessionState::STATE_CLOSED);
  probed.mutable_read_point()->set_position("0/78");
  ASSERT_EQ(Complete(probed), absl::OkStatus());
  EXPECT_TRUE(Poll().empty());
}

TEST_F(ReplicasTest, ASnapshotThatIsLostThereIsOpenedElsewhere) {
  job_.mutable_source()->clear_watermark();
  Start(v1::LOAD_STRATEGY_FULL);
  v1::TaskError lost = SimulatedError(10, "canceling statement due to conflict with recovery", /*retryable=*/true);
  lost.set_at_source(true);
  lost.set_snapshot_lost(true);
  ASSERT_EQ(Describe(Probe(), 1000), absl::OkStatus());
  ASSERT_EQ(Fail(Next(v1::Task::kMove), lost), absl::OkStatus());
  ASSERT_EQ(Complete([&] {
              v1::CompleteTaskRequest request = Report(Again(v1::Task::kAbort), v1::SessionState::STATE_CLOSED);
              request.mutable_abort();
              return request;
            }()),
            absl::OkStatus());
  EXPECT_EQ(Probe().source().dsn(), "postgresql://two/shop") << "the snapshot was lost on the other one";
}

}  // namespace
}  // namespace tidemark::coordinator
