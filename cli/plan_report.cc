#include "cli/plan_report.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
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

std::string StrategyText(const v1::JobSpec& job) {
  const std::string key = absl::StrJoin(job.target().key(), ", ");
  switch (job.target().strategy()) {
    case v1::LOAD_STRATEGY_UPSERT:
      return absl::StrCat("rows that are new or have changed take the place of those of the same ", key);
    case v1::LOAD_STRATEGY_INCREMENTAL:
      return key.empty() ? "rows that are new are added"
                         : absl::StrCat("rows that are new are added, unless one of the same ", key, " is there");
    default:
      return "all rows are read, and replace all that the table holds";
  }
}

// What a window means to one who has not met it before; empty for a full load, which says it.
std::string WindowMeaning(const v1::JobSpec& job, const v1::Window& window, bool empty) {
  if (window.kind() == v1::WINDOW_KIND_FULL || job.source().watermark().empty() || !window.has_high()) return "";
  const std::string& column = job.source().watermark();
  if (empty) return absl::StrCat("no row has a ", column, " above that of the last run");
  if (!window.has_low()) {
    return absl::StrCat("the first load: every row, up to the ", column, " from which on others may still be written");
  }
  return absl::StrCat("rows whose ", column,
                      " is above the first bound, where the last run ended, and not above the second");
}

std::string CompletenessMeaning(const v1::Completeness& completeness) {
  switch (completeness.level()) {
    case v1::Completeness::LEVEL_PROVED:
      return "no row that belongs into the window can still appear, since";
    case v1::Completeness::LEVEL_LOOKBACK:
      return "rows that are committed late are found as long as the lookback reaches back to them";
    default:
      return "";
  }
}

std::string FormatMeaning(v1::ChunkFormat format) {
  return format == v1::CHUNK_FORMAT_ARROW ? "values are converted on the way" : "rows pass as the source sends them";
}

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
      absl::StrCat(job.name(), ": ", EnumName(job.target().strategy()), " into ", job.target().table(), " of ",
                   job.target().connection(), ", from ",
                   job.source().table().empty() ? "a query on " : absl::StrCat(job.source().table(), " of "),
                   job.source().connection(), "\n    ", StrategyText(job), "\n");
  absl::StrAppend(&text, "  ", WindowText(preview.window), description.empty_window() ? ": nothing new" : "", "\n");
  if (const std::string meaning = WindowMeaning(job, preview.window, description.empty_window()); !meaning.empty()) {
    absl::StrAppend(&text, "    ", meaning, "\n");
  }
  if (const std::string completeness = Text(description.completeness()); !completeness.empty()) {
    absl::StrAppend(&text, "  completeness ", completeness, "\n    ", CompletenessMeaning(description.completeness()),
                    "\n");
    for (const std::string& premise : description.completeness().premises())
      absl::StrAppend(&text, "    - ", premise, "\n");
  }
  const std::vector<v1::KeyRange>& ranges = preview.plan.ranges;
  absl::StrAppend(&text, "  ", ranges.size(), ranges.size() == 1 ? " partition" : " partitions");
  if (preview.plan.format != v1::CHUNK_FORMAT_UNSPECIFIED) {
    absl::StrAppend(&text, ", format ", Abs(FormatName(preview.plan.format)), " (", FormatMeaning(preview.plan.format),
                    ")");
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
