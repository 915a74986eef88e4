#include "worker/task/task_error.h"

#include <gmock/gmock.h>
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

TEST(TaskError, AMessageInAnotherEncodingCanBeParsed) {
  const std::string mark = "\xef\xbf\xbd";
  // A server that refuses a login speaks its own encoding: Latin-1 here.
  const v1::TaskError error =
      ToTaskError(absl::UnavailableError("FATAL: utilisateur \xab tidemark \xbb r\xe9voqu\xe9"), Move());
  EXPECT_THAT(error.message(),
              testing::EndsWith("FATAL: utilisateur " + mark + " tidemark " + mark + " r" + mark + "voqu" + mark));
  v1::TaskError parsed;
  EXPECT_TRUE(parsed.ParseFromString(error.SerializeAsString()));
  // Whatever the bytes are; and what is valid stays as it is.
  const std::string valid = "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x8c\x8a \xed\x9f\xbf \xf4\x8f\xbf\xbf";
  EXPECT_THAT(ToTaskError(absl::InternalError(valid), Move()).message(), testing::EndsWith(": " + valid));
  for (const std::string broken : {"\x80", "\xc3", "\xc0\x80", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
                                   "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82", "\xff"}) {
    const std::string message = ToTaskError(absl::InternalError("a" + broken + "z"), Move()).message();
    EXPECT_THAT(message, testing::HasSubstr("a" + mark)) << message;
    EXPECT_THAT(message, testing::EndsWith(mark + "z")) << message;
    EXPECT_TRUE(
        parsed.ParseFromString(ToTaskError(absl::InternalError("a" + broken + "z"), Move()).SerializeAsString()));
  }
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

TEST(TaskError, AfterTheLastTryNobodyTriesAgain) {
  for (const absl::Status& status : {absl::ResourceExhaustedError("disk full"), absl::UnknownError("disk full")}) {
    const v1::TaskError error = ToTaskError(AfterLastTry(status, 5), Move());
    EXPECT_EQ(error.code(), static_cast<int>(status.code()));
    EXPECT_THAT(error.message(), testing::EndsWith(": disk full (attempt 5 of 5)"));
    EXPECT_FALSE(error.retryable());
    EXPECT_FALSE(error.outcome_unknown());
  }
}

TEST(TaskError, AFenceTellsItsEpoch) {
  const v1::TaskError error = ToTaskError(FencedOut("sales.orders", 17, 12), Move());
  EXPECT_EQ(error.fence_epoch(), 17);
  EXPECT_FALSE(error.retryable());
}

}  // namespace
}  // namespace tidemark
