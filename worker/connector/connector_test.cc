#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/connector/commit_check.h"
#include "worker/connector/fence_error.h"
#include "worker/connector/ledger_chain.h"
#include "worker/connector/query_text.h"
#include "worker/connector/run_id.h"

namespace tidemark {
namespace {

using ::testing::HasSubstr;

const RunIdentity kRun = {.cluster_id = "c", .job_uid = "j", .run_id = "r5", .epoch = 1, .sequence = 5};

v1::Watermark Mark(const std::string& text) {
  v1::Watermark watermark;
  watermark.set_type("timestamptz");
  watermark.set_text(text);
  return watermark;
}

v1::Window WindowOf(v1::WindowKind kind, const std::string& low, const std::string& high) {
  v1::Window window;
  window.set_kind(kind);
  if (!low.empty()) *window.mutable_low() = Mark(low);
  if (!high.empty()) *window.mutable_high() = Mark(high);
  return window;
}

v1::LedgerHead HeadOf(int64_t sequence, const std::string& high) {
  v1::LedgerHead head;
  head.set_exists(true);
  head.set_run_id("r4");
  head.set_cluster_id("c");
  head.set_job_uid("j");
  head.set_sequence(sequence);
  if (!high.empty()) *head.mutable_high() = Mark(high);
  return head;
}

std::string Refusal(const absl::Status& status) {
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  return std::string(status.message());
}

TEST(LedgerChain, KindsAreReadAsTheyAreWritten) {
  for (const v1::WindowKind kind : {v1::WINDOW_KIND_WINDOW, v1::WINDOW_KIND_RANGE, v1::WINDOW_KIND_FULL})
    EXPECT_EQ(ParseWindowKind(WindowKindText(kind)), kind);
  EXPECT_EQ(WindowKindText(v1::WINDOW_KIND_UNSPECIFIED), "window");
}

TEST(LedgerChain, AWindowBeginsWhereTheLastOneEnded) {
  const v1::Window window = WindowOf(v1::WINDOW_KIND_WINDOW, "10", "20");
  EXPECT_TRUE(CheckChain(HeadOf(4, "10"), kRun, window, "orders").ok());
  const std::string broken = Refusal(CheckChain(HeadOf(4, "11"), kRun, window, "orders"));
  EXPECT_THAT(broken, HasSubstr("starts at 10, the target's ledger ends at 11"));
  EXPECT_THAT(broken, HasSubstr("`tidemark jobs adopt orders`"));
  EXPECT_THAT(Refusal(CheckChain({}, kRun, window, "orders")), HasSubstr("ends at nothing"));
  EXPECT_THAT(Refusal(CheckChain(HeadOf(4, ""), kRun, window, "orders")), HasSubstr("ends at nothing"));
  EXPECT_TRUE(CheckChain({}, kRun, WindowOf(v1::WINDOW_KIND_WINDOW, "", "20"), "orders").ok());
  EXPECT_TRUE(CheckChain(HeadOf(4, ""), kRun, WindowOf(v1::WINDOW_KIND_WINDOW, "", "20"), "orders").ok());
  // A kind that nobody has set has no freedom.
  EXPECT_FALSE(CheckChain({}, kRun, WindowOf(v1::WINDOW_KIND_UNSPECIFIED, "10", "20"), "orders").ok());
  for (const v1::WindowKind kind : {v1::WINDOW_KIND_RANGE, v1::WINDOW_KIND_FULL})
    EXPECT_TRUE(CheckChain(HeadOf(4, "15"), kRun, WindowOf(kind, "10", "20"), "orders").ok());
}

TEST(LedgerChain, ARunNotAboveTheHeadIsSuperseded) {
  for (const v1::WindowKind kind : {v1::WINDOW_KIND_WINDOW, v1::WINDOW_KIND_RANGE, v1::WINDOW_KIND_FULL}) {
    const v1::Window window = WindowOf(kind, "10", "20");
    EXPECT_TRUE(CheckChain(HeadOf(4, "10"), kRun, window, "orders").ok());
    for (const int64_t sequence : {5, 6})
      EXPECT_THAT(Refusal(CheckChain(HeadOf(sequence, "10"), kRun, window, "orders")), HasSubstr("superseded: run r4"));
    // Sequences of different jobs are not comparable.
    v1::LedgerHead foreign = HeadOf(6, "10");
    foreign.set_job_uid("other");
    const absl::Status status = CheckChain(foreign, kRun, window, "orders");
    EXPECT_EQ(status.ok(), kind != v1::WINDOW_KIND_WINDOW) << status;
    EXPECT_THAT(std::string(status.message()), testing::Not(HasSubstr("superseded")));
  }
}

TEST(LedgerChain, ATableThatHeldRowsIsNotMadeAnew) {
  EXPECT_TRUE(CheckNothingIsLost({}, kRun, "t").ok());
  EXPECT_THAT(Refusal(CheckNothingIsLost(HeadOf(4, "10"), kRun, "t")),
              HasSubstr("the target table t is gone, though the ledger has loads of this job up to 10: restore it"));
  EXPECT_THAT(Refusal(CheckNothingIsLost(HeadOf(4, ""), kRun, "t")), HasSubstr("up to run r4: restore it"));
  v1::LedgerHead ranges;
  ranges.set_cluster_id("c");
  ranges.set_job_uid("j");
  EXPECT_TRUE(CheckNothingIsLost(ranges, kRun, "t").ok());
  ranges.set_has_ranges(true);
  EXPECT_THAT(Refusal(CheckNothingIsLost(ranges, kRun, "t")), HasSubstr("loads of this job: restore it"));
  ranges.set_cluster_id("other");
  EXPECT_TRUE(CheckNothingIsLost(ranges, kRun, "t").ok());
}

TEST(CommitCheck, MovesAreThoseOfTheWork) {
  v1::CommitWork work;
  std::vector<v1::StagedMove> recorded(2);
  for (const int partition : {1, 0}) {
    v1::StagedMove* move = work.add_moves();
    move->set_partition(partition);
    move->set_rows(10 + partition);
    recorded[partition] = *move;
  }
  EXPECT_EQ(*CheckMoves(recorded, work), 21);
  EXPECT_EQ(*CheckMoves({}, v1::CommitWork()), 0);
  EXPECT_THAT(Refusal(CheckMoves({recorded[0]}, work).status()),
              HasSubstr("should have 2 moves with 21 rows in staging, it has 1 with 10"));
  EXPECT_FALSE(CheckMoves({recorded[0], recorded[0]}, work).ok());
  recorded[1].set_rows(12);
  EXPECT_FALSE(CheckMoves(recorded, work).ok());
  EXPECT_TRUE(CheckStagedRows(3, 3).ok());
  EXPECT_THAT(Refusal(CheckStagedRows(2, 3)), HasSubstr("holds 2 rows, its moves counted 3"));
}

TEST(CommitCheck, AnAppendKnowsWhatIsLoaded) {
  v1::TargetSpec keyless;
  v1::TargetSpec keyed;
  keyed.add_key("id");
  const v1::Window plain = WindowOf(v1::WINDOW_KIND_WINDOW, "10", "20");
  EXPECT_FALSE(MayHoldLoadedRows(plain));
  EXPECT_TRUE(CheckAppend(HeadOf(4, "10"), kRun, plain, keyless).ok());
  EXPECT_THAT(Refusal(CheckAppend(HeadOf(4, ""), kRun, plain, keyless)), HasSubstr("double"));
  v1::Window overlap = plain;
  overlap.set_overlap(true);
  v1::Window nulls = plain;
  nulls.set_nulls(true);
  for (const v1::Window& window : {overlap, nulls, WindowOf(v1::WINDOW_KIND_RANGE, "10", "20")}) {
    EXPECT_TRUE(MayHoldLoadedRows(window));
    EXPECT_TRUE(absl::IsInvalidArgument(CheckAppend(HeadOf(4, "10"), kRun, window, keyless)));
    EXPECT_TRUE(CheckAppend(HeadOf(4, ""), kRun, window, keyed).ok());
  }
}

TEST(FenceError, AForeignFenceNamesItsOwnerAndTheWaysOut) {
  const Fence job = {.cluster_id = "c", .job_uid = "k", .epoch = 9};
  EXPECT_FALSE(job.BelongsTo(kRun));
  EXPECT_THAT(Refusal(ForeignFence("t", job, kRun, "orders")),
              HasSubstr("t is written by another job (cluster c, job k); `tidemark jobs adopt orders`"));
  const Fence cluster = {.cluster_id = "d", .job_uid = "j", .epoch = 9};
  EXPECT_FALSE(cluster.BelongsTo(kRun));
  const absl::Status foreign = ForeignFence("t", cluster, kRun, "orders");
  EXPECT_THAT(Refusal(foreign), HasSubstr("t is written by another cluster (cluster d, job j)"));
  EXPECT_EQ(FenceEpochOf(foreign), 0);
  EXPECT_EQ(FenceEpochOf(FencedOut("t", 9, 1)), 9);
}

TEST(RunId, IsPartOfAName) {
  for (const std::string& id : {std::string("01HZY"), std::string("a_b-c"), std::string(59, 'x')})
    EXPECT_TRUE(CheckRunId(id).ok()) << id;
  for (const std::string& id :
       {std::string(), std::string("a b"), std::string("\"x"), std::string("\xc3\xa4"), std::string(60, 'x')}) {
    EXPECT_TRUE(absl::IsInvalidArgument(CheckRunId(id))) << id;
  }
}

TEST(QueryTextTest, BindsPlaceholdersOnlyWhereTheyAreSql) {
  const auto bind = [](std::string_view query) { return BindPlaceholders(query, "LOW", "HIGH"); };
  EXPECT_EQ(*bind("SELECT a::text FROM t WHERE a > :last_watermark AND a<=:watermark_snapshot"),
            "SELECT a::text FROM t WHERE a > LOW AND a<=HIGH");
  for (const std::string untouched :
       {"SELECT ':last_watermark'", R"(SELECT ":last_watermark" FROM t)", "SELECT 1 -- :last_watermark",
        "SELECT /* /* */ :last_watermark */ 1", "SELECT $q$ :last_watermark $q$", R"(SELECT E'\' :last_watermark')",
        "SELECT a[1:2], a[:3]", "SELECT {'a':b}", "SELECT 'a'':last_watermark'"}) {
    EXPECT_EQ(*bind(untouched), untouched);
  }
  EXPECT_EQ(bind("SELECT :other").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(*CleanQuery("SELECT ';' ;  -- done\n"), "SELECT ';'");
  EXPECT_EQ(CleanQuery("SELECT 1; DROP TABLE t").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CleanQuery("  ; ").status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace tidemark
