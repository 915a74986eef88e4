#include "worker/task/describe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "worker/task/fake_source.h"
#include "worker/task/fake_target.h"

namespace tidemark {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class DescribeTest : public testing::Test {
 protected:
  DescribeTest() {
    task_.set_run_id("run-1");
    task_.mutable_job()->mutable_source()->set_watermark("updated_at");
    task_.mutable_job()->mutable_target()->set_strategy(v1::LOAD_STRATEGY_INCREMENTAL);
    task_.mutable_describe()->mutable_window()->set_kind(v1::WINDOW_KIND_WINDOW);
    SetLow("100");
    task_.mutable_describe()->set_wanted_partitions(8);
  }

  void SetLow(const std::string& low) { task_.mutable_describe()->mutable_window()->mutable_low()->set_text(low); }
  v1::Column& Stamp() { return *source_->description.schema.mutable_columns(1); }

  absl::StatusOr<v1::DescribeResult> Run() {
    test::FakeSourceSession source(source_);
    auto target = test::FakeTargetSession::Open(target_);
    EXPECT_TRUE(target.ok());
    return Describe(task_, source, **target);
  }

  std::shared_ptr<test::FakeSource> source_ = std::make_shared<test::FakeSource>();
  std::shared_ptr<test::FakeTarget> target_ = std::make_shared<test::FakeTarget>();
  v1::Task task_;
};

TEST_F(DescribeTest, AnIncrementProbesThenOffersRangesAndPreparesTheTarget) {
  source_->description.estimated_rows = 1000;
  source_->description.notes = {"a note of the source"};
  source_->probe.hold = absl::Seconds(1.5);
  source_->probe.effective_low.emplace().set_text("90");
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(source_->Calls(), ElementsAre("describe", "probe above 100", "rows above 200", "partitions"));
  EXPECT_THAT(target_->Calls(), ElementsAre("describe", "prepare run-1"));
  EXPECT_EQ(result->high().text(), "200");
  EXPECT_EQ(result->effective_low().text(), "90");
  EXPECT_EQ(result->completeness().level(), v1::Completeness::LEVEL_PROVED);
  EXPECT_DOUBLE_EQ(result->horizon_hold_seconds(), 1.5);
  EXPECT_EQ(result->estimated_rows(), 1000);
  EXPECT_EQ(result->source_identity(), "server-1");
  EXPECT_EQ(result->source_schema().columns_size(), 2);
  EXPECT_EQ(result->partition_facts_size(), 1);
  EXPECT_THAT(result->formats(), ElementsAre(v1::CHUNK_FORMAT_PG_COPY_BINARY, v1::CHUNK_FORMAT_ARROW));
  EXPECT_THAT(result->notes(), ElementsAre("a note of the source", "a note of the target", HasSubstr("deletes")));
  EXPECT_FALSE(result->has_snapshot());
  EXPECT_FALSE(result->should_wait());
  absl::MutexLock lock(&source_->mutex);
  EXPECT_EQ(source_->described_window.low().text(), "90");
  EXPECT_EQ(source_->described_window.high().text(), "200");
}

TEST_F(DescribeTest, TheProbeKnowsHowTheLastWindowEnded) {
  ASSERT_TRUE(Run().ok());
  EXPECT_EQ(source_->last_window->lookback, absl::ZeroDuration());
  EXPECT_FALSE(source_->last_window->other_source);
  task_.mutable_describe()->mutable_last_completeness()->set_lookback_seconds(900);
  task_.mutable_describe()->set_last_source_identity("server-1");
  ASSERT_TRUE(Run().ok());
  EXPECT_EQ(source_->last_window->lookback, absl::Minutes(15));
  EXPECT_FALSE(source_->last_window->other_source);
  task_.mutable_describe()->set_last_source_identity("server-0");
  ASSERT_TRUE(Run().ok());
  EXPECT_TRUE(source_->last_window->other_source);
}

TEST_F(DescribeTest, TheFirstWindowProbesBeforeItOpensItsSnapshot) {
  task_.mutable_describe()->mutable_window()->clear_low();
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(source_->Calls(), ElementsAre("describe", "probe", "snapshot", "rows above 200", "partitions"));
  EXPECT_TRUE(result->has_snapshot());
  EXPECT_EQ(result->snapshot(), "snapshot-1");
}

TEST_F(DescribeTest, AFullRefreshReadsOneSnapshotAndTakesTheTargetOver) {
  task_.mutable_describe()->mutable_window()->set_kind(v1::WINDOW_KIND_FULL);
  task_.mutable_describe()->mutable_window()->set_full_refresh(true);
  task_.mutable_describe()->mutable_window()->clear_low();
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->has_snapshot());
  EXPECT_EQ(result->high().text(), "200");
  EXPECT_THAT(target_->Calls(), ElementsAre("describe", "prepare run-1, taking over"));
}

