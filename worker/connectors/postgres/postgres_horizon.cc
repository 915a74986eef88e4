#include "worker/connectors/postgres/postgres_horizon.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model/duration.h"
#include "common/model/source_settings.h"
#include "worker/connectors/postgres/postgres_error.h"
#include "worker/connectors/postgres/postgres_name.h"

namespace tidemark::postgres {
namespace {

constexpr int64_t kSecond = 1'000'000;
// Between a session's reading its clock and its being visible in pg_stat_activity.
constexpr int64_t kMargin = 1 * kSecond;

// The sequences that feed column $2 of table $1 and of its partitions and other heirs, by their dependencies: an
// identity column owns its sequence, a default of nextval() uses one.
constexpr char kFeedingSequencesSql[] = R"(
WITH RECURSIVE family AS (
  SELECT $1::oid AS oid UNION SELECT i.inhrelid FROM family f JOIN pg_inherits i ON i.inhparent = f.oid),
fed AS (
  SELECT a.attrelid, a.attnum FROM family f JOIN pg_attribute a ON a.attrelid = f.oid WHERE a.attname = $2 AND a.attnum > 0),
feeding AS (
  SELECT d.objid AS oid FROM fed JOIN pg_depend d ON d.refobjid = fed.attrelid AND d.refobjsubid = fed.attnum
  WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'i'
  UNION
  SELECT d.refobjid FROM fed JOIN pg_attrdef f ON f.adrelid = fed.attrelid AND f.adnum = fed.attnum
  JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_class'::regclass)
SELECT count(*) = 1 AND bool_and(s.seqcache = 1 AND s.seqincrement > 0 AND NOT s.seqcycle), min(s.seqrelid)
FROM pg_sequence s JOIN feeding f ON f.oid = s.seqrelid)";

int64_t Number(const Text& text) {
  int64_t number = 0;
  (void)absl::SimpleAtoi(text.value_or("0"), &number);
  return number;
}

}  // namespace

WatermarkKind Horizon::kind() const { return *WatermarkKindOf(*sql_->watermark(), *source_); }

int Horizon::precision() const { return sql_->watermark()->column.type().scale(); }

bool Horizon::TooLong(int64_t now, int64_t since) const {
  return source_->has_max_hold() && absl::Microseconds(now - since) > FromProto(source_->max_hold());
}

v1::Watermark Horizon::Value(std::string text) const {
  v1::Watermark watermark;
  watermark.set_text(std::move(text));
  switch (kind()) {
    case WatermarkKind::kInstant:
      watermark.set_type("timestamptz");
      watermark.set_precision(precision());
      break;
    case WatermarkKind::kNaive:
      watermark.set_type("timestamp");
      watermark.set_precision(precision());
      watermark.set_zone(source_->watermark_timezone());
      break;
    case WatermarkKind::kDate:
      watermark.set_type("date");
      watermark.set_zone(source_->watermark_timezone());
      break;
    case WatermarkKind::kInteger:
      watermark.set_type("bigint");
      break;
    case WatermarkKind::kXid8:
      watermark.set_type("xid8");
      break;
  }
  return watermark;
}

absl::StatusOr<std::string> Horizon::Evaluate(const std::string& expression) {
  TM_ASSIGN_OR_RETURN(const Row row, connection_->ExecuteRow(absl::StrCat("SELECT (", expression, ")::text")));
  return row[0].value_or("");
}

absl::StatusOr<HorizonProbe> Horizon::Probe(const std::optional<LastWindow>& last) {
  const std::optional<v1::Watermark> low = last.has_value() ? std::optional(last->high) : std::nullopt;
  if (low.has_value() && low->type() != Value("").type()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the last watermark is a ", low->type(), ", but ", source_->watermark(), " of ", sql_->relation().label,
        " is now ", sql_->watermark()->column.native_type(), ": run once with --full-refresh"));
  }
  TM_ASSIGN_OR_RETURN(Findings findings, Examine());
  findings.last_lookback = last.has_value() ? last->lookback : absl::ZeroDuration();
  if (last.has_value() && last->other_source) {
    findings.against.push_back(absl::StrCat("the last watermark ", low->text(),
                                            " is of another server or timeline: this one may lack what was committed "
                                            "there, or stamp below it"));
  }
  switch (kind()) {
    case WatermarkKind::kInteger:
      return ProbeInteger(low, std::move(findings));
    case WatermarkKind::kXid8:
      return ProbeXid8(low, std::move(findings));
    default:
      return ProbeTime(low, std::move(findings));
  }
}

