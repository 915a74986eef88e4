#include "worker/connectors/sqlite/sqlite_horizon.h"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/model/duration.h"
#include "common/model/source_settings.h"
#include "common/model/time_zone.h"
#include "worker/connectors/sqlite/iso_text.h"

namespace tidemark::sqlite {
namespace {

using Type = v1::LogicalType;

constexpr absl::Duration kBarrierWait = absl::Seconds(3);
constexpr absl::Duration kStatementWait = absl::Seconds(5);
// A zone with summer time shows an hour twice; the hour before it may be still open then.
constexpr absl::Duration kSummerTimeLookback = absl::Hours(2);
constexpr int kFormatSample = 10'000;

absl::StatusOr<absl::TimeZone> ZoneOf(const v1::SourceSpec& spec) {
  if (spec.watermark_timezone().empty()) return absl::UTCTimeZone();
  const std::optional<absl::TimeZone> zone = FindTimeZone(spec.watermark_timezone());
  if (!zone.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("source.watermark_timezone: there is no zone ", spec.watermark_timezone()));
  }
  return *zone;
}

// Inside it no other transaction writes to the file, and none is open that has written.
class WriteBarrier {
 public:
  explicit WriteBarrier(Database& db) : db_(db) {}
  absl::Status Raise() {
    if (db_.ReadOnly()) return absl::PermissionDeniedError("the file is read-only");
    TM_RETURN_IF_ERROR(db_.Exec("PRAGMA query_only = OFF"));
    db_.SetBusyWait(kBarrierWait);
    held_ = db_.Exec("BEGIN IMMEDIATE");
    return held_;
  }
  ~WriteBarrier() {
    if (held_.ok()) db_.Exec("ROLLBACK").IgnoreError();
    db_.SetBusyWait(kStatementWait);
    db_.Exec("PRAGMA query_only = ON").IgnoreError();
  }

