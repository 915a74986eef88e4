#include "cli/run_report.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/absl_view.h"
#include "common/model/byte_size.h"
#include "common/model/duration.h"
#include "common/model/enum_names.h"
#include "common/model/row_counts.h"
#include "common/model/watermark.h"

namespace tidemark::cli {
namespace {

using coordinator::RunRecord;
using coordinator::RunStatus;

Value WatermarkValue(bool present, const v1::Watermark& watermark) {
  return present ? Value(watermark.text()) : Value();
}

Value TimeValue(const std::optional<absl::Time>& time) {
  if (!time) return Value();
  return absl::FormatTime("%Y-%m-%d%ET%H:%M:%E3SZ", *time, absl::UTCTimeZone());
}

Value::List Texts(const google::protobuf::RepeatedPtrField<std::string>& texts) {
  return Value::List(texts.begin(), texts.end());
}

std::string CompletenessOf(const RunRecord& run) {
  return run.description ? Text(run.description->completeness()) : "";
}

std::string StatusText(const RunRecord& run, const Console& console) {
  const std::string_view phase = coordinator::Name(run.phase);
  const std::string_view status = coordinator::Name(run.status);
  switch (run.status) {
    case RunStatus::kSuccess:
      return console.Paint(status, Console::Color::kGreen);
    case RunStatus::kFailed:
      return console.Paint(run.phase == coordinator::RunPhase::kFailed ? status : phase, Console::Color::kRed);
    case RunStatus::kSkipped:
      return console.Paint(phase, Console::Color::kYellow);
    case RunStatus::kRunning:
      return absl::StrCat(Abs(status), " (", Abs(phase), ")");
  }
  return "";
}

std::string Plural(int64_t count, const char* one) {
  return absl::StrCat(FormatCount(count), " ", one, count == 1 ? "" : "s");
}

}  // namespace

absl::Duration RunDuration(const RunRecord& run) {
  return run.ended ? *run.ended - run.started.value_or(run.created) : absl::ZeroDuration();
}

std::string ErrorLine(const coordinator::RunProgress& run) {
  const bool over = run.phase == coordinator::RunPhase::kAborting;
  return absl::StrCat(run.job_name, ": ", run.error, over ? "" : "; trying again");
}

std::string WindowText(const v1::Window& window) {
  const std::string kind = window.kind() == v1::WINDOW_KIND_FULL ? "full load:" : EnumName(window.kind());
  return absl::StrCat(kind, " ", Text(window));
}

Value::Record RunObject(const RunRecord& run) {
  return {{"job", run.job_name},
          {"run_id", Value::OrNull(run.id)},
          {"status", std::string(coordinator::Name(run.status))},
          {"phase", std::string(coordinator::Name(run.phase))},
          {"rows_read", run.counts.read()},
          {"rows_loaded", run.counts.loaded()},
          {"rows_filtered", run.counts.filtered()},
          {"rows_quarantined", run.counts.quarantined()},
          {"partitions", run.partitions},
          {"watermark_low", WatermarkValue(run.window.has_low(), run.window.low())},
          {"watermark_high", WatermarkValue(run.window.has_high(), run.window.high())},
          {"completeness", Value::OrNull(CompletenessOf(run))},
          {"bytes_read", run.counts.bytes_read()},
          {"duration_seconds", absl::ToDoubleSeconds(RunDuration(run))},
          {"peak_source_connections", run.peak_source_connections},
          {"error", Value::OrNull(run.error)}};
}

Value::Record RunDetails(const RunRecord& run) {
  Value::Record details = RunObject(run);
  Value::Record reasons;
  for (const auto& [reason, rows] : run.counts.filtered_by_reason()) reasons.emplace_back(reason, rows);
  std::sort(reasons.begin(), reasons.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  details.insert(details.end(),
                 {{"window_kind", Value::OrNull(EnumName(run.window.kind()))},
                  {"strategy", Value::OrNull(EnumName(run.spec.target().strategy()))},
                  {"sequence", run.sequence},
                  {"filtered_by_reason", std::move(reasons)},
                  {"created", TimeValue(run.created)},
                  {"started", TimeValue(run.started)},
                  {"ended", TimeValue(run.ended)},
                  {"wait_seconds", absl::ToDoubleSeconds(run.wait_time)},
                  {"describe_seconds", absl::ToDoubleSeconds(run.describe_time)},
                  {"move_seconds", absl::ToDoubleSeconds(run.move_time)},
                  {"commit_seconds", absl::ToDoubleSeconds(run.commit_time)},
                  {"premises", run.description ? Texts(run.description->completeness().premises()) : Value::List()},
                  {"notes", run.description ? Texts(run.description->notes()) : Value::List()}});
  return details;
}

std::string RunSummary(const RunRecord& run, const Console& console) {
  std::string text = absl::StrCat(run.job_name, ": ", StatusText(run, console));
  if (run.ended) absl::StrAppend(&text, " in ", ElapsedText(RunDuration(run)));
  absl::StrAppend(&text, "  (run ", run.id, ")\n  ", Summary(run.counts), "\n");
  if (run.counts.filtered() > 0) {
    std::vector<std::string> reasons;
    for (const auto& [reason, rows] : run.counts.filtered_by_reason()) {
      reasons.push_back(absl::StrCat(reason, " ", FormatCount(rows)));
    }
    std::sort(reasons.begin(), reasons.end());
    absl::StrAppend(&text, "  filtered: ", absl::StrJoin(reasons, ", "), "\n");
  }
  if (run.window.kind() != v1::WINDOW_KIND_UNSPECIFIED) absl::StrAppend(&text, "  ", WindowText(run.window), "\n");
  if (const std::string completeness = CompletenessOf(run); !completeness.empty()) {
    absl::StrAppend(&text, "  completeness ", completeness);
    for (const std::string& premise : run.description->completeness().premises())
      absl::StrAppend(&text, "\n    ", premise);
    absl::StrAppend(&text, "\n");
  }
  absl::StrAppend(&text, "  ", Plural(run.partitions, "partition"), ", ",
                  Plural(run.peak_source_connections, "source connection"), " at most, ",
                  FormatByteSize(run.counts.bytes_read()), " read\n", "  described in ", ElapsedText(run.describe_time),
                  ", waited ", ElapsedText(run.wait_time), ", moved in ", ElapsedText(run.move_time), ", committed in ",
                  ElapsedText(run.commit_time), "\n");
  if (run.description) {
    for (const std::string& note : run.description->notes()) absl::StrAppend(&text, "  note: ", note, "\n");
  }
  if (!run.error.empty()) absl::StrAppend(&text, "  error: ", run.error, "\n");
  return text;
}

}  // namespace tidemark::cli
