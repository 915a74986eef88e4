#include "worker/connectors/duckdb/duckdb_source_horizon.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/status_macros.h"
#include "common/model/duration.h"
#include "common/model/source_settings.h"
#include "common/model/time_zone.h"
#include "worker/connectors/duckdb/duckdb_catalog.h"
#include "worker/connectors/duckdb/duckdb_name.h"
#include "worker/connectors/duckdb/duckdb_source_type.h"

namespace tidemark::duckdb {
namespace {

using Type = v1::LogicalType;

constexpr absl::Duration kBarrierWait = absl::Seconds(3);
// A zone with summer time shows an hour twice; the hour before it may be still open then.
constexpr absl::Duration kSummerTimeLookback = absl::Hours(2);
// How far the westernmost zone is behind UTC, and how late the day of any other zone may begin again.
constexpr absl::Duration kWesternmost = absl::Hours(12);
constexpr absl::Duration kDayOver = absl::Hours(2);

// Inside it no transaction writes to the file.
class WriteBarrier {
 public:
  // Cancelled if the session is; Unavailable if another one keeps its turn.
  absl::Status Raise(WriterQueue& writers, const std::function<bool()>& cancelled) {
    const SystemClock clock;
    const absl::Duration deadline = clock.Monotonic() + kBarrierWait;
    auto turn = writers.Wait([&] { return cancelled() || clock.Monotonic() >= deadline; });
    if (turn.ok()) {
      turn_.emplace(*std::move(turn));
      return absl::OkStatus();
    }
    if (cancelled()) return turn.status();
    return absl::UnavailableError(
        absl::StrCat("a load of this worker was writing to the file for ", absl::FormatDuration(kBarrierWait)));
  }

 private:
  std::optional<WriterQueue::Turn> turn_;
};

void AddPremise(HorizonProbe* probe, std::string premise) { probe->completeness.add_premises(std::move(premise)); }

void BecomeLookback(HorizonProbe* probe, absl::Duration lookback) {
  probe->completeness.set_level(v1::Completeness::LEVEL_LOOKBACK);
  probe->completeness.set_lookback_seconds(absl::ToInt64Seconds(lookback));
  probe->probed_at.reset();
}

std::string OtherFile(absl::string_view low) {
  return absl::StrCat("the last watermark ", low, " is of another file: this one may lack what was written to that");
}

int64_t FloorTo(int64_t value, int64_t unit) {
  const int64_t remainder = value % unit;
  return value - (remainder < 0 ? remainder + unit : remainder);
}

// A watermark column of times.
class TimeColumn {
 public:
  static absl::StatusOr<TimeColumn> Of(const v1::Column& column, const v1::SourceSpec& spec) {
    TimeColumn time(column);
    if (column.type().kind() == Type::KIND_TIMESTAMPTZ) return time;
    time.zone_ = spec.watermark_timezone();
    if (time.zone_.empty()) {
      if (time.is_date()) return time;
      return absl::InvalidArgumentError(absl::StrCat(
          "watermark column ", column.name(), " is a ", column.native_type(),
          " without time zone: set source.watermark_timezone to the zone its values are written in, such as UTC"));
    }
    const auto zone = FindTimeZone(time.zone_);
    if (!zone) {
      return absl::InvalidArgumentError(absl::StrCat("source.watermark_timezone: there is no zone ", time.zone_));
    }
    time.rules_ = *zone;
    return time;
  }

  bool is_date() const { return column_.type().kind() == Type::KIND_DATE; }
  const std::string& zone() const { return zone_; }
  bool HoursRepeat(int64_t now) const {
    return !is_date() && !zone_.empty() && HasSummerTime(rules_, absl::FromUnixMicros(now));
  }

