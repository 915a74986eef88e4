#include "coordinator/run/chain_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tidemark::coordinator {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

v1::Watermark At(const std::string& text) {
  v1::Watermark watermark;
  watermark.set_type("timestamptz");
  watermark.set_text(text);
  return watermark;
}

class ChainCheckTest : public testing::Test {
 protected:
  ChainCheckTest() {
    job_.uid = "job-1";
    job_.spec.set_name("orders");
    job_.spec.mutable_source()->set_table("orders");
    job_.spec.mutable_source()->set_watermark("updated_at");
    job_.spec.mutable_target()->set_table("sales.orders");
    job_.spec.mutable_target()->set_strategy(v1::LOAD_STRATEGY_INCREMENTAL);
    job_.last_watermark = At("10:00");
    job_.last_sequence = 4;
    run_.sequence = 5;
    run_.window.set_kind(v1::WINDOW_KIND_WINDOW);
    *run_.window.mutable_low() = At("10:00");
    Succeeded(4, v1::WINDOW_KIND_WINDOW);
    description_.mutable_target_schema();
    v1::LedgerHead& head = *description_.mutable_ledger();
    head.set_exists(true);
    head.set_run_id("run-4");
    head.set_sequence(4);
    head.set_kind(v1::WINDOW_KIND_WINDOW);
    *head.mutable_high() = At("10:00");
    head.set_cluster_id("here");
    head.set_job_uid("job-1");
  }

  void Succeeded(int64_t sequence, v1::WindowKind kind) {
    RunRecord run;
    run.id = "run-" + std::to_string(sequence);
    run.sequence = sequence;
    run.spec = job_.spec;
    run.window.set_kind(kind);
    history_ = {.last_success = run, .head_run = run};
  }

  absl::StatusOr<ChainVerdict> Check() {
    run_.spec = job_.spec;
    return CheckChain(run_, job_, description_, "here", history_);
  }
  std::string Refusal() {
    const absl::StatusOr<ChainVerdict> verdict = Check();
    EXPECT_EQ(verdict.status().code(), absl::StatusCode::kFailedPrecondition);
    return std::string(verdict.status().message());
  }

  JobRecord job_;
  RunRecord run_;
  v1::DescribeResult description_;
  ChainHistory history_;
};

TEST_F(ChainCheckTest, TheNextWindowGoesOn) {
  const absl::StatusOr<ChainVerdict> verdict = Check();
  ASSERT_TRUE(verdict.ok()) << verdict.status();
  EXPECT_EQ(verdict->kind, ChainVerdict::Kind::kGoOn);
  EXPECT_EQ(verdict->sequence, 5);
  EXPECT_FALSE(verdict->overlap);
}

TEST_F(ChainCheckTest, AFirstRunOnAFreshTarget) {
  job_.last_watermark.reset();
  history_ = {};
  description_.clear_ledger();
  EXPECT_TRUE(Check().ok());
}

TEST_F(ChainCheckTest, ALedgerThatIsAheadIsAdopted) {
  // The store was restored, or its leader died between the commit and the watermark.
  description_.mutable_ledger()->set_sequence(7);
  *description_.mutable_ledger()->mutable_high() = At("12:00");
  const absl::StatusOr<ChainVerdict> verdict = Check();
  ASSERT_TRUE(verdict.ok()) << verdict.status();
  EXPECT_EQ(verdict->kind, ChainVerdict::Kind::kAdopt);
  EXPECT_EQ(verdict->sequence, 8);

  job_.last_watermark.reset();
  history_ = {};
  EXPECT_EQ(Check()->kind, ChainVerdict::Kind::kAdopt) << "the first run's watermark was lost";
}

TEST_F(ChainCheckTest, AStoreThatIsAheadIsRefused) {
  *description_.mutable_ledger()->mutable_high() = At("09:00");
  description_.mutable_ledger()->set_sequence(3);
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("sales.orders"), HasSubstr("behind"), HasSubstr("jobs adopt orders"),
                               HasSubstr("--full-refresh")));
  description_.clear_ledger();
  EXPECT_THAT(Refusal(),
              AllOf(HasSubstr("holds no ledger"), HasSubstr("jobs adopt orders"), HasSubstr("--full-refresh")));
}

