#include "worker/task/describe.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/printable.h"
#include "common/base/status_macros.h"
#include "common/base/utf8.h"
#include "common/model/source_settings.h"
#include "common/model/sql_text.h"
#include "worker/connector/ledger_chain.h"
#include "worker/task/read_point.h"
#include "worker/task/task_error.h"
#include "worker/task/task_identity.h"

namespace tidemark {
namespace {

class Describer {
 public:
  Describer(const v1::Task& task, SourceSession& source, TargetSession& target)
      : task_(task),
        job_(task.job()),
        work_(task.describe()),
        source_(source),
        target_(target),
        window_(work_.window()) {}

  absl::StatusOr<v1::DescribeResult> Run();

 private:
  bool HasWatermark() const { return !job_.source().watermark().empty(); }
  // Every row is read whatever its watermark, which is only recorded.
  bool ReadsEverything() const { return job_.target().strategy() == v1::LOAD_STRATEGY_FULL || !HasWatermark(); }
  // A full refresh takes the target over by itself.
  bool Adopts() const { return work_.window().adopt() && !work_.window().full_refresh() && !work_.dry_run(); }
  bool IsRange() const { return window_.kind() == v1::WINDOW_KIND_RANGE; }

  absl::Status DescribeBoth();
  absl::Status ApplyNullPolicy();
  absl::Status CheckRange();
  // Nothing of a replica is looked at before it shows what its primary's probe rests on, the catalog included.
  absl::Status AwaitReplica();
  absl::Status FixHorizon();
  absl::StatusOr<HorizonProbe> Probe();
  absl::Status OpenSnapshotIfNeeded();
  absl::Status DecideToWait();
  absl::Status TakeOverAsItStands(bool moves);