  // The value, as SQL, that a stamp of `micros` has in the column; of a date the least one, whatever the zone.
  std::string At(int64_t micros) const {
    const bool utc = zone_.empty();
    if (is_date()) micros -= absl::ToInt64Microseconds(utc ? kWesternmost : kDayOver);
    const std::string instant = absl::StrCat("make_timestamptz(", micros, ")");
    if (column_.type().kind() == Type::KIND_TIMESTAMPTZ) return instant;
    return absl::StrCat("CAST(", instant, " AT TIME ZONE ", Literal(utc ? "UTC" : zone_), " AS ", column_.native_type(),
                        ")");
  }
  // The greatest value below that of every stamp that is given at `micros` or later.
  std::string StrictlyBelow(int64_t micros) const {
    if (is_date()) return absl::StrCat("(", At(micros), " - 1)");
    return At(FloorTo(micros, Unit()) - Unit());
  }
  std::string Minus(const std::string& value, absl::Duration by) const {
    return absl::StrCat("CAST(", value, " - INTERVAL '", absl::ToInt64Microseconds(by), " microseconds' AS ",
                        column_.native_type(), ")");
  }
  std::string ValueOf(absl::string_view text) const { return TypedLiteral(column_, text); }

  v1::Watermark Watermark(std::string text) const {
    v1::Watermark watermark;
    watermark.set_text(std::move(text));
    watermark.set_type(is_date()                                         ? "date"
                       : column_.type().kind() == Type::KIND_TIMESTAMPTZ ? "timestamptz"
                                                                         : "timestamp");
    watermark.set_precision(column_.type().scale());
    watermark.set_zone(zone_);
    return watermark;
  }

 private:
  explicit TimeColumn(const v1::Column& column) : column_(column) {}

