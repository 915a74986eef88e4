#include "worker/agent/worker_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/model/duration.h"

namespace tidemark {
namespace {

using testing::HasSubstr;
using testing::Not;

v1::Task Move() {
  v1::Task task;
  task.mutable_job()->set_name("orders");
  task.mutable_move();
  return task;
}

TEST(WorkerMetricsTest, WhatWasReadAndHowItEnded) {
  MetricRegistry registry;
  WorkerMetrics counted(&registry);
  v1::TaskProgress progress;
  progress.set_rows_read(100);
  progress.set_bytes_read(4096);
  v1::CompleteTaskRequest moved;
  moved.mutable_move()->set_spilled_bytes(512);
  *moved.mutable_move()->mutable_extract_time() = ToProto(absl::Seconds(3));
  *moved.mutable_move()->mutable_load_time() = ToProto(absl::Seconds(7));
  counted.AttemptEnded(Move(), moved, progress);

  v1::CompleteTaskRequest failed;
  failed.mutable_error()->set_retryable(true);
  progress.set_rows_read(5);
  counted.AttemptEnded(Move(), failed, progress);
  failed.mutable_error()->set_retryable(false);
  counted.AttemptEnded(Move(), failed, {});
  failed.mutable_error()->set_code(static_cast<int>(absl::StatusCode::kCancelled));
  counted.AttemptEnded(Move(), failed, {});

  const std::string text = registry.Text();
  EXPECT_THAT(text, HasSubstr("tidemark_rows_total{etl_job=\"orders\",stage=\"read\"} 105\n"));
  EXPECT_THAT(text, Not(HasSubstr("stage=\"loaded\"")));
  EXPECT_THAT(text, HasSubstr("tidemark_bytes_total{stage=\"read\"} 8192\n"));
  EXPECT_THAT(text, HasSubstr("tidemark_bytes_total{stage=\"spilled\"} 512\n"));
  EXPECT_THAT(text, HasSubstr("tidemark_stage_duration_seconds_sum{stage=\"extract\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("tidemark_stage_duration_seconds_sum{stage=\"load\"} 7\n"));
  for (const char* result : {"success", "retryable", "failed", "cancelled"}) {
    EXPECT_THAT(text, HasSubstr(std::string("{kind=\"move\",result=\"") + result + "\"} 1\n"));
  }
}

TEST(WorkerMetricsTest, ACommitCountsOnce) {
  MetricRegistry registry;
  WorkerMetrics counted(&registry);
  v1::Task task;
  task.mutable_job()->set_name("orders");
  task.mutable_commit();
  v1::CompleteTaskRequest outcome;
  outcome.mutable_commit()->mutable_counts()->set_loaded(90);
  outcome.mutable_commit()->mutable_counts()->set_filtered(7);
  outcome.mutable_commit()->mutable_counts()->set_quarantined(3);
  counted.AttemptEnded(task, outcome, {});
  outcome.mutable_commit()->set_already_done(true);
  counted.AttemptEnded(task, outcome, {});
  EXPECT_THAT(registry.Text(), HasSubstr("stage=\"loaded\"} 90\n"));
  EXPECT_THAT(registry.Text(), HasSubstr("stage=\"filtered\"} 7\n"));
  EXPECT_THAT(registry.Text(), HasSubstr("stage=\"quarantined\"} 3\n"));
  EXPECT_THAT(registry.Text(), HasSubstr("{kind=\"commit\",result=\"success\"} 2\n"));
}

}  // namespace
}  // namespace tidemark