absl::StatusOr<Horizon::Findings> Horizon::Examine() {
  TM_ASSIGN_OR_RETURN(const Row row,
                      connection_->ExecuteRow("SELECT pg_is_in_recovery(), pg_has_role('pg_read_all_stats', 'USAGE')"));
  Findings findings;
  findings.standby = row[0] == "t";
  findings.sees_activity = row[1] == "t";
  findings.least_lookback = Lookback(*source_);
  const Relation& relation = sql_->relation();
  const std::string& column = source_->watermark();
  if (source_->stamped_by() == v1::STAMPED_BY_APPLICATION) {
    findings.against.push_back(absl::StrCat(column, " is stamped by the application, whose clock has no bound"));
  } else {
    findings.grounds.push_back(absl::StrCat(column, " is stamped by the database (stamped_by)"));
  }
  if (findings.standby && kind() != WatermarkKind::kXid8)
    findings.against.push_back("the source is a standby: the transactions open on its primary are not seen from here");
  if (relation.foreign) {
    findings.against.push_back(
        absl::StrCat(relation.label, " holds rows of another server, whose transactions are not seen"));
  }
  if (relation.replicated) {
    findings.against.push_back(
        absl::StrCat(relation.label, " is filled by logical replication, with stamps of another server"));
  }
  if (relation.materialized) {
    findings.against.push_back(
        absl::StrCat(relation.label, " reads a materialized view: its rows appear at a refresh, whatever their stamp"));
  }
  if (relation.kind == 'v' || relation.is_query()) {
    findings.grounds.push_back(
        "a row of the view or query appears in the transaction that stamps it (a join must not add it later)");
  }
  if (kind() == WatermarkKind::kNaive || kind() == WatermarkKind::kDate) TM_RETURN_IF_ERROR(ExamineZone(findings));
  if (kind() == WatermarkKind::kInteger) TM_RETURN_IF_ERROR(ExamineSequence(findings));
  return findings;
}

absl::Status Horizon::ExamineZone(Findings& findings) {
  const std::string& zone = source_->watermark_timezone();
  if (zone.empty()) {  // a date; see AsColumn
    findings.grounds.push_back("no session's date is behind UTC-12; set watermark_timezone to move dates sooner");
    return absl::OkStatus();
  }
  const auto row = connection_->ExecuteRow(
      "SELECT count(DISTINCT (t AT TIME ZONE $1) - (t AT TIME ZONE 'UTC')) FROM generate_series(now() - interval '400 "
      "days', now() + "
      "interval '400 days', interval '12 hours') t",
      {zone});
  if (!row.ok()) return Annotate(row.status(), "watermark_timezone");
  if (Number((*row)[0]) == 1) {
    findings.grounds.push_back(
        absl::StrCat(source_->watermark(), " is written in ", zone, ", which has no daylight saving time"));
  } else if (kind() == WatermarkKind::kNaive) {
    findings.against.push_back(absl::StrCat(source_->watermark(), " is written in ", zone,
                                            ", whose hour repeats when daylight saving time ends"));
    findings.least_lookback = std::max(findings.least_lookback, absl::Hours(2));
  }
  return absl::OkStatus();
}

absl::Status Horizon::ExamineSequence(Findings& findings) {
  const Relation& relation = sql_->relation();
  const std::string& column = source_->watermark();
  bool proved = false;
  if (relation.kind == 'r' || relation.kind == 'p') {
    TM_ASSIGN_OR_RETURN(const Row row,
                        connection_->ExecuteRow(kFeedingSequencesSql, {absl::StrCat(relation.oid), column}));
    proved = row[0] == "t";
    if (proved && source_->stamped_by() != v1::STAMPED_BY_APPLICATION) findings.sequence = row[1].value_or("");
  }
  if (proved) {
    findings.grounds.push_back(absl::StrCat(
        column, " takes its values from one rising sequence with CACHE 1, never set back, and nowhere else"));
  } else {
    findings.against.push_back(absl::StrCat(
        column, " is not fed by one rising sequence with CACHE 1: a row that takes a lower value later is missed"));
  }
  return absl::OkStatus();
}

