#include "cli/plan_report.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/run_report.h"
#include "common/base/absl_view.h"
#include "common/model/enum_names.h"
#include "common/model/key_range.h"
#include "common/model/row_counts.h"
#include "common/model/watermark.h"
#include "coordinator/schedule/schedule_spec.h"

namespace tidemark::cli {
namespace {

using coordinator::Preview;

// The ranges of a plan that a terminal shows.
constexpr int kShownRanges = 16;

std::string Rfc3339Utc(absl::Time time) { return absl::FormatTime("%Y-%m-%d%ET%H:%M:%SZ", time, absl::UTCTimeZone()); }

}  // namespace

Value::Record PlanObject(const v1::JobSpec& job, const Preview& preview, const std::vector<absl::Time>& fire_times) {
  Value::List partitions;
  for (const v1::KeyRange& range : preview.plan.ranges) {
    partitions.push_back(
        Value::Record{{"range", Text(range)},
                      {"partitioning", EnumName(range.partitioning())},
                      {"estimated_rows", range.estimated_rows() > 0 ? Value(range.estimated_rows()) : Value()}});
  }
  Value::List fires;
  for (const absl::Time& time : fire_times) fires.push_back(Rfc3339Utc(time));
  const v1::Completeness& completeness = preview.description.completeness();
  const int64_t estimated_rows = preview.description.estimated_rows();
  return {{"job", job.name()},
          {"strategy", EnumName(job.target().strategy())},
          {"window_kind", Value::OrNull(EnumName(preview.window.kind()))},
          {"watermark_low", preview.window.has_low() ? Value(preview.window.low().text()) : Value()},
          {"watermark_high", preview.window.has_high() ? Value(preview.window.high().text()) : Value()},
          {"completeness", Value::OrNull(Text(completeness))},
          {"premises", Value::List(completeness.premises().begin(), completeness.premises().end())},
          {"partitions", std::move(partitions)},
          {"format", Value::OrNull(std::string(FormatName(preview.plan.format)))},
          {"estimated_rows", estimated_rows < 0 ? Value() : Value(estimated_rows)},
          {"notes", Value::List(preview.description.notes().begin(), preview.description.notes().end())},
          {"next_fire_times", std::move(fires)}};
}

std::string PlanText(const v1::JobSpec& job, const Preview& preview, const std::vector<absl::Time>& fire_times) {
  const v1::DescribeResult& description = preview.description;
  std::string text =
      absl::StrCat(job.name(), ": ", EnumName(job.target().strategy()), " into ", job.target().table(), "\n");
  absl::StrAppend(&text, "  ", WindowText(preview.window), description.empty_window() ? ": nothing new" : "", "\n");
  if (const std::string completeness = Text(description.completeness()); !completeness.empty()) {
    absl::StrAppend(&text, "  completeness ", completeness, "\n");
    for (const std::string& premise : description.completeness().premises())
      absl::StrAppend(&text, "    ", premise, "\n");
  }
  const std::vector<v1::KeyRange>& ranges = preview.plan.ranges;
  absl::StrAppend(&text, "  ", ranges.size(), ranges.size() == 1 ? " partition" : " partitions");
  if (preview.plan.format != v1::CHUNK_FORMAT_UNSPECIFIED) {
    absl::StrAppend(&text, ", format ", Abs(FormatName(preview.plan.format)));
  }
  if (description.estimated_rows() >= 0) {
    absl::StrAppend(&text, ", the source holds about ", FormatCount(description.estimated_rows()), " rows");
  }
  absl::StrAppend(&text, "\n");
  for (size_t i = 0; i < ranges.size() && i < kShownRanges; ++i) absl::StrAppend(&text, "    ", Text(ranges[i]), "\n");
  if (ranges.size() > kShownRanges) absl::StrAppend(&text, "    and ", ranges.size() - kShownRanges, " more\n");
  for (const std::string& note : description.notes()) absl::StrAppend(&text, "  note: ", note, "\n");
  if (fire_times.empty()) {
    absl::StrAppend(&text, job.schedule().cron().empty() ? "  runs on demand only\n" : "  its schedule never fires\n");
    return text;
  }
  // There are fire times, so there is a schedule.
  const absl::TimeZone zone = coordinator::ToSchedule(job.schedule())->zone;
  absl::StrAppend(&text, "  next fire times (", zone.name(), "; UTC)\n");
  for (const absl::Time& time : fire_times) {
    absl::StrAppend(&text, "    ", absl::FormatTime("%a %Y-%m-%d %H:%M %Ez", time, zone), "; ", Rfc3339Utc(time), "\n");
  }
  return text;
}

}  // namespace tidemark::cli