TEST_F(ChainCheckTest, AForeignClusterOrJobIsRefusedUnlessRefreshed) {
  description_.mutable_ledger()->set_cluster_id("elsewhere");
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("another cluster (elsewhere)"), HasSubstr("--full-refresh")));
  run_.window.set_kind(v1::WINDOW_KIND_FULL);
  EXPECT_THAT(Refusal(), HasSubstr("another cluster")) << "a scheduled full load is no consent";
  run_.window.set_full_refresh(true);
  EXPECT_TRUE(Check().ok());
  run_.window.set_full_refresh(false);
  description_.mutable_ledger()->set_cluster_id("here");
  description_.mutable_ledger()->set_job_uid("job-2");
  EXPECT_THAT(Refusal(), HasSubstr("another job"));
}

TEST_F(ChainCheckTest, AUsersWordMakesTheLedgerTheTruth) {
  run_.window.set_adopt(true);
  EXPECT_EQ(Check()->kind, ChainVerdict::Kind::kGoOn) << "both stand at one place";
  // Behind the store, and another's.
  v1::LedgerHead& head = *description_.mutable_ledger();
  *head.mutable_high() = At("09:00");
  head.set_sequence(3);
  EXPECT_EQ(Check()->kind, ChainVerdict::Kind::kAdopt);
  EXPECT_EQ(Check()->sequence, 5);
  head.set_cluster_id("elsewhere");
  head.set_sequence(57);
  history_.head_run.reset();
  ASSERT_TRUE(Check().ok());
  EXPECT_EQ(Check()->kind, ChainVerdict::Kind::kAdopt);
  EXPECT_EQ(Check()->sequence, 58);
  // Also that there is no watermark: of a full load without one.
  head.set_kind(v1::WINDOW_KIND_FULL);
  head.clear_high();
  EXPECT_EQ(Check()->kind, ChainVerdict::Kind::kAdopt);
  job_.last_watermark.reset();
  EXPECT_THAT(Refusal(), HasSubstr("twice")) << "what a full load of another's brought may come again";
  // No word makes up for what is gone.
  description_.clear_target_schema();
  EXPECT_THAT(Refusal(), HasSubstr("is gone"));
}

TEST_F(ChainCheckTest, ALedgerWithoutLoadsIsNothingToGoOnFrom) {
  run_.window.set_adopt(true);
  description_.clear_ledger();
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("no ledger to go on from"), HasSubstr("10:00"), HasSubstr("--full-refresh"),
                               Not(HasSubstr("jobs adopt"))));
  job_.last_watermark.reset();
  EXPECT_EQ(Check()->kind, ChainVerdict::Kind::kGoOn) << "a first run";
}

TEST_F(ChainCheckTest, AFullLoadStartsAnewAboveWhatIsThere) {
  run_.window.set_kind(v1::WINDOW_KIND_FULL);
  description_.mutable_ledger()->set_sequence(9);
  *description_.mutable_ledger()->mutable_high() = At("03:00");
  const absl::StatusOr<ChainVerdict> verdict = Check();
  ASSERT_TRUE(verdict.ok()) << verdict.status();
  EXPECT_EQ(verdict->sequence, 10);
  EXPECT_EQ(verdict->kind, ChainVerdict::Kind::kGoOn);
}

TEST_F(ChainCheckTest, AfterAFullLoadRowsMayComeAgain) {
  description_.mutable_ledger()->set_kind(v1::WINDOW_KIND_FULL);
  Succeeded(4, v1::WINDOW_KIND_FULL);
  history_.head_run->spec.mutable_target()->set_strategy(v1::LOAD_STRATEGY_FULL);
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("twice"), HasSubstr("target.key"), HasSubstr("--full-refresh")));
  job_.spec.mutable_target()->add_key("id");
  ASSERT_TRUE(Check().ok());
  EXPECT_TRUE(Check()->overlap);
  job_.spec.mutable_target()->clear_key();
  // --full-refresh of an incremental job stops at its watermark.
  history_.head_run->spec.mutable_target()->set_strategy(v1::LOAD_STRATEGY_INCREMENTAL);
  ASSERT_TRUE(Check().ok());
  EXPECT_FALSE(Check()->overlap);
  // Of a run that the store does not know, anything is possible.
  history_.head_run.reset();
  EXPECT_THAT(Refusal(), HasSubstr("twice"));
}

TEST_F(ChainCheckTest, ALookbackOverlaps) {
  *description_.mutable_effective_low() = At("10:00");
  EXPECT_FALSE(Check()->overlap);
  *description_.mutable_effective_low() = At("09:45");
  EXPECT_THAT(Refusal(), HasSubstr("reaches back"));
  job_.spec.mutable_target()->set_strategy(v1::LOAD_STRATEGY_UPSERT);
  ASSERT_TRUE(Check().ok());
  EXPECT_TRUE(Check()->overlap);
}