void Horizon::HoldForPrepared(const OpenTransactions& prepared, Findings& findings) const {
  if (prepared.prepared_ids.empty()) return;
  const std::string what = absl::StrCat("prepared transaction ", QuoteLiteral(prepared.prepared_name),
                                        " is neither committed nor rolled back");
  if (prepared.prepared_since.has_value() && TooLong(prepared.now, *prepared.prepared_since)) {
    findings.against.push_back(absl::StrCat(what, " for longer than max_hold"));
    // Its stamps are older than its PREPARE.
    findings.least_lookback += absl::Microseconds(prepared.now - *prepared.prepared_since);
  } else {
    findings.holder = what;
  }
}

absl::StatusOr<Horizon::Bound> Horizon::BoundByActivity(const ActivityProbe& activity, absl::Duration wait,
                                                        Findings& findings) {
  Bound bound{activity.now, activity.now, std::nullopt, true};
  bool left_out = false;
  for (const int64_t start : activity.starts) {
    bound.oldest = std::min(start, bound.oldest.value_or(start));
    if (TooLong(activity.now, start)) {
      left_out = true;
    } else {
      bound.instant = std::min(bound.instant, start);
    }
  }
  bound.instant -= kMargin;
  if (left_out) {
    // The window after the one in which it ends must still reach its stamps.
    findings.least_lookback =
        std::max(findings.least_lookback, absl::Microseconds(activity.now - *bound.oldest + kMargin));
    findings.against.push_back(absl::StrCat("a transaction open for ",
                                            DurationText(absl::Seconds((activity.now - *bound.oldest) / kSecond)),
                                            ", longer than max_hold, was left out"));
  }
  findings.grounds.push_back("every open transaction was seen in pg_stat_activity, with a margin of 1s");
  // Only now: a transaction prepared since the look at pg_stat_activity counted there.
  TM_ASSIGN_OR_RETURN(OpenTransactions prepared, ListPrepared(*connection_));
  TM_ASSIGN_OR_RETURN(prepared, WaitOut(*connection_, std::move(prepared), wait));
  HoldForPrepared(prepared, findings);
  return bound;
}

absl::StatusOr<Horizon::Bound> Horizon::BoundByWaiting(absl::Duration wait, Findings& findings) {
  TM_ASSIGN_OR_RETURN(OpenTransactions open, ListOpenTransactions(*connection_));
  Bound bound{open.now, open.now - kMargin, std::nullopt, true};
  TM_ASSIGN_OR_RETURN(open, WaitOut(*connection_, std::move(open), wait));
  if (!open.virtual_ids.empty()) {
    bound.complete = false;
    findings.against.push_back(absl::StrCat(open.virtual_ids.size(),
                                            " open transactions, whose start this role may not see, did not end within "
                                            "horizon_wait: GRANT pg_read_all_stats TO the role"));
  } else {
    findings.grounds.push_back("every transaction open at the probe was waited out (pg_locks), with a margin of 1s");
    findings.grounds.push_back(
        "no procedure that commits inside itself stamps rows by statement_timestamp(): this role cannot see it "
        "(GRANT pg_read_all_stats)");
  }
  HoldForPrepared(open, findings);
  return bound;
}

absl::StatusOr<Horizon::Bound> Horizon::BoundInTime(absl::Duration wait, Findings& findings) {
  if (findings.standby) {
    TM_ASSIGN_OR_RETURN(const OpenTransactions here, ListPrepared(*connection_));
    return Bound{here.now, here.now - kMargin, std::nullopt, true};
  }
  if (!findings.sees_activity) return BoundByWaiting(wait, findings);
  TM_ASSIGN_OR_RETURN(const ActivityProbe activity, ProbeActivity(*connection_));
  if (activity.unseen > 0) return BoundByWaiting(wait, findings);
  return BoundByActivity(activity, wait, findings);
}

// A stamp t not before `instant` is stored rounded, not below instant - unit / 2.
int64_t Horizon::GreatestBelow(int64_t instant) const {
  int64_t unit = 1;
  for (int digits = precision(); digits < 6; ++digits) unit *= 10;
  const int64_t limit = instant - unit / 2;
  int64_t rest = limit % unit;
  if (rest < 0) rest += unit;
  return rest == 0 ? limit - unit : limit - rest;
}