  const v1::Task& task_;
  const v1::JobSpec& job_;
  const v1::DescribeWork& work_;
  SourceSession& source_;
  TargetSession& target_;
  // Of the work, then with the bounds found.
  v1::Window window_;
  // The source's.
  std::vector<v1::ChunkFormat> formats_;
  // Of the probe.
  std::optional<v1::Watermark> probed_at_;
  v1::DescribeResult result_;
};

absl::StatusOr<v1::DescribeResult> Describer::Run() {
  TM_RETURN_IF_ERROR(AwaitReplica());
  TM_RETURN_IF_ERROR(DescribeBoth());
  TM_RETURN_IF_ERROR(ApplyNullPolicy());
  TM_RETURN_IF_ERROR(FixHorizon());
  if (!result_.empty_window()) TM_RETURN_IF_ERROR(OpenSnapshotIfNeeded());
  TM_RETURN_IF_ERROR(DecideToWait());
  if (result_.should_wait() || result_.empty_window()) {
    result_.set_has_snapshot(false);
    result_.clear_snapshot();
    if (Adopts()) TM_RETURN_IF_ERROR(TakeOverAsItStands(/*moves=*/false));
    return std::move(result_);
  }
  auto facts =
      source_.DescribePartitions(window_, job_.source().partition().by(), std::max(1, work_.wanted_partitions()));
  if (!facts.ok()) return FromSource(facts.status());
  result_.mutable_partition_facts()->Assign(facts->begin(), facts->end());
  if (Adopts()) {
    TM_RETURN_IF_ERROR(TakeOverAsItStands(/*moves=*/true));
  } else if (!work_.dry_run()) {
    TM_RETURN_IF_ERROR(target_.Prepare(RunIdentityOf(task_), result_.source_schema(),
                                       work_.window().full_refresh() ? TakeOver::kReplace : TakeOver::kNothing));
  }
  return std::move(result_);
}

// Also where nothing is to be moved: the user's word is used up by a describe that answers. Of the ledger, what is told
// is what the former owner can no longer add to.
absl::Status Describer::TakeOverAsItStands(bool moves) {
  const RunIdentity run = RunIdentityOf(task_);
  const v1::LedgerHead before = result_.ledger();
  TM_RETURN_IF_ERROR(target_.Prepare(run, result_.source_schema(), TakeOver::kAdopt));
  if (!moves) TM_RETURN_IF_ERROR(target_.Abort(run));
  TM_ASSIGN_OR_RETURN(TargetDescription target, target_.Describe(result_.source_schema(), formats_));
  *result_.mutable_ledger() = std::move(target.ledger);
  if (before.exists() && !BelongsTo(before, run)) {
    result_.add_notes(absl::StrCat("the target was taken over as it stood, from job ", before.job_uid(), " of cluster ",
                                   before.cluster_id()));
  }
  return absl::OkStatus();
}

absl::Status Describer::DescribeBoth() {
  auto source = source_.Describe();
  if (!source.ok()) return FromSource(source.status());
  for (const v1::Column& column : source->schema.columns()) {
    if (FindInvalidUtf8(column.name()) == std::string::npos) continue;
    return absl::InvalidArgumentError(absl::StrCat("the source's column \"", Printable(column.name()),
                                                   "\" has a name that is not UTF-8; give it another in a query"));
  }
  for (const int format : source->capabilities.formats()) formats_.push_back(static_cast<v1::ChunkFormat>(format));
  TM_ASSIGN_OR_RETURN(TargetDescription target, target_.Describe(source->schema, formats_));

  if (!source->table_identity.empty() && source->table_identity == target.table_identity) {
    return absl::InvalidArgumentError(
        absl::StrCat("source and target are one table: the connections ", job_.source().connection(), " and ",
                     job_.target().connection(), " lead to the same store, and ", job_.target().table(), " is in it"));
  }
  // What the target lists is for these columns already; a format the source does not speak is of no use.
  for (const v1::ChunkFormat format : target.formats) {
    if (std::find(formats_.begin(), formats_.end(), format) != formats_.end()) result_.add_formats(format);
  }
  if (result_.formats().empty()) {
    return absl::FailedPreconditionError("source and target share no format that carries these columns");
  }
  *result_.mutable_source_schema() = std::move(source->schema);
  *result_.mutable_source() = std::move(source->capabilities);
  result_.set_estimated_rows(source->estimated_rows);
  result_.set_estimated_bytes(source->estimated_bytes);
  result_.set_source_identity(std::move(source->identity));
  if (target.table_exists) *result_.mutable_target_schema() = std::move(target.schema);
  *result_.mutable_target() = std::move(target.capabilities);
  *result_.mutable_ledger() = std::move(target.ledger);
  result_.mutable_notes()->Assign(source->notes.begin(), source->notes.end());
  result_.mutable_notes()->Add(target.notes.begin(), target.notes.end());
  if (result_.ledger().emptied()) {
    result_.add_notes("the target holds no row, although its ledger has loads: somebody has emptied it");
  }
  if (job_.target().strategy() != v1::LOAD_STRATEGY_FULL) {
    result_.add_notes(
        "rows deleted in the source stay in the target: incremental and upsert loads do not see hard deletes");
  }
  return absl::OkStatus();
}

absl::Status Describer::ApplyNullPolicy() {
  if (!HasWatermark()) return absl::OkStatus();
  const std::string& name = job_.source().watermark();
  const auto& columns = result_.source_schema().columns();
  const auto column =
      std::find_if(columns.begin(), columns.end(), [&](const v1::Column& column) { return column.name() == name; });
  if (column == columns.end()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "source.watermark names ", name, ", but the source's columns are ",
        absl::StrJoin(columns, ", ", [](std::string* out, const v1::Column& column) { out->append(column.name()); })));
  }
  if (!column->nullable() || IsRange()) return absl::OkStatus();
  if (ReadsEverything() || job_.source().null_watermark() == v1::NULL_WATERMARK_REREAD) {
    window_.set_nulls(true);
    return absl::OkStatus();
  }
  const auto count = source_.CountNullWatermarks();
  if (!count.ok()) return FromSource(count.status());
  if (*count == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      *count, " rows have no ", name, " (NULL), so that no window would ever move them; give them a value, or set ",
      "source.null_watermark: reread, which reads them in every run and needs target.key"));
}

absl::Status Describer::CheckRange() {
  const auto holds = source_.IsAbove(window_.high(), window_.low());
  if (!holds.ok()) return FromSource(holds.status());
  if (*holds) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("--from ", window_.low().text(), " is not below --to ",
                                                 window_.high().text(),
                                                 ": no row is above the one and not above the other"));
}