TEST_F(DescribeTest, AnAdoptionTellsOfTheLedgerThatItHasTakenOver) {
  task_.set_cluster_id("here");
  task_.set_job_uid("job-1");
  task_.mutable_describe()->mutable_window()->set_adopt(true);
  const auto own_a_ledger = [&](const std::string& cluster) {
    absl::MutexLock lock(&target_->mutex);
    target_->ledger.set_exists(true);
    target_->ledger.set_cluster_id(cluster);
    target_->ledger.set_job_uid("job-0");
    target_->calls.clear();
  };
  own_a_ledger("elsewhere");
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(target_->Calls(), ElementsAre("describe", "prepare run-1, adopting", "describe"));
  EXPECT_EQ(result->ledger().cluster_id(), "here");
  EXPECT_EQ(result->ledger().job_uid(), "job-1");
  EXPECT_THAT(result->notes(), Contains(HasSubstr("from job job-0 of cluster elsewhere")));

  // Where nothing is to be moved no staging stays behind.
  source_->probe.empty = true;
  for (const bool waits : {false, true}) {
    source_->rows_above = waits;
    own_a_ledger("elsewhere");
    const auto empty = Run();
    ASSERT_TRUE(empty.ok()) << empty.status();
    EXPECT_EQ(empty->should_wait(), waits);
    EXPECT_THAT(target_->Calls(), ElementsAre("describe", "prepare run-1, adopting", "abort run-1", "describe"));
    EXPECT_EQ(empty->ledger().cluster_id(), "here");
  }

  own_a_ledger("elsewhere");
  task_.mutable_describe()->set_dry_run(true);
  EXPECT_EQ(Run()->ledger().cluster_id(), "elsewhere");
  EXPECT_THAT(target_->Calls(), ElementsAre("describe"));
}

TEST_F(DescribeTest, AFullRefreshReplacesWhatItWouldAdopt) {
  task_.mutable_describe()->mutable_window()->set_kind(v1::WINDOW_KIND_FULL);
  task_.mutable_describe()->mutable_window()->set_full_refresh(true);
  task_.mutable_describe()->mutable_window()->set_adopt(true);
  ASSERT_TRUE(Run().ok());
  EXPECT_THAT(target_->Calls(), ElementsAre("describe", "prepare run-1, taking over"));
}

TEST_F(DescribeTest, WithoutAWatermarkTheSnapshotProvesIt) {
  task_.mutable_job()->mutable_source()->clear_watermark();
  task_.mutable_job()->mutable_target()->set_strategy(v1::LOAD_STRATEGY_FULL);
  task_.mutable_describe()->mutable_window()->set_kind(v1::WINDOW_KIND_FULL);
  task_.mutable_describe()->mutable_window()->clear_low();
  source_->rows_above = true;
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(source_->Calls(), ElementsAre("describe", "snapshot", "partitions"));
  EXPECT_EQ(result->completeness().level(), v1::Completeness::LEVEL_PROVED);
  EXPECT_THAT(result->completeness().premises(), ElementsAre(HasSubstr("one snapshot")));
  EXPECT_FALSE(result->has_high());
  EXPECT_FALSE(result->should_wait());

  source_->description.capabilities.set_snapshot(false);
  const auto without = Run();
  ASSERT_TRUE(without.ok());
  EXPECT_FALSE(without->has_snapshot());
  EXPECT_EQ(without->completeness().level(), v1::Completeness::LEVEL_LOOKBACK);
}

TEST_F(DescribeTest, AFullLoadRecordsTheHorizonAndNeverWaitsForIt) {
  task_.mutable_job()->mutable_target()->set_strategy(v1::LOAD_STRATEGY_FULL);
  task_.mutable_describe()->mutable_window()->set_kind(v1::WINDOW_KIND_FULL);
  task_.mutable_describe()->mutable_window()->clear_low();
  source_->rows_above = true;
  Stamp().set_nullable(true);
  source_->null_watermarks = 7;
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(source_->Calls(), ElementsAre("describe", "probe", "snapshot", "partitions"));
  EXPECT_EQ(result->high().text(), "200");
  absl::MutexLock lock(&source_->mutex);
  EXPECT_TRUE(source_->described_window.nulls());
}

TEST_F(DescribeTest, RowsAboveTheHorizonMakeTheRunWait) {
  task_.mutable_describe()->mutable_window()->clear_low();
  source_->rows_above = true;
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->should_wait());
  EXPECT_EQ(result->wait_until().text(), "300");
  // The wait holds nothing.
  EXPECT_FALSE(result->has_snapshot());
  EXPECT_THAT(source_->Calls(), Not(Contains("partitions")));
  EXPECT_THAT(target_->Calls(), ElementsAre("describe"));
}