TEST_F(ChainCheckTest, AnAppendWithoutAKeyIsRefusedAtItsFirstWindowIfLaterOnesWillReachBack) {
  job_.last_watermark.reset();
  history_ = {};
  description_.clear_ledger();
  description_.mutable_completeness()->set_level(v1::Completeness::LEVEL_LOOKBACK);
  EXPECT_TRUE(Check().ok()) << "nothing is read twice";
  description_.mutable_completeness()->set_lookback_seconds(900);
  description_.mutable_completeness()->add_premises("the source is a standby");
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("lookback(15m)"), HasSubstr("standby"), HasSubstr("target.key")));
  job_.spec.mutable_target()->add_key("id");
  EXPECT_TRUE(Check().ok());
}

TEST_F(ChainCheckTest, ABackfillNeedsAKeyToAppend) {
  run_.window.set_kind(v1::WINDOW_KIND_RANGE);
  EXPECT_THAT(Refusal(), HasSubstr("backfill"));
  job_.spec.mutable_target()->add_key("id");
  ASSERT_TRUE(Check().ok());
  EXPECT_TRUE(Check()->overlap);
}

TEST_F(ChainCheckTest, ATableThatIsGoneIsNotGoneOnFrom) {
  description_.clear_target_schema();
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("sales.orders is gone"), HasSubstr("10:00"), HasSubstr("--full-refresh")));
  run_.window.set_kind(v1::WINDOW_KIND_RANGE);
  EXPECT_THAT(Refusal(), HasSubstr("is gone"));
  run_.window.set_kind(v1::WINDOW_KIND_FULL);
  EXPECT_TRUE(Check().ok());
}

TEST_F(ChainCheckTest, ATableThatWasEmptiedIsNotMergedInto) {
  description_.mutable_ledger()->set_emptied(true);
  EXPECT_TRUE(Check().ok()) << "an append may be read by somebody who deletes";
  job_.spec.mutable_target()->set_strategy(v1::LOAD_STRATEGY_UPSERT);
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("sales.orders is empty"), HasSubstr("--full-refresh")));
  run_.window.set_kind(v1::WINDOW_KIND_FULL);
  EXPECT_TRUE(Check().ok());
}

TEST_F(ChainCheckTest, AfterABackfillRowsMayComeAgain) {
  description_.mutable_ledger()->set_has_ranges(true);
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("backfill"), HasSubstr("target.key")));
  job_.spec.mutable_target()->add_key("id");
  ASSERT_TRUE(Check().ok());
  EXPECT_TRUE(Check()->overlap);
  // Also before the first window.
  job_.last_watermark.reset();
  history_ = {};
  description_.clear_ledger();
  EXPECT_FALSE(Check()->overlap);
  description_.mutable_ledger()->set_has_ranges(true);
  EXPECT_TRUE(Check()->overlap);
}

TEST_F(ChainCheckTest, AJobThatChangedSaysHowItGoesOn) {
  const std::optional<RunRecord> before = history_.last_success;
  EXPECT_TRUE(CheckChange(job_, before).ok());
  EXPECT_TRUE(CheckChange(job_, std::nullopt).ok());
  job_.spec.mutable_source()->set_watermark("id");
  EXPECT_THAT(std::string(CheckChange(job_, before).message()),
              AllOf(HasSubstr("source.watermark was updated_at and is id"), HasSubstr("--full-refresh")));
  job_.spec.mutable_source()->set_watermark("updated_at");
  job_.spec.mutable_source()->set_table("other");
  EXPECT_THAT(std::string(CheckChange(job_, before).message()), HasSubstr("source.table"));
  job_.spec.mutable_target()->set_strategy(v1::LOAD_STRATEGY_FULL);
  EXPECT_TRUE(CheckChange(job_, before).ok()) << "a full load starts anew";

  job_.spec.mutable_source()->set_table("orders");
  RunRecord full = *before;
  full.window.set_kind(v1::WINDOW_KIND_FULL);
  full.spec.mutable_target()->set_strategy(v1::LOAD_STRATEGY_FULL);
  job_.spec.mutable_target()->set_strategy(v1::LOAD_STRATEGY_INCREMENTAL);
  EXPECT_THAT(std::string(CheckChange(job_, full).message()), HasSubstr("--full-refresh"));
  job_.spec.mutable_target()->add_key("id");
  EXPECT_TRUE(CheckChange(job_, full).ok());
}

}  // namespace
}  // namespace tidemark::coordinator