 private:
  Database& db_;
  absl::Status held_ = absl::UnavailableError("not raised");
};

// SQLite's own clock, the one its stamps are given by: milliseconds, UTC.
absl::StatusOr<absl::Time> SourceClock(Database& db) {
  TM_ASSIGN_OR_RETURN(const std::string text, db.QueryText("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')"));
  const auto parsed = ParseTimestamp(text);
  if (!parsed) return absl::InternalError(absl::StrCat("SQLite's clock shows '", text, "'"));
  return absl::FromUnixMicros(parsed->micros);
}

void AddPremise(HorizonProbe* probe, std::string premise) { probe->completeness.add_premises(std::move(premise)); }

void BecomeLookback(HorizonProbe* probe, absl::Duration lookback) {
  probe->completeness.set_level(v1::Completeness::LEVEL_LOOKBACK);
  probe->completeness.set_lookback_seconds(absl::ToInt64Seconds(lookback));
  probe->probed_at.reset();
}

std::optional<v1::Watermark> HighOf(const std::optional<LastWindow>& last) {
  return last ? std::optional(last->high) : std::nullopt;
}

std::string OtherFile(absl::string_view low) {
  return absl::StrCat("the last watermark ", low, " is of another file: this one may lack what was written to that");
}

// The unit in which `value` is the time of now (Unix epoch), in microseconds; 0 if it is none. A day's difference of
// two clocks makes no other number of it. An ascending number that happens to be near is treated alike at no cost.
int64_t EpochUnit(int64_t value, absl::Time now) {
  for (const int64_t unit : {int64_t{1'000'000}, int64_t{1'000}, int64_t{1}}) {
    const int64_t current = absl::ToUnixMicros(now) / unit;
    const int64_t day = int64_t{86'400'000'000} / unit;
    if (value <= current + day && value > current - 10 * 366 * day) return unit;
  }
  return 0;
}

absl::StatusOr<std::optional<int64_t>> GreatestNumber(Database& db, const SourceRelation& source) {
  const std::string greatest = absl::StrCat("max(", Quoted(source.watermark), ")");
  TM_ASSIGN_OR_RETURN(Statement statement,
                      db.Prepare(absl::StrCat("SELECT ", greatest, ", typeof(", greatest, ") FROM ", source.from)));
  TM_ASSIGN_OR_RETURN(Selection everything, source.SelectWindow({}));
  everything.ApplyTo(statement);
  TM_ASSIGN_OR_RETURN(const bool row, statement.Step());
  if (!row || statement.IsNull(0)) return std::nullopt;
  if (statement.Text(1) == "integer") return statement.Int(0);
  return absl::InvalidArgumentError(absl::StrCat("watermark column ", source.watermark,
                                                 " is an integer by its declared type but holds a ", statement.Text(1),
                                                 " value: mend those rows, or declare the column as what it is"));
}

// Who gives a column its integers, and so whether one given later can stand below one given before.
enum class Numbering { kAutoincrement, kRowid, kUnknown };

Numbering NumberingOf(const SourceRelation& source) {
  if (!source.relation || !absl::EqualsIgnoreCase(source.relation->rowid_column, source.watermark)) {
    return Numbering::kUnknown;
  }
  return source.relation->autoincrement ? Numbering::kAutoincrement : Numbering::kRowid;
}

// SQLite gives the next row of a table a number above this one.
absl::StatusOr<int64_t> LastNumberGiven(Database& db, const SourceRelation& source, Numbering numbering,
                                        std::optional<int64_t> greatest) {
  const int64_t last = std::max<int64_t>(0, greatest.value_or(0));
  if (numbering == Numbering::kRowid) return last;
  TM_ASSIGN_OR_RETURN(const std::optional<int64_t> sequence, LastOfSequence(db, *source.relation));
  return std::max(last, sequence.value_or(0));
}

// A column of numbers that are no times.
absl::StatusOr<HorizonProbe> ProbeNumbers(Database& db, const SourceRelation& source, bool stamped_by_application,
                                          const std::optional<LastWindow>& last, std::optional<int64_t> low,
                                          std::optional<int64_t> greatest) {
  WatermarkFormat format;
  format.kind = WatermarkFormat::Kind::kInteger;
  HorizonProbe probe;
  probe.completeness.set_level(v1::Completeness::LEVEL_PROVED);
  const std::string& column = source.watermark;
  const Numbering numbering = stamped_by_application ? Numbering::kUnknown : NumberingOf(source);
  bool set_back = false;
  if (low && numbering != Numbering::kUnknown) {
    TM_ASSIGN_OR_RETURN(const int64_t given, LastNumberGiven(db, source, numbering, greatest));
    set_back = given < *low;
    if (set_back && numbering == Numbering::kAutoincrement) {
      return absl::InvalidArgumentError(absl::StrCat(
          "watermark column ", column, " of ", source.what, " has been set back: its next row gets the number ",
          given + 1, ", which is not above the last watermark ", *low, ", and no window would move it; ",
          "run the job once with --full-refresh"));
    }
  }
  const int64_t high = greatest.value_or(low.value_or(std::numeric_limits<int64_t>::min()));
  probe.empty = low && high <= *low;
  probe.high = format.Watermark(absl::StrCat(probe.empty ? *low : high), "");

  if (stamped_by_application) {
    BecomeLookback(&probe, absl::ZeroDuration());
    AddPremise(&probe,
               "the application numbers the rows (stamped_by: application), so that a lower number may commit later");
    AddPremise(&probe, "the numbers are no times: nothing before the last watermark is read again");
  } else if (last && last->other_source) {
    BecomeLookback(&probe, absl::ZeroDuration());
    AddPremise(&probe, OtherFile(last->high.text()));
    AddPremise(&probe, "numbers have no distance in time to reach back by");
  } else if (!greatest && !low) {
    AddPremise(&probe, "the table is empty: the next window has everything");
  } else if (numbering == Numbering::kAutoincrement) {
    AddPremise(&probe, absl::StrCat("the file's one writer at a time numbers ", column,
                                    " in ascending order (AUTOINCREMENT), and nothing else does"));
    AddPremise(&probe, "a transaction still open numbers above all that have committed");
  } else {
    BecomeLookback(&probe, absl::ZeroDuration());
    AddPremise(&probe,
               numbering == Numbering::kRowid
                   ? absl::StrCat(column, " is not AUTOINCREMENT: the number of a deleted row may be given again")
                   : absl::StrCat(column, " is no AUTOINCREMENT key: a row written later may have a lower number"));
    if (set_back) {
      AddPremise(&probe, absl::StrCat("the last rows are deleted: the numbers up to ", *low,
                                      " will be given again, and no window will move their rows"));
    }
  }
  return probe;
}

// A column of Unix times in units of `unit` microseconds.
HorizonProbe ProbeUnixTimes(const v1::SourceSpec& spec, const std::optional<LastWindow>& last,
                            std::optional<int64_t> low, int64_t greatest, int64_t unit, absl::Time now, bool barrier) {
  WatermarkFormat format;
  format.kind = WatermarkFormat::Kind::kInteger;
  const auto watermark = [&](int64_t value) { return format.Watermark(absl::StrCat(value), ""); };
  HorizonProbe probe;
  probe.completeness.set_level(v1::Completeness::LEVEL_PROVED);
  int64_t high = greatest;
  const int64_t present = absl::ToUnixMicros(now) / unit;
  if (!barrier) {
    // The writer that is open now may have stamped as the last one did, whenever that was.
    --high;
  } else if (high >= present) {
    // A row of the present second may yet be followed by others of it: leave them for the next run.
    probe.probed_at = watermark(present);
    high = present - 1;
  }
  std::vector<std::string> why_not;
  if (spec.stamped_by() == v1::STAMPED_BY_APPLICATION) {
    why_not.emplace_back(
        "the application numbers the rows (stamped_by: application), so that a lower number may commit later");
  }
  if (last && last->other_source) why_not.push_back(OtherFile(last->high.text()));
  if (!barrier && greatest > present) {
    why_not.push_back(
        absl::StrCat("the column holds ", greatest,
                     ", which is ahead of the source's clock, and a writer that is open may stamp below"));
    high = std::min(high, present - 1);
  }
  const bool behind = low && present < *low;
  if (behind) why_not.push_back(absl::StrCat("the source's clock is behind the last watermark ", *low));
  absl::Duration reach = last ? last->lookback : absl::ZeroDuration();
  if (why_not.empty()) {
    AddPremise(&probe, absl::StrCat("one writer at a time stamps ", spec.watermark(), " by SQLite's clock"));
    AddPremise(&probe, "a transaction still open stamps no earlier than all that have committed");
    if (low && reach > absl::ZeroDuration()) {
      AddPremise(&probe, absl::StrCat("it reaches back ", DurationText(reach),
                                      " behind the window before it, which was not proved"));
    }
  } else {
    BecomeLookback(&probe, Lookback(spec));
    for (std::string& premise : why_not) AddPremise(&probe, std::move(premise));
    reach = std::max(reach, Lookback(spec));
  }
  probe.empty = low && high <= *low && !behind;
  probe.high = watermark(low ? std::max(high, *low) : high);
  if (low && !probe.empty && reach > absl::ZeroDuration()) {
    // With the clock behind, rows are being stamped below the last watermark: read what is there again.
    probe.effective_low =
        watermark((behind ? std::min(present, high) : *low) - absl::ToInt64Microseconds(reach) / unit);
  }
  return probe;
}

absl::StatusOr<HorizonProbe> ProbeIntegers(Database& db, const SourceRelation& source, const v1::SourceSpec& spec,
                                           const std::optional<LastWindow>& last) {
  std::optional<int64_t> low;
  if (last) {
    TM_ASSIGN_OR_RETURN(const SqlValue value, WatermarkValue(last->high));
    const auto* number = std::get_if<int64_t>(&value);
    if (number == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("the last watermark '", last->high.text(),
                                                     "' is no integer, but column ", source.watermark,
                                                     " is: run the job with --full-refresh"));
    }
    low = *number;
  }
  // The clock under the barrier, the greatest number after it: every row is read for it where there is no index, and
  // the lock is not held for that.
  absl::Time now;
  absl::Status raised;
  {
    WriteBarrier barrier(db);
    raised = barrier.Raise();
    if (absl::IsCancelled(raised)) return raised;
    TM_ASSIGN_OR_RETURN(now, SourceClock(db));
  }
  TM_ASSIGN_OR_RETURN(const std::optional<int64_t> greatest, GreatestNumber(db, source));
  const bool numbered = NumberingOf(source) != Numbering::kUnknown;
  const int64_t unit = greatest && !numbered ? EpochUnit(*greatest, now) : 0;
  if (unit != 0) return ProbeUnixTimes(spec, last, low, *greatest, unit, now, raised.ok());
  return ProbeNumbers(db, source, spec.stamped_by() == v1::STAMPED_BY_APPLICATION, last, low, greatest);
}

// The least time there is, which stands in the chain where a table was empty: it says nothing of how its values will be
// spelled.
constexpr char kFloorDate[] = "0001-01-01";
constexpr char kFloorTime[] = "0001-01-01 00:00:00";

bool IsFloor(const v1::Watermark& watermark) {
  return watermark.text() == kFloorDate || watermark.text() == kFloorTime;
}

// A column without a value yet: whatever comes will stand above the least time, so that the next window has everything.
HorizonProbe ProbeNothing(const SourceRelation& source, const std::optional<v1::Watermark>& low) {
  HorizonProbe probe;
  probe.completeness.set_level(v1::Completeness::LEVEL_PROVED);
  AddPremise(&probe, "there is no row with a watermark yet: the next window has everything");
  WatermarkFormat format;
  const v1::Column* column = source.Find(source.watermark);
  if (column->type().kind() == Type::KIND_DATE) format.kind = WatermarkFormat::Kind::kDate;
  probe.high =
      low ? *low : format.Watermark(format.kind == WatermarkFormat::Kind::kDate ? kFloorDate : kFloorTime, "UTC");
  probe.empty = low.has_value();
  return probe;
}

absl::StatusOr<HorizonProbe> ProbeTexts(Database& db, const SourceRelation& source, const v1::SourceSpec& spec,
                                        const std::optional<LastWindow>& last) {
  const std::optional<v1::Watermark> low = HighOf(last);
  TM_ASSIGN_OR_RETURN(const std::optional<WatermarkFormat> detected, DetectWatermarkFormat(db, source, low));
  if (!detected) return ProbeNothing(source, low);
  const WatermarkFormat& format = *detected;
  const bool naive = format.suffix.empty();
  TM_ASSIGN_OR_RETURN(absl::TimeZone zone, ZoneOf(spec));
  if (!naive) zone = absl::UTCTimeZone();
  const std::string zone_name = naive ? zone.name() : "";

  HorizonProbe probe;
  probe.completeness.set_level(v1::Completeness::LEVEL_PROVED);
  absl::Duration lookback = Lookback(spec);
  std::string why_not;
  absl::Time now;
  if (spec.stamped_by() == v1::STAMPED_BY_APPLICATION) {
    why_not = "the application stamps the rows (stamped_by: application)";
    TM_ASSIGN_OR_RETURN(now, SourceClock(db));
  } else {
    WriteBarrier barrier(db);
    const absl::Status raised = barrier.Raise();
    if (absl::IsCancelled(raised)) return raised;
    if (absl::IsPermissionDenied(raised)) {
      why_not = "the file is read-only, so that no write barrier can be raised";
    } else if (!raised.ok()) {
      why_not = absl::StrCat("another connection held the write lock for ", absl::FormatDuration(kBarrierWait));
      probe.hold = kBarrierWait;
    }
    TM_ASSIGN_OR_RETURN(now, SourceClock(db));
  }
  const bool behind = low && CompareByValue(format.AtOrBelow(now, zone), low->text()) < 0;
  if (why_not.empty() && behind) {
    why_not = absl::StrCat("the source's clock is behind the last watermark ", low->text());
  }
  if (why_not.empty() && last && last->other_source) why_not = OtherFile(low->text());
  if (why_not.empty() && naive && HasSummerTime(zone, now)) {
    why_not = absl::StrCat("the zone ", zone.name(), " has summer time, and ", source.watermark, " no offset");
    lookback = std::max(lookback, kSummerTimeLookback);
  }

  if (why_not.empty()) {
    probe.high = format.Watermark(format.StrictlyBelow(now, zone), zone_name);
    probe.probed_at = format.Watermark(format.AtOrBelow(now, zone), zone_name);
    AddPremise(&probe, "no transaction was writing to the file when its clock was read (BEGIN IMMEDIATE)");
    AddPremise(&probe, absl::StrCat(source.watermark, " is stamped by SQLite when the row is written, in ",
                                    naive ? zone.name() : "UTC", ", as ", format.Name()));
    if (format.kind == WatermarkFormat::Kind::kDate) AddPremise(&probe, "a date's rows arrive when the day is over");
  } else {
    // What a row stamped now and committed later would lose, the next window's lookback finds.
    probe.high = format.Watermark(format.AtOrBelow(now, zone), zone_name);
    BecomeLookback(&probe, lookback);
    AddPremise(&probe, why_not);
  }
  if (!low) return probe;
  probe.empty = CompareByValue(probe.high.text(), low->text()) <= 0;
  std::string from = low->text();
  if (behind) {
    // Rows are being stamped below the last watermark: read what is there again, and do not step back.
    from = probe.high.text();
    probe.high = *low;
    probe.empty = false;
  }
  const absl::Duration reach = std::max(why_not.empty() ? absl::ZeroDuration() : lookback, last->lookback);
  if (reach > absl::ZeroDuration() && !probe.empty) {
    if (why_not.empty()) {
      AddPremise(&probe, absl::StrCat("it reaches back ", DurationText(reach),
                                      " behind the window before it, which was not proved"));
    }
    TM_ASSIGN_OR_RETURN(std::string back, format.Minus(from, reach));
    probe.effective_low = format.Watermark(std::move(back), zone_name);
  }
  return probe;
}

}  // namespace

bool IsIntegerColumn(const v1::Column& column) {
  const Type::Kind kind = column.type().kind();
  return kind == Type::KIND_INT16 || kind == Type::KIND_INT32 || kind == Type::KIND_INT64;
}

absl::StatusOr<std::optional<WatermarkFormat>> DetectWatermarkFormat(Database& db, const SourceRelation& source,
                                                                     const std::optional<v1::Watermark>& low) {
  const std::string w = Quoted(source.watermark);
  // Texts of one spelling share a length, a separator and a suffix: one example of each group tells the spelling.
  const std::string group =
      absl::StrCat("CASE typeof(", w, ") WHEN 'text' THEN length(", w, ") || substr(", w, ", 11, 1) || CASE WHEN ", w,
                   " GLOB '*Z' THEN 'Z' WHEN ", w, " GLOB '*[-+][0-9][0-9]:[0-9][0-9]' THEN substr(", w,
                   ", -6) ELSE '' END ELSE typeof(", w, ") END");
  std::string from = source.from;
  Selection selection;
  const bool goes_on = low.has_value() && !IsFloor(*low);
  if (goes_on) {
    if (low->type() == kIntegerWatermark) {
      return absl::InvalidArgumentError(absl::StrCat("the last watermark ", low->text(), " is an integer, but column ",
                                                     source.watermark,
                                                     " holds times: run the job with --full-refresh"));
    }
    // A number or a BLOB sorts outside all texts, so that no window would ever meet it.
    selection.And(absl::StrCat("(", w, " >= :day OR ", w, " < '' OR ", w, " >= x'')"));
    selection.Bind(":day", low->text().substr(0, 10));
  } else {
    const std::string rowid = source.rowid_name();
    if (rowid.empty()) {
      from = absl::StrCat("(SELECT ", w, " FROM ", source.from, " LIMIT ", kFormatSample, ")");
    } else {
      // The oldest and the youngest rows, each once.
      const std::string rows =
          absl::StrCat("SELECT ", w, " AS ", w, ", ", rowid, " AS tidemark_row FROM ", source.from);
      from = absl::StrCat("(SELECT * FROM (", rows, " ORDER BY ", rowid, " LIMIT ", kFormatSample,
                          ") UNION SELECT * FROM (", rows, " ORDER BY ", rowid, " DESC LIMIT ", kFormatSample, "))");
    }
    selection.And(absl::StrCat(w, " IS NOT NULL"));
  }
  TM_ASSIGN_OR_RETURN(Selection parameters, source.SelectWindow({}));
  TM_ASSIGN_OR_RETURN(Statement statement,
                      db.Prepare(absl::StrCat("SELECT min(", w, "), count(*), typeof(", w, ") FROM ", from,
                                              selection.Where(), " GROUP BY ", group)));
  parameters.ApplyTo(statement);
  selection.ApplyTo(statement);

  std::optional<WatermarkFormat> format;
  if (goes_on) {
    format = WatermarkFormat::Of(low->text());
    // Not a stamp of the source's: it says nothing of how coarse those are.
    if (format) format->fewest_digits = 0;
  }
  bool one = true, first = true;
  std::vector<std::string> spellings;
  while (true) {
    TM_ASSIGN_OR_RETURN(const bool row, statement.Step());
    if (!row) break;
    const bool text = statement.Text(2) == "text";
    const auto seen = text ? WatermarkFormat::Of(statement.Text(0)) : std::nullopt;
    spellings.push_back(absl::StrCat(statement.Int(1), seen   ? absl::StrCat(" as ", seen->Name())
                                                       : text ? absl::StrCat(" like '", statement.Text(0), "'")
                                                              : absl::StrCat(" of class ", statement.Text(2))));
    if (!seen) {
      one = false;
    } else if (!format) {
      format = seen;
    } else {
      const int fewest = first ? seen->fewest_digits : std::min(format->fewest_digits, seen->fewest_digits);
      one &= format->Merge(*seen);
      format->fewest_digits = fewest;
    }
    first = false;
  }
  if (!one) {
    return absl::InvalidArgumentError(absl::StrCat(
        "watermark column ", source.watermark, " of ", source.what, " is not spelled in one way that sorts by time: ",
        absl::StrJoin(spellings, ", "), " rows", goes_on ? absl::StrCat("; the last watermark is ", low->text()) : "",
        ". Rewrite them alike, e.g. as YYYY-MM-DD HH:MM:SS"));
  }
  return format;
}

absl::StatusOr<HorizonProbe> ProbeFileHorizon(Database& db, const SourceRelation& source, const v1::SourceSpec& spec,
                                              const std::optional<LastWindow>& last) {
  const v1::Column* column = source.Find(source.watermark);
  if (column == nullptr) return absl::UnimplementedError(absl::StrCat(source.what, " is read without a watermark"));
  if (IsIntegerColumn(*column)) return ProbeIntegers(db, source, spec, last);
  switch (column->type().kind()) {
    case Type::KIND_DATE:
    case Type::KIND_TIMESTAMP:
    case Type::KIND_TIMESTAMPTZ:
    case Type::KIND_STRING:
      return ProbeTexts(db, source, spec, last);
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("column ", column->name(), " (", column->native_type(),
                       ") cannot be a watermark: it needs ascending integers, or dates or times as text"));
  }
}

}  // namespace tidemark::sqlite