std::string Horizon::AsColumn(int64_t micros) const {
  const std::string instant = absl::StrCat("timestamptz 'epoch' + ", micros, "::bigint * interval '1 microsecond'");
  const std::string& zone = source_->watermark_timezone();
  switch (kind()) {
    case WatermarkKind::kNaive:
      return absl::StrCat("(", instant, ") AT TIME ZONE ", QuoteLiteral(zone));
    case WatermarkKind::kDate:
      // Without a zone: no session anywhere has an earlier date than the westernmost.
      return absl::StrCat("((", instant, ") AT TIME ZONE ", zone.empty() ? "interval '-12:00'" : QuoteLiteral(zone),
                          ")::date");
    default:
      return instant;
  }
}

absl::StatusOr<HorizonProbe> Horizon::ProbeTime(const std::optional<v1::Watermark>& low, Findings findings) {
  TM_ASSIGN_OR_RETURN(const Bound bound, BoundInTime(HorizonWait(*source_), findings));
  const bool date = kind() == WatermarkKind::kDate;
  // A date's clock may go back over midnight with daylight saving time, so the day counts as over 2 h late.
  const std::string below =
      date ? absl::StrCat("(", AsColumn(bound.instant - (source_->watermark_timezone().empty() ? 0 : 7200 * kSecond)),
                          ") - 1")
           : AsColumn(GreatestBelow(bound.instant));
  TM_ASSIGN_OR_RETURN(std::string high, Evaluate(below));
  bool behind = false;
  if (low.has_value()) {
    TM_ASSIGN_OR_RETURN(const std::string answer,
                        Evaluate(absl::StrCat("(", AsColumn(bound.now), ") < ", Literal(low->text()))));
    behind = answer == "true";
  }
  HorizonProbe probe;
  if (behind) {
    // Rows are being stamped below the last watermark: read what is there again, and do not step back.
    findings.against.push_back(absl::StrCat("the source's clock is behind the last watermark ", low->text()));
    TM_ASSIGN_OR_RETURN(probe, Conclude(low, low->text(), findings));
    TM_ASSIGN_OR_RETURN(const std::string start,
                        Evaluate(absl::StrCat("least(", Literal(probe.effective_low->text()), ", (", below,
                                              ")::", sql_->watermark()->type.Sql(), ")")));
    probe.effective_low->set_text(start);
    probe.empty = false;
  } else {
    TM_ASSIGN_OR_RETURN(probe, Conclude(low, high, findings));
  }
  if (!date) {
    v1::Watermark& probed = probe.probed_at.emplace();
    TM_ASSIGN_OR_RETURN(const std::string text, Evaluate(absl::StrCat("timestamptz 'epoch' + ", bound.now,
                                                                      "::bigint * interval '1 microsecond'")));
    probed.set_type("timestamptz");
    probed.set_text(text);
    probed.set_precision(6);
  }
  if (bound.oldest.has_value()) probe.hold = absl::Microseconds(std::max<int64_t>(0, bound.now - *bound.oldest));
  return probe;
}

absl::StatusOr<HorizonProbe> Horizon::ProbeInteger(const std::optional<v1::Watermark>& low, Findings findings) {
  const std::string column = QuoteIdentifier(source_->watermark());
  v1::Window everything;
  everything.set_kind(v1::WINDOW_KIND_WINDOW);
  TM_ASSIGN_OR_RETURN(const std::string from, sql_->From(everything));
  // The maximum first: who took a lower value and has not committed is open now, and is waited for.
  TM_ASSIGN_OR_RETURN(const Row row,
                      connection_->ExecuteRow(absl::StrCat("SELECT max(", column, ")::text FROM ", from)));
  std::string high = row[0].value_or("");
  if (high.empty()) {
    TM_ASSIGN_OR_RETURN(high,
                        Evaluate(low.has_value() ? Literal(low->text()) : LowestLiteral(sql_->watermark()->type)));
  }
  if (!findings.sequence.empty()) TM_RETURN_IF_ERROR(CompareWithSequence(low, high, findings));
  TM_ASSIGN_OR_RETURN(OpenTransactions open, ListOpenTransactions(*connection_));
  TM_ASSIGN_OR_RETURN(open, WaitOut(*connection_, std::move(open), HorizonWait(*source_)));
  HorizonProbe held;
  if (!open.empty()) {
    HoldForPrepared(open, findings);
    std::optional<int64_t> oldest;
    if (findings.sees_activity) {
      TM_ASSIGN_OR_RETURN(const ActivityProbe activity, ProbeActivity(*connection_));
      for (const int64_t start : activity.starts) oldest = std::min(start, oldest.value_or(start));
      if (oldest.has_value()) held.hold = absl::Microseconds(std::max<int64_t>(0, activity.now - *oldest));
    }
    if (!open.virtual_ids.empty()) {
      const std::string what = absl::StrCat(open.virtual_ids.size(), " transactions that may hold a lower ",
                                            source_->watermark(), " are still open");
      if (oldest.has_value() && TooLong(open.now, *oldest)) {
        findings.against.push_back(absl::StrCat(what, ", for longer than max_hold"));
      } else {
        findings.holder = what;
      }
    }
  } else {
    findings.grounds.push_back("every transaction open when the highest value was read has ended (pg_locks)");
  }
  TM_ASSIGN_OR_RETURN(HorizonProbe probe, Conclude(low, high, findings));
  probe.hold = held.hold;
  return probe;
}

