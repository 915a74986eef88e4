#include <string>
#include <vector>

#include "cli/exit_code.h"
#include "cli/message_value.h"
#include "cli/plan_report.h"
#include "cli/run_report.h"
#include "cli/store_patience.h"
#include "coordinator/admin/resources.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tidemark::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

absl::Time At(const char* text) {
  absl::Time time;
  EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, text, &time, nullptr)) << text;
  return time;
}

v1::Watermark Mark(const char* text) {
  v1::Watermark watermark;
  watermark.set_type("timestamptz");
  watermark.set_text(text);
  return watermark;
}

coordinator::RunRecord FinishedRun() {
  coordinator::RunRecord run;
  run.id = "01run";
  run.job_name = "orders";
  run.status = coordinator::RunStatus::kSuccess;
  run.phase = coordinator::RunPhase::kDone;
  run.created = At("2026-01-05T02:30:00Z");
  run.started = At("2026-01-05T02:30:00.5Z");
  run.ended = At("2026-01-05T02:30:02Z");
  run.window.set_kind(v1::WINDOW_KIND_WINDOW);
  *run.window.mutable_low() = Mark("A");
  *run.window.mutable_high() = Mark("B");
  run.description.emplace();
  run.description->mutable_completeness()->set_level(v1::Completeness::LEVEL_LOOKBACK);
  run.description->mutable_completeness()->set_lookback_seconds(900);
  run.description->mutable_completeness()->add_premises("the application's clock stamps the rows");
  run.description->add_notes("a note");
  run.counts.set_read(10'000);
  run.counts.set_loaded(9'990);
  run.counts.set_filtered(7);
  run.counts.set_quarantined(3);
  (*run.counts.mutable_filtered_by_reason())["superseded"] = 7;
  run.counts.set_bytes_read(1'048'576);
  run.partitions = 8;
  run.peak_source_connections = 2;
  run.describe_time = absl::Milliseconds(100);
  run.wait_time = absl::Milliseconds(200);
  run.move_time = absl::Milliseconds(900);
  run.commit_time = absl::Milliseconds(300);
  return run;
}

TEST(RunReportTest, ObjectHasTheFieldsScriptsRead) {
  EXPECT_EQ(
      ToJson(RunObject(coordinator::ToRun(FinishedRun())), false),
      R"({"job":"orders","run_id":"01run","status":"success","phase":"done","rows_read":10000,"rows_loaded":9990,)"
      R"("rows_filtered":7,"rows_quarantined":3,"partitions":8,"watermark_low":"A","watermark_high":"B",)"
      R"x("completeness":"lookback(15m)","bytes_read":1048576,"duration_seconds":1.5,"peak_source_connections":2,"error":null})x");
}

TEST(RunReportTest, ARunFromTheWireAndALocalOnePrintAlike) {
  v1::Run wire;
  ASSERT_TRUE(wire.ParseFromString(coordinator::ToRun(FinishedRun()).SerializeAsString()));
  wire.set_name("runs/01run");
  EXPECT_EQ(wire.status(), v1::Run::STATUS_SUCCESS);
  EXPECT_EQ(wire.phase(), "done");
  const std::string details = ToJson(RunDetails(wire), false);
  EXPECT_EQ(details, ToJson(RunDetails(coordinator::ToRun(FinishedRun())), false));
  EXPECT_THAT(details, HasSubstr(R"("created":"2026-01-05T02:30:00.000Z","started":"2026-01-05T02:30:00.500Z")"));
  EXPECT_THAT(details, HasSubstr(R"("move_seconds":0.9)"));
  EXPECT_THAT(details, HasSubstr(R"("fire_time":null,"retry_of":null)"));
}

TEST(MessageValueTest, FieldsAreSpelledAsInAProjectFile) {
  v1::JobSpec job;
  job.set_name("orders");
  job.mutable_target()->set_strategy(v1::LOAD_STRATEGY_UPSERT);
  job.mutable_target()->add_key("id");
  job.mutable_source()->mutable_lookback()->set_seconds(900);
  const std::string json = ToJson(ToRecord(job), false);
  EXPECT_THAT(json, HasSubstr(R"({"name":"orders","schedule":null,"enabled":false,)"));
  EXPECT_THAT(json, HasSubstr(R"("lookback":"15m")"));
  EXPECT_THAT(json, HasSubstr(R"("strategy":"upsert","key":["id"],"swap":null)"));
}

TEST(RunReportTest, WhatIsAbsentIsNull) {
  coordinator::RunRecord run;
  run.job_name = "orders";
  run.status = coordinator::RunStatus::kFailed;
  run.phase = coordinator::RunPhase::kFailed;
  run.error = "no such table";
  const std::string json = ToJson(RunObject(coordinator::ToRun(run)), false);
  EXPECT_THAT(json, HasSubstr(R"("watermark_low":null,"watermark_high":null,"completeness":null)"));
  EXPECT_THAT(json, HasSubstr(R"("duration_seconds":0.0)"));
  EXPECT_THAT(json, HasSubstr(R"("error":"no such table")"));
}

TEST(RunReportTest, AJobThatGotNoRunHasNoId) {
  coordinator::RunRecord run;
  run.job_name = "orders";
  EXPECT_THAT(ToJson(RunObject(coordinator::ToRun(run)), false), HasSubstr(R"({"job":"orders","run_id":null,)"));
}

TEST(RunReportTest, WhatIsWoundUpIsNotTriedAgain) {
  EXPECT_EQ(ErrorLine("orders", "moving", "connection refused"), "orders: connection refused; trying again");
  EXPECT_EQ(ErrorLine("orders", "aborting", "cancelled by request"), "orders: cancelled by request");
}

TEST(StorePatienceTest, SaysEachFailureOnceAndGivesUp) {
  const auto full = coordinator::StoreFailure{absl::ResourceExhaustedError("disk is full"), absl::Seconds(100)};
  StorePatience patience;
  EXPECT_EQ(patience.Observe(std::nullopt), std::nullopt);
  EXPECT_FALSE(patience.Exhausted(absl::Seconds(1000)));
  EXPECT_EQ(patience.Observe(full), "the metadata store fails: disk is full; trying again");
  EXPECT_EQ(patience.Observe(full), std::nullopt);
  EXPECT_FALSE(patience.Exhausted(absl::Seconds(114)));
  const auto locked = coordinator::StoreFailure{absl::UnavailableError("locked"), absl::Seconds(100)};
  EXPECT_EQ(patience.Observe(locked), "the metadata store fails: locked; trying again");
  EXPECT_TRUE(patience.Exhausted(absl::Seconds(115)));
  EXPECT_EQ(patience.Observe(std::nullopt), "the metadata store takes changes again");
  EXPECT_FALSE(patience.Exhausted(absl::Seconds(115)));
}

TEST(ExitCodeTest, TellsWhatCannotBeReachedFromWhatIsWrong) {
  EXPECT_EQ(ExitCodeOf(absl::UnavailableError("")), kUnreachable);
  EXPECT_EQ(ExitCodeOf(absl::UnauthenticatedError("")), kUsage);
  EXPECT_EQ(ExitCodeOf(absl::NotFoundError("")), kNotFound);
  EXPECT_EQ(ExitCodeOf(absl::ResourceExhaustedError("")), kRunFailed);
}

TEST(RunReportTest, SummaryBalancesAndNamesWindowCompletenessAndPhases) {
  const Console console(stdout, stderr, Console::Options());
  EXPECT_EQ(RunSummary(coordinator::ToRun(FinishedRun()), console),
            "orders: success in 1.5s  (run 01run)\n"
            "  read 10,000 = loaded 9,990 + filtered 7 + quarantined 3\n"
            "  filtered: superseded 7\n"
            "  window (A, B]\n"
            "  completeness lookback(15m)\n"
            "    the application's clock stamps the rows\n"
            "  8 partitions, 2 source connections at most, 1.0 MiB read\n"
            "  described in 0.1s, waited 0.2s, moved in 0.9s, committed in 0.3s\n"
            "  note: a note\n");
}

TEST(RunReportTest, ColoursOnlyWhereTheyShow) {
  const Console plain(stdout, stderr, Console::Options());
  const Console colored(stdout, stderr, {.color = true});
  EXPECT_THAT(RunSummary(coordinator::ToRun(FinishedRun()), plain), Not(HasSubstr("\x1b[")));
  EXPECT_THAT(RunSummary(coordinator::ToRun(FinishedRun()), colored), HasSubstr("\x1b[32msuccess\x1b[0m"));
}

v1::JobSpec OrdersJob() {
  v1::JobSpec job;
  job.set_name("orders");
  job.mutable_schedule()->set_cron("30 2 * * *");
  job.mutable_schedule()->set_timezone("Europe/Paris");
  job.mutable_source()->set_watermark("updated_at");
  job.mutable_target()->set_table("sales.orders");
  job.mutable_target()->add_key("id");
  job.mutable_target()->set_strategy(v1::LOAD_STRATEGY_UPSERT);
  return job;
}

coordinator::Preview OrdersPreview() {
  coordinator::Preview preview;
  preview.window.set_kind(v1::WINDOW_KIND_WINDOW);
  *preview.window.mutable_high() = Mark("B");
  preview.description.mutable_completeness()->set_level(v1::Completeness::LEVEL_PROVED);
  preview.description.set_estimated_rows(2'000);
  preview.description.add_notes("rows deleted in the source stay");
  v1::KeyRange range;
  range.set_partitioning(v1::PARTITIONING_KEY);
  range.add_columns("id");
  range.mutable_upper()->add_values("100");
  range.set_estimated_rows(1'000);
  preview.plan.ranges.push_back(range);
  range.clear_upper();
  range.mutable_lower()->add_values("100");
  range.set_estimated_rows(0);
  preview.plan.ranges.push_back(range);
  preview.plan.format = v1::CHUNK_FORMAT_PG_COPY_BINARY;
  return preview;
}

TEST(PlanReportTest, ObjectHasTheFieldsScriptsRead) {
  const std::string json = ToJson(PlanObject(OrdersJob(), OrdersPreview(), {At("2026-03-28T01:30:00Z")}), false);
  EXPECT_THAT(json, HasSubstr(R"("watermark_low":null,"watermark_high":"B","completeness":"proved")"));
  EXPECT_THAT(json, HasSubstr(R"("partitions":[{"range":"id < 100","partitioning":"key","estimated_rows":1000},)"
                              R"({"range":"id >= 100","partitioning":"key","estimated_rows":null}],"format":"wire")"));
  EXPECT_THAT(json, HasSubstr(R"("next_fire_times":["2026-03-28T01:30:00Z"])"));
}

TEST(PlanReportTest, TextNamesZoneAndUtcAndTheNotes) {
  const std::string text = PlanText(OrdersJob(), OrdersPreview(), {At("2026-03-28T01:30:00Z")});
  EXPECT_THAT(text, HasSubstr("  window up to B\n"));
  EXPECT_THAT(text, HasSubstr("2 partitions, format wire (rows pass as the source sends them), the source holds about "
                              "2,000 rows\n    id < 100\n    id >= 100\n"));
  EXPECT_THAT(text, HasSubstr("  note: rows deleted in the source stay\n"));
  EXPECT_THAT(
      text, HasSubstr("next fire times (Europe/Paris; UTC)\n    Sat 2026-03-28 02:30 +01:00; 2026-03-28T01:30:00Z\n"));
  EXPECT_THAT(text, HasSubstr("take the place of those of the same id\n"));
  EXPECT_THAT(text, HasSubstr("    the first load: every row"));
  v1::JobSpec full = OrdersJob();
  full.mutable_target()->set_strategy(v1::LOAD_STRATEGY_FULL);
  full.clear_schedule();
  EXPECT_THAT(PlanText(full, OrdersPreview(), {}), HasSubstr("runs on demand only"));
}

}  // namespace
}  // namespace tidemark::cli