TEST_F(DescribeTest, ItDoesNotWaitTwiceNorForAPlanNorWhereWaitingCannotHelp) {
  source_->rows_above = true;
  task_.mutable_describe()->set_horizon_is_final(true);
  EXPECT_FALSE(Run()->should_wait());
  task_.mutable_describe()->set_horizon_is_final(false);
  task_.mutable_describe()->set_dry_run(true);
  EXPECT_FALSE(Run()->should_wait());
  task_.mutable_describe()->set_dry_run(false);
  task_.mutable_job()->mutable_source()->mutable_horizon_wait()->set_seconds(0);
  EXPECT_FALSE(Run()->should_wait());
  task_.mutable_job()->mutable_source()->clear_horizon_wait();
  source_->probe.probed_at.reset();
  EXPECT_FALSE(Run()->should_wait());
}

TEST_F(DescribeTest, AnEmptyWindowOffersNothing) {
  source_->probe.empty = true;
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->empty_window());
  EXPECT_FALSE(result->should_wait());
  // Rows that are not moved yet stand above the last watermark.
  EXPECT_THAT(source_->Calls(), ElementsAre("describe", "probe above 100", "rows above 100"));
  EXPECT_THAT(target_->Calls(), ElementsAre("describe"));
  source_->rows_above = true;
  EXPECT_TRUE(Run()->should_wait());
}

TEST_F(DescribeTest, APlanChangesNothing) {
  task_.mutable_describe()->set_dry_run(true);
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->partition_facts_size(), 1);
  EXPECT_THAT(target_->Calls(), ElementsAre("describe"));
}

TEST_F(DescribeTest, NullWatermarksAreRefusedWithTheirNumber) {
  Stamp().set_nullable(true);
  source_->null_watermarks = 7;
  const auto refused = Run();
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.status().message()), testing::AllOf(StartsWith("7 rows"), HasSubstr("reread")));
  EXPECT_THAT(target_->Calls(), ElementsAre("describe"));

  task_.mutable_job()->mutable_source()->set_null_watermark(v1::NULL_WATERMARK_REREAD);
  ASSERT_TRUE(Run().ok());
  absl::MutexLock lock(&source_->mutex);
  EXPECT_TRUE(source_->described_window.nulls());
}

TEST_F(DescribeTest, AnUnknownWatermarkColumnIsTheUsersToMend) {
  task_.mutable_job()->mutable_source()->set_watermark("updated");
  const auto result = Run();
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("id, updated_at"));
}

TEST_F(DescribeTest, ASourceWithoutWatermarksSaysWhatToDo) {
  source_->probe_error = absl::UnimplementedError("files have no horizon");
  const auto result = Run();
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("strategy full"));
}

TEST_F(DescribeTest, OnlyFormatsThatBothSpeakAreNegotiated) {
  source_->description.capabilities.clear_formats();
  source_->description.capabilities.add_formats(v1::CHUNK_FORMAT_ARROW);
  EXPECT_THAT(Run()->formats(), ElementsAre(v1::CHUNK_FORMAT_ARROW));
  {
    absl::MutexLock lock(&target_->mutex);
    target_->formats = {v1::CHUNK_FORMAT_PG_COPY_BINARY};
  }
  EXPECT_EQ(Run().status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(DescribeTest, ABackfillKeepsItsBounds) {
  task_.mutable_describe()->mutable_window()->set_kind(v1::WINDOW_KIND_RANGE);
  task_.mutable_describe()->mutable_window()->mutable_high()->set_text("150");
  source_->rows_above = true;
  const auto result = Run();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->high().text(), "150");
  EXPECT_FALSE(result->should_wait());
  EXPECT_EQ(result->completeness().level(), v1::Completeness::LEVEL_PROVED);
  // Beyond the horizon, which is at 200, rows may still be coming.
  task_.mutable_describe()->mutable_window()->mutable_high()->set_text("250");
  const auto beyond = Run();
  ASSERT_TRUE(beyond.ok()) << beyond.status();
  EXPECT_EQ(beyond->completeness().level(), v1::Completeness::LEVEL_LOOKBACK);
  EXPECT_THAT(beyond->completeness().premises(), ElementsAre(HasSubstr("200")));
}

TEST_F(DescribeTest, ABackfillOfNothingIsRefused) {
  task_.mutable_describe()->mutable_window()->set_kind(v1::WINDOW_KIND_RANGE);
  for (const std::string to : {"050", "100"}) {
    task_.mutable_describe()->mutable_window()->mutable_high()->set_text(to);
    EXPECT_EQ(Run().status(), absl::InvalidArgumentError("--from 100 is not below --to " + to +
                                                         ": no row is above the one and not above the other"));
  }
}

TEST_F(DescribeTest, AQueryThatLeavesRowsOutHasNoWindows) {
  task_.mutable_job()->mutable_source()->set_query("SELECT * FROM t LIMIT 10");
  EXPECT_THAT(std::string(Run().status().message()), HasSubstr("source.query has a LIMIT"));
  task_.mutable_job()->mutable_target()->set_strategy(v1::LOAD_STRATEGY_FULL);
  EXPECT_TRUE(Run().ok());
}

}  // namespace
}  // namespace tidemark
