#include "cli/run_report.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/print.h"
#include "cli/resource_name.h"
#include "common/base/absl_view.h"
#include "common/model/byte_size.h"
#include "common/model/duration.h"
#include "common/model/enum_names.h"
#include "common/model/row_counts.h"
#include "common/model/timestamp.h"
#include "common/model/watermark.h"

namespace tidemark::cli {
namespace {

Value WatermarkValue(bool present, const v1::Watermark& watermark) {
  return present ? Value(watermark.text()) : Value();
}

Value TimeValue(bool present, const google::protobuf::Timestamp& time) {
  return present ? Value(TimeText(FromProto(time))) : Value();
}

double Seconds(const google::protobuf::Duration& duration) { return absl::ToDoubleSeconds(FromProto(duration)); }

Value::List Texts(const google::protobuf::RepeatedPtrField<std::string>& texts) {
  return Value::List(texts.begin(), texts.end());
}

std::string StatusText(const v1::Run& run, const Console& console) {
  const std::string status = EnumName(run.status());
  switch (run.status()) {
    case v1::Run::STATUS_SUCCESS:
      return console.Paint(status, Console::Color::kGreen);
    case v1::Run::STATUS_FAILED:
      return console.Paint(run.phase(), Console::Color::kRed);
    case v1::Run::STATUS_SKIPPED:
      return console.Paint(run.phase(), Console::Color::kYellow);
    default:
      return absl::StrCat(status, " (", run.phase(), ")");
  }
}

std::string Plural(int64_t count, const char* one) {
  return absl::StrCat(FormatCount(count), " ", one, count == 1 ? "" : "s");
}

}  // namespace

absl::Duration RunDuration(const v1::Run& run) {
  if (!run.has_end_time()) return absl::ZeroDuration();
  return FromProto(run.end_time()) - FromProto(run.has_start_time() ? run.start_time() : run.create_time());
}

std::string ErrorLine(std::string_view job, std::string_view phase, std::string_view error) {
  // A task's error names the job and the run itself.
  const std::string named = error.starts_with("job ") ? std::string(error) : absl::StrCat(Abs(job), ": ", Abs(error));
  return absl::StrCat(named, phase == "aborting" ? "" : "; trying again");
}

std::string WindowText(const v1::Window& window) {
  const std::string kind = window.kind() == v1::WINDOW_KIND_FULL ? "full load:" : EnumName(window.kind());
  return absl::StrCat(kind, " ", Text(window));
}

Value::Record RunObject(const v1::Run& run) {
  return {{"job", IdOf(run.job())},
          {"run_id", Value::OrNull(IdOf(run.name()))},
          {"status", EnumName(run.status())},
          {"phase", run.phase()},
          {"rows_read", run.counts().read()},
          {"rows_loaded", run.counts().loaded()},
          {"rows_filtered", run.counts().filtered()},
          {"rows_quarantined", run.counts().quarantined()},
          {"partitions", run.partitions()},
          {"watermark_low", WatermarkValue(run.window().has_low(), run.window().low())},
          {"watermark_high", WatermarkValue(run.window().has_high(), run.window().high())},
          {"completeness", Value::OrNull(Text(run.completeness()))},
          {"bytes_read", run.counts().bytes_read()},
          {"duration_seconds", absl::ToDoubleSeconds(RunDuration(run))},
          {"peak_source_connections", run.peak_source_connections()},
          {"error", Value::OrNull(run.error())}};
}

Value::Record RunDetails(const v1::Run& run) {
  Value::Record details = RunObject(run);
  Value::Record reasons;
  for (const auto& [reason, rows] : run.counts().filtered_by_reason()) reasons.emplace_back(reason, rows);
  std::sort(reasons.begin(), reasons.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  details.insert(details.end(), {{"window_kind", Value::OrNull(EnumName(run.window().kind()))},
                                 {"filtered_by_reason", std::move(reasons)},
                                 {"created", TimeValue(run.has_create_time(), run.create_time())},
                                 {"started", TimeValue(run.has_start_time(), run.start_time())},
                                 {"ended", TimeValue(run.has_end_time(), run.end_time())},
                                 {"fire_time", TimeValue(run.has_fire_time(), run.fire_time())},
                                 {"retry_of", Value::OrNull(IdOf(run.retry_of()))},
                                 {"wait_seconds", Seconds(run.wait_time())},
                                 {"describe_seconds", Seconds(run.describe_time())},
                                 {"move_seconds", Seconds(run.move_time())},
                                 {"commit_seconds", Seconds(run.commit_time())},
                                 {"premises", Texts(run.completeness().premises())},
                                 {"notes", Texts(run.notes())}});
  return details;
}

std::vector<TableColumn> RunColumns() {
  return {{"run_id", "RUN"},           {"job", "JOB"},
          {"status", "STATUS"},        {"phase", "PHASE"},
          {"created", "CREATED"},      {"duration_seconds", "SECONDS", true},
          {"rows_read", "READ", true}, {"rows_loaded", "LOADED", true},
          {"watermark_high", "HIGH"},  {"completeness", "COMPLETENESS"}};
}

std::string RunSummary(const v1::Run& run, const Console& console) {
  std::string text = absl::StrCat(IdOf(run.job()), ": ", StatusText(run, console));
  if (run.has_end_time()) absl::StrAppend(&text, " in ", ElapsedText(RunDuration(run)));
  absl::StrAppend(&text, "  (run ", IdOf(run.name()), ")\n  ", Summary(run.counts()), "\n");
  if (run.counts().filtered() > 0) {
    std::vector<std::string> reasons;
    for (const auto& [reason, rows] : run.counts().filtered_by_reason()) {
      reasons.push_back(absl::StrCat(reason, " ", FormatCount(rows)));
    }
    std::sort(reasons.begin(), reasons.end());
    absl::StrAppend(&text, "  filtered: ", absl::StrJoin(reasons, ", "), "\n");
  }
  if (run.window().kind() != v1::WINDOW_KIND_UNSPECIFIED) absl::StrAppend(&text, "  ", WindowText(run.window()), "\n");
  if (const std::string completeness = Text(run.completeness()); !completeness.empty()) {
    absl::StrAppend(&text, "  completeness ", completeness);
    for (const std::string& premise : run.completeness().premises()) absl::StrAppend(&text, "\n    ", premise);
    absl::StrAppend(&text, "\n");
  }
  absl::StrAppend(&text, "  ", Plural(run.partitions(), "partition"), ", ",
                  Plural(run.peak_source_connections(), "source connection"), " at most, ",
                  FormatByteSize(run.counts().bytes_read()), " read\n", "  described in ",
                  ElapsedText(FromProto(run.describe_time())), ", waited ", ElapsedText(FromProto(run.wait_time())),
                  ", moved in ", ElapsedText(FromProto(run.move_time())), ", committed in ",
                  ElapsedText(FromProto(run.commit_time())), "\n");
  for (const std::string& note : run.notes()) absl::StrAppend(&text, "  note: ", note, "\n");
  if (!run.error().empty()) absl::StrAppend(&text, "  error: ", run.error(), "\n");
  return text;
}

void ReportRun(const CommandContext& context, const v1::Run& run, std::string_view said) {
  PrintObject(context, RunObject(run), [&] { return RunSummary(run, *context.console); });
  const bool known = !said.empty() && run.error().starts_with(said);
  if (run.error().empty() || known || context.console->data_columns() > 0) return;
  context.console->Say(ErrorLine(IdOf(run.job()), "aborting", run.error()));
}

}  // namespace tidemark::cli