absl::Status Describer::FixHorizon() {
  if (HasWatermark() && !ReadsEverything() && LimitsRows(job_.source().query())) {
    return absl::InvalidArgumentError(
        "source.query has a LIMIT, OFFSET or FETCH: the window moves on behind rows that it leaves out; remove it, or "
        "use strategy: full");
  }
  if (!HasWatermark()) {
    v1::Completeness& completeness = *result_.mutable_completeness();
    if (result_.source().snapshot()) {
      completeness.set_level(v1::Completeness::LEVEL_PROVED);
      completeness.add_premises("every row is read in one snapshot of the source");
    } else {
      completeness.set_level(v1::Completeness::LEVEL_LOOKBACK);
      completeness.add_premises("the source offers no snapshot: rows that change while it is read may be missed");
    }
    return absl::OkStatus();
  }
  if (IsRange()) TM_RETURN_IF_ERROR(CheckRange());
  TM_ASSIGN_OR_RETURN(HorizonProbe probe, Probe());
  *result_.mutable_completeness() = std::move(probe.completeness);
  result_.set_horizon_hold_seconds(absl::ToDoubleSeconds(probe.hold));
  if (IsRange()) {
    *result_.mutable_high() = window_.high();
    auto beyond = source_.IsAbove(window_.high(), probe.high);
    if (!beyond.ok()) return FromSource(beyond.status());
    if (*beyond) {
      v1::Completeness& completeness = *result_.mutable_completeness();
      // What a proof would rest on is of no use now; what stands against one still holds.
      if (completeness.level() == v1::Completeness::LEVEL_PROVED) completeness.clear_premises();
      completeness.set_level(v1::Completeness::LEVEL_LOOKBACK);
      completeness.add_premises(absl::StrCat("the range was given, and ends above the source's horizon, ",
                                             probe.high.text(), ": rows in it may still be coming"));
    }
    return absl::OkStatus();
  }
  probed_at_ = std::move(probe.probed_at);
  result_.set_empty_window(probe.empty);
  *result_.mutable_high() = probe.high;
  *window_.mutable_high() = std::move(probe.high);
  if (probe.effective_low.has_value()) {
    *result_.mutable_effective_low() = *probe.effective_low;
    *window_.mutable_low() = *std::move(probe.effective_low);
  }
  return absl::OkStatus();
}

absl::StatusOr<HorizonProbe> Describer::Probe() {
  if (!work_.has_read_point()) {
    return ProbeWatermark(source_, LastWindowOf(work_.window(), work_.last_completeness(), work_.last_source_identity(),
                                                result_.source_identity()));
  }
  const v1::ReadPoint& point = work_.read_point();
  HorizonProbe probe;
  probe.high = point.high();
  probe.completeness = point.completeness();
  if (point.has_effective_low()) probe.effective_low = point.effective_low();
  if (point.has_probed_at()) probe.probed_at = point.probed_at();
  probe.empty = point.empty_window();
  probe.hold = absl::Seconds(point.horizon_hold_seconds());
  return probe;
}

absl::Status Describer::AwaitReplica() {
  if (!work_.has_read_point()) return absl::OkStatus();
  const v1::ReadPoint& point = work_.read_point();
  TM_ASSIGN_OR_RETURN(const absl::Duration lag,
                      AwaitReadPoint(source_, point.position(), point.source_identity(), MaxLag(task_.source())));
  result_.set_replica_lag_seconds(absl::ToDoubleSeconds(lag));
  return absl::OkStatus();
}

absl::Status Describer::OpenSnapshotIfNeeded() {
  const bool needed = window_.kind() == v1::WINDOW_KIND_FULL || !HasWatermark() || !work_.window().has_low();
  if (!needed) return absl::OkStatus();
  if (!result_.source().snapshot()) {
    result_.add_notes("the source offers no snapshot: the partitions of this run may see different states of it");
    return absl::OkStatus();
  }
  auto snapshot = source_.OpenSnapshot();
  if (!snapshot.ok()) return FromSource(snapshot.status());
  result_.set_has_snapshot(true);
  result_.set_snapshot(*std::move(snapshot));
  return absl::OkStatus();
}

absl::Status Describer::DecideToWait() {
  const bool never = work_.horizon_is_final() || work_.dry_run() || ReadsEverything() || IsRange() ||
                     !probed_at_.has_value() || HorizonWait(job_.source()) == absl::ZeroDuration();
  if (never) return absl::OkStatus();
  // Of an empty window, the rows not moved yet are those above its low, which the horizon has not even reached.
  const bool from_low = result_.empty_window() && work_.window().has_low();
  const auto above = source_.MayHoldRowsAbove(from_low ? work_.window().low() : result_.high());
  if (!above.ok()) return FromSource(above.status());
  if (*above) {
    result_.set_should_wait(true);
    *result_.mutable_wait_until() = *probed_at_;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::DescribeResult> Describe(const v1::Task& task, SourceSession& source, TargetSession& target) {
  return Describer(task, source, target).Run();
}

}  // namespace tidemark
