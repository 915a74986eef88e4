#include "worker/task/task_error.h"

#include <gtest/gtest.h>

#include "worker/connector/fence_error.h"
#include "worker/task/task_identity.h"

namespace tidemark {
namespace {

v1::Task Move() {
  v1::Task task;
  task.set_run_id("run-1");
  task.mutable_job()->set_name("orders");
  task.mutable_move()->set_partition(3);
  v1::KeyRange& range = *task.mutable_move()->mutable_range();
  range.set_partitioning(v1::PARTITIONING_KEY);
  range.add_columns("id");
  range.mutable_lower()->add_values("100");
  range.mutable_upper()->add_values("200");
  return task;
}

TEST(TaskError, SaysWhichJobAndRange) {
  const v1::TaskError error = ToTaskError(absl::NotFoundError("table public.orders does not exist"), Move());
  EXPECT_EQ(error.message(),
            "job orders, run run-1: move of partition 3 (id in [100, 200)): table public.orders does not exist");
  EXPECT_EQ(error.code(), 5);
  EXPECT_FALSE(error.retryable());
  EXPECT_FALSE(error.snapshot_lost());
  EXPECT_FALSE(error.outcome_unknown());
  EXPECT_EQ(error.fence_epoch(), 0);
}

TEST(TaskError, WhatMayPassByItselfIsRetryable) {
  for (const absl::Status& status : {absl::UnavailableError(""), absl::AbortedError(""),
                                     absl::ResourceExhaustedError(""), absl::DeadlineExceededError("")}) {
    EXPECT_TRUE(ToTaskError(status, Move()).retryable()) << status;
  }
  for (const absl::Status& status :
       {absl::InvalidArgumentError(""), absl::FailedPreconditionError(""), absl::PermissionDeniedError(""),
        absl::InternalError(""), absl::UnknownError(""), absl::CancelledError("")}) {
    EXPECT_FALSE(ToTaskError(status, Move()).retryable()) << status;
  }
}

TEST(TaskError, OnlyASourcesDataLossIsALostSnapshot) {
  const v1::TaskError of_source = ToTaskError(FromSource(absl::DataLossError("gone")), Move());
  EXPECT_TRUE(of_source.snapshot_lost());
  EXPECT_FALSE(of_source.retryable());
  // A spill that the disk did not keep: the same snapshot can be read again.
  const v1::TaskError of_spill = ToTaskError(absl::DataLossError("checksum"), Move());
  EXPECT_FALSE(of_spill.snapshot_lost());
  EXPECT_TRUE(of_spill.retryable());
  EXPECT_FALSE(ToTaskError(FromSource(absl::UnavailableError("")), Move()).snapshot_lost());
}

TEST(TaskError, UnknownMeansAskTheLedger) {
  EXPECT_TRUE(ToTaskError(absl::UnknownError(""), Move()).outcome_unknown());
}

TEST(TaskError, AFenceTellsItsEpoch) {
  const v1::TaskError error = ToTaskError(FencedOut("sales.orders", 17, 12), Move());
  EXPECT_EQ(error.fence_epoch(), 17);
  EXPECT_FALSE(error.retryable());
}

}  // namespace
}  // namespace tidemark