absl::Status Horizon::CompareWithSequence(const std::optional<v1::Watermark>& low, const std::string& high,
                                          Findings& findings) {
  TM_ASSIGN_OR_RETURN(
      const Row sequence,
      connection_->ExecuteRow("SELECT format('%I.%I', n.nspname, c.relname), "
                              "has_sequence_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE'), "
                              "s.seqincrement FROM pg_class c "
                              "JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_sequence s ON "
                              "s.seqrelid = c.oid WHERE c.oid = $1::oid",
                              {findings.sequence}));
  const std::string& name = *sequence[0];
  // Without the right to look, that it was never set back stays a premise.
  if (sequence[1] != "t") return absl::OkStatus();
  TM_ASSIGN_OR_RETURN(const Row row, connection_->ExecuteRow(
                                         absl::StrCat("SELECT (last_value::numeric - CASE WHEN is_called THEN 0 ELSE ",
                                                      *sequence[2], " END)::text FROM ", name)));
  const std::string last = row[0].value_or("");
  const auto below = [&](const std::string& value) -> absl::StatusOr<bool> {
    TM_ASSIGN_OR_RETURN(const std::string answer, Evaluate(absl::StrCat(last, "::numeric < ", Literal(value))));
    return answer == "true";
  };
  if (low.has_value()) {
    TM_ASSIGN_OR_RETURN(const bool below_low, below(low->text()));
    TM_ASSIGN_OR_RETURN(const std::string rows_below_low,
                        Evaluate(absl::StrCat(Literal(high), " < ", Literal(low->text()))));
    // Where rows stand at or above it, they were copied in with their values, and the sequence may never have moved.
    if (below_low && rows_below_low == "true") {
      return absl::InvalidArgumentError(absl::StrCat(
          "the sequence ", name, " of watermark column ", source_->watermark(), " stands at ", last,
          ", below the last watermark ", low->text(),
          ": it has been set back, and no window would move the rows it numbers now; run the job once with "
          "--full-refresh"));
    }
  }
  TM_ASSIGN_OR_RETURN(const bool below_high, below(high));
  if (below_high) {
    findings.against.push_back(absl::StrCat(source_->watermark(), " holds ", high, ", which its sequence ", name,
                                            " has not given yet: a row that it numbers later is missed"));
  }
  return absl::OkStatus();
}

absl::StatusOr<HorizonProbe> Horizon::ProbeXid8(const std::optional<v1::Watermark>& low, Findings findings) {
  // Every transaction below xmin has ended, on a standby as on a primary, and prepared ones hold it.
  TM_ASSIGN_OR_RETURN(
      const Row row,
      connection_->ExecuteRow("SELECT (pg_snapshot_xmin(s)::text::numeric - 1)::text, pg_snapshot_xmax(s)::text "
                              "FROM pg_current_snapshot() s"));
  findings.grounds.push_back("every transaction below pg_snapshot_xmin has ended");
  TM_ASSIGN_OR_RETURN(HorizonProbe probe, Conclude(low, row[0].value_or(""), findings));
  probe.probed_at = Value(row[1].value_or(""));
  return probe;
}