  int64_t Unit() const { return column_.type().scale() == 0 ? 1'000'000 : column_.type().scale() == 3 ? 1'000 : 1; }

  v1::Column column_;
  std::string zone_;
  absl::TimeZone rules_;
};

absl::StatusOr<HorizonProbe> ProbeTimes(adbc::Connection& db, WriterQueue& writers,
                                        const std::function<bool()>& cancelled, const SourceRelation& source,
                                        const v1::SourceSpec& spec, const std::optional<LastWindow>& last) {
  TM_ASSIGN_OR_RETURN(const TimeColumn column, TimeColumn::Of(*source.Find(source.watermark), spec));
  HorizonProbe probe;
  probe.completeness.set_level(v1::Completeness::LEVEL_PROVED);
  absl::Duration lookback = Lookback(spec);
  std::string why_not;
  int64_t now;
  {
    WriteBarrier barrier;
    if (spec.stamped_by() == v1::STAMPED_BY_APPLICATION) {
      why_not = "the application stamps the rows (stamped_by: application)";
    } else if (const absl::Status raised = barrier.Raise(writers, cancelled); !raised.ok()) {
      if (absl::IsCancelled(raised)) return raised;
      why_not = std::string(raised.message());
      probe.hold = kBarrierWait;
    }
    TM_ASSIGN_OR_RETURN(now, QueryInt(db, "SELECT epoch_us(now())"));
  }
  const std::string low = last ? column.ValueOf(last->high.text()) : "NULL";
  // At once, and each spelled as the source prints it.
  const auto text = [](const std::string& value) { return absl::StrCat("CAST(", value, " AS VARCHAR)"); };
  TM_ASSIGN_OR_RETURN(
      const auto at, db.Query(absl::StrCat("SELECT ", text(column.StrictlyBelow(now)), ", ", text(column.At(now)), ", ",
                                           column.At(now), " < ", low, ", ", column.StrictlyBelow(now), " <= ", low)));
  const std::string& below = *at[0][0];
  const std::string& present = *at[0][1];
  const bool behind = at[0][2] == "true";
  if (why_not.empty() && behind) {
    why_not = absl::StrCat("the source's clock is behind the last watermark ", last->high.text());
  }
  if (why_not.empty() && last && last->other_source) why_not = OtherFile(last->high.text());
  if (why_not.empty() && column.HoursRepeat(now)) {
    why_not = absl::StrCat("the zone ", column.zone(), " has summer time, and ", source.watermark, " no offset");
    lookback = std::max(lookback, kSummerTimeLookback);
  }

  if (why_not.empty()) {
    probe.high = column.Watermark(below);
    if (!column.is_date()) probe.probed_at = column.Watermark(present);
    probe.empty = at[0][3] == "true";
    AddPremise(&probe,
               "no other process had the file open when its clock was read (DuckDB's lock), and no load of this one "
               "was writing to it");
    AddPremise(&probe, absl::StrCat(source.watermark, " is stamped by DuckDB (now(): when a transaction began)",
                                    column.zone().empty() ? "" : ", in ", column.zone(), " by this machine's clock"));
    AddPremise(&probe, "no transaction attaches the file after it has begun");
    if (column.is_date()) AddPremise(&probe, "a date's rows arrive when the day is over");
  } else {
    // What a row stamped now and committed later would lose, the next window's lookback finds.
    probe.high = column.Watermark(present);
    BecomeLookback(&probe, lookback);
    AddPremise(&probe, why_not);
    if (last) {
      TM_ASSIGN_OR_RETURN(const int64_t not_above,
                          QueryInt(db, absl::StrCat("SELECT CAST(", column.At(now), " <= ", low, " AS INTEGER)")));
      probe.empty = not_above != 0;
    }
  }
  if (!last) return probe;
  std::string from = low;
  if (behind) {
    // Rows are being stamped below the last watermark: read what is there again, and do not step back.
    from = column.ValueOf(probe.high.text());
    probe.high = last->high;
    probe.empty = false;
  }
  const absl::Duration reach = std::max(why_not.empty() ? absl::ZeroDuration() : lookback, last->lookback);
  if (reach > absl::ZeroDuration() && !probe.empty) {
    if (why_not.empty()) {
      AddPremise(&probe, absl::StrCat("it reaches back ", DurationText(reach),
                                      " behind the window before it, which was not proved"));
    }
    TM_ASSIGN_OR_RETURN(const auto back, db.Query(absl::StrCat("SELECT ", text(column.Minus(from, reach)))));
    probe.effective_low = column.Watermark(*back[0][0]);
  }
  return probe;
}

// The sequence that numbers a column by its default.
struct Sequence {
  bool ascending = false;
  // 0: none.
  int64_t last = 0;
};

absl::StatusOr<std::optional<Sequence>> SequenceOf(adbc::Connection& db, const SourceRelation& source) {
  if (!source.is_table()) return std::nullopt;
  const TableName& table = source.relation->name;
  TM_ASSIGN_OR_RETURN(
      const auto column,
      db.Query(absl::StrCat("SELECT column_default FROM duckdb_columns() WHERE database_name = current_database() AND "
                            "schema_name = ",
                            Literal(table.schema), " AND table_name = ", Literal(table.table),
                            " AND column_name = ", Literal(source.watermark))));
  if (column.empty() || !column[0][0]) return std::nullopt;
  absl::string_view value = *column[0][0];
  if (!absl::ConsumePrefix(&value, "nextval('") || !absl::ConsumeSuffix(&value, "')")) return std::nullopt;
  const auto name = ParseTableName(absl::StrReplaceAll(value, {{"''", "'"}}));
  if (!name.ok()) return std::nullopt;
  TM_ASSIGN_OR_RETURN(
      const auto rows,
      db.Query(absl::StrCat("SELECT increment_by > 0 AND NOT \"cycle\", coalesce(last_value, start_value - 1) FROM "
                            "duckdb_sequences() WHERE database_name = current_database() AND lower(schema_name) = "
                            "lower(",
                            Literal(name->schema), ") AND lower(sequence_name) = lower(", Literal(name->table), ")")));
  Sequence sequence;
  if (rows.size() != 1 || !absl::SimpleAtoi(*rows[0][1], &sequence.last)) return std::nullopt;
  sequence.ascending = rows[0][0] == "true";
  return sequence;
}

absl::StatusOr<HorizonProbe> ProbeNumbers(adbc::Connection& db, WriterQueue& writers,
                                          const std::function<bool()>& cancelled, const SourceRelation& source,
                                          const v1::SourceSpec& spec, const std::optional<LastWindow>& last) {
  std::optional<int64_t> low;
  if (last) {
    low.emplace();
    if (!absl::SimpleAtoi(last->high.text(), &*low)) {
      return absl::InvalidArgumentError(absl::StrCat("the last watermark '", last->high.text(),
                                                     "' is no integer, but column ", source.watermark,
                                                     " is: run the job with --full-refresh"));
    }
  }
  TM_ASSIGN_OR_RETURN(const Selection everything, source.SelectWindow({}));
  const bool by_application = spec.stamped_by() == v1::STAMPED_BY_APPLICATION;
  absl::Status raised;
  std::optional<Sequence> sequence;
  std::optional<int64_t> greatest;
  {
    // Of several writers one may commit a number below another's: only while none is open is the greatest one final.
    WriteBarrier barrier;
    if (!by_application) raised = barrier.Raise(writers, cancelled);
    if (absl::IsCancelled(raised)) return raised;
    TM_ASSIGN_OR_RETURN(sequence, SequenceOf(db, source));
    TM_ASSIGN_OR_RETURN(const auto rows, db.Query(absl::StrCat("SELECT CAST(max(", Quoted(source.watermark),
                                                               ") AS VARCHAR)", everything.Sql())));
    if (rows[0][0] && !absl::SimpleAtoi(*rows[0][0], &greatest.emplace())) {
      return absl::InvalidArgumentError(
          absl::StrCat("watermark column ", source.watermark, " holds ", *rows[0][0], ", which is beyond 64 bits"));
    }
  }
  if (low && sequence && sequence->ascending && !by_application && sequence->last < *low &&
      greatest.value_or(*low - 1) < *low) {
    return absl::InvalidArgumentError(absl::StrCat(
        "watermark column ", source.watermark, " of ", source.what, " has been set back: its sequence has given ",
        sequence->last, " last, which is below the last watermark ", *low,
        ", and no window would move what comes; run the job once with --full-refresh"));
  }

  HorizonProbe probe;
  probe.completeness.set_level(v1::Completeness::LEVEL_PROVED);
  const int64_t high = greatest.value_or(low.value_or(std::numeric_limits<int64_t>::min()));
  probe.empty = low && high <= *low;
  probe.high.set_type("bigint");
  probe.high.set_text(absl::StrCat(probe.empty ? *low : high));
  std::string why_not;
  if (by_application) {
    why_not = "the application numbers the rows (stamped_by: application), so that a lower number may commit later";
  } else if (!raised.ok()) {
    why_not = std::string(raised.message());
    probe.hold = kBarrierWait;
  } else if (last && last->other_source) {
    why_not = OtherFile(last->high.text());
  } else if (!greatest && !low) {
    AddPremise(&probe, "the table is empty: the next window has everything");
    return probe;
  } else if (!sequence || !sequence->ascending) {
    why_not = absl::StrCat(source.watermark,
                           " is not numbered by an ascending sequence (DEFAULT nextval): a row written later may have "
                           "a lower number");
  } else if (greatest && sequence->last < *greatest) {
    why_not = absl::StrCat(source.watermark, " holds ", *greatest, ", but its sequence is at ", sequence->last,
                           ": rows written later will have lower numbers");
  }
  if (why_not.empty()) {
    AddPremise(&probe, absl::StrCat("one ascending sequence numbers ", source.watermark, ", and nothing else does"));
    AddPremise(&probe,
               "no other process had the file open, and no load of this one was writing to it, when the greatest "
               "number was read");
  } else {
    BecomeLookback(&probe, absl::ZeroDuration());
    AddPremise(&probe, std::move(why_not));
    AddPremise(&probe, "the numbers are no times: nothing before the last watermark is read again");
  }
  return probe;
}

}  // namespace

absl::StatusOr<HorizonProbe> ProbeFileHorizon(adbc::Connection& db, WriterQueue& writers,
                                              const std::function<bool()>& cancelled, const SourceRelation& source,
                                              const v1::SourceSpec& spec, const std::optional<LastWindow>& last) {
  const v1::Column* column = source.watermark.empty() ? nullptr : source.Find(source.watermark);
  if (column == nullptr) return absl::UnimplementedError(absl::StrCat(source.what, " is read without a watermark"));
  switch (column->type().kind()) {
    case Type::KIND_INT16:
    case Type::KIND_INT32:
    case Type::KIND_INT64:
    case Type::KIND_UINT64:
      return ProbeNumbers(db, writers, cancelled, source, spec, last);
    case Type::KIND_DATE:
    case Type::KIND_TIMESTAMP:
    case Type::KIND_TIMESTAMPTZ:
      return ProbeTimes(db, writers, cancelled, source, spec, last);
    default:
      return absl::InvalidArgumentError(absl::StrCat(
          "column ", column->name(), " (", column->native_type(),
          ") cannot be a watermark: it needs ascending integers, dates or timestamps; convert it in source.query"));
  }
}

}  // namespace tidemark::duckdb