absl::StatusOr<HorizonProbe> Horizon::Conclude(const std::optional<v1::Watermark>& low, const std::string& high,
                                               const Findings& findings) {
  HorizonProbe probe;
  v1::Completeness& completeness = probe.completeness;
  if (!findings.holder.empty() && !low.has_value()) {
    return absl::UnavailableError(absl::StrCat(
        findings.holder,
        ", and a first window has no earlier bound to stay at: end it, or set max_hold to go on without the proof"));
  }
  probe.high = Value(findings.holder.empty() ? high : low->text());
  probe.effective_low = low;
  if (low.has_value()) {
    TM_ASSIGN_OR_RETURN(const std::string empty,
                        Evaluate(absl::StrCat(Literal(probe.high.text()), " <= ", Literal(low->text()))));
    probe.empty = empty == "true";
    if (probe.empty) probe.high = *low;
  }
  if (findings.against.empty()) {
    completeness.set_level(v1::Completeness::LEVEL_PROVED);
    for (const std::string& premise : findings.grounds) completeness.add_premises(premise);
  } else {
    completeness.set_level(v1::Completeness::LEVEL_LOOKBACK);
    for (const std::string& premise : findings.against) completeness.add_premises(premise);
    const bool in_time = kind() != WatermarkKind::kInteger && kind() != WatermarkKind::kXid8;
    if (in_time) completeness.set_lookback_seconds(absl::ToInt64Seconds(findings.least_lookback));
  }
  if (low.has_value() && !probe.empty) {
    const bool proved = findings.against.empty();
    if (proved && findings.last_lookback > absl::ZeroDuration()) {
      completeness.add_premises(absl::StrCat("it reaches back ", DurationText(findings.last_lookback),
                                             " behind the window before it, which was not proved"));
    }
    const absl::Duration least = proved ? absl::ZeroDuration() : findings.least_lookback;
    TM_RETURN_IF_ERROR(LookBack(*low, std::max(least, findings.last_lookback), probe));
  }
  if (!findings.holder.empty())
    completeness.add_premises(absl::StrCat("the horizon stays at its last value: ", findings.holder));
  return probe;
}

absl::Status Horizon::LookBack(const v1::Watermark& low, absl::Duration lookback, HorizonProbe& probe) {
  if (lookback == absl::ZeroDuration()) return absl::OkStatus();
  const int64_t seconds = absl::ToInt64Seconds(lookback);
  std::string expression;
  switch (kind()) {
    case WatermarkKind::kInstant:
    case WatermarkKind::kNaive:
      expression = absl::StrCat(Literal(low.text()), " - ", seconds, " * interval '1 second'");
      break;
    case WatermarkKind::kDate:
      expression = absl::StrCat(Literal(low.text()), " - ", seconds / 86400 + 1);
      break;
    default:
      return absl::OkStatus();  // numbers have no distance in time to reach back
  }
  TM_ASSIGN_OR_RETURN(std::string start, Evaluate(expression));
  probe.effective_low = Value(std::move(start));
  return absl::OkStatus();
}

absl::StatusOr<bool> Horizon::IsAbove(const v1::Watermark& value, const v1::Watermark& bound) {
  TM_ASSIGN_OR_RETURN(const std::string answer,
                      Evaluate(absl::StrCat(Literal(value.text()), " > ", Literal(bound.text()))));
  return answer == "true";
}

absl::StatusOr<bool> Horizon::Reached(const v1::Watermark& until) {
  if (kind() == WatermarkKind::kXid8) {
    TM_ASSIGN_OR_RETURN(const std::string reached,
                        Evaluate(absl::StrCat("pg_snapshot_xmin(pg_current_snapshot()) >= ", Literal(until.text()))));
    return reached == "true";
  }
  // Waiting brings nothing more where a probe has waited already, or where a day must end first.
  if (kind() == WatermarkKind::kInteger || kind() == WatermarkKind::kDate) return true;
  TM_ASSIGN_OR_RETURN(const std::string text, Evaluate(absl::StrCat("(extract(epoch FROM ", QuoteLiteral(until.text()),
                                                                    "::timestamptz) * 1000000)::bigint")));
  TM_ASSIGN_OR_RETURN(Findings findings, Examine());
  TM_ASSIGN_OR_RETURN(const Bound bound, BoundInTime(absl::ZeroDuration(), findings));
  if (!findings.holder.empty() || !bound.complete) return false;
  return GreatestBelow(bound.instant) >= Number(text);
}

}  // namespace tidemark::postgres
