#include "worker/task/read_point.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "worker/task/task_error.h"

namespace tidemark {

std::optional<LastWindow> LastWindowOf(const v1::Window& window, const v1::Completeness& last_completeness,
                                       std::string_view last_source_identity, std::string_view source_identity) {
  if (!window.has_low() || window.kind() == v1::WINDOW_KIND_RANGE) return std::nullopt;
  LastWindow last = window.low();
  last.lookback = absl::Seconds(last_completeness.lookback_seconds());
  last.other_source = !last_source_identity.empty() && last_source_identity != source_identity;
  return last;
}

absl::StatusOr<HorizonProbe> ProbeWatermark(SourceSession& source, const std::optional<LastWindow>& last) {
  auto probe = source.ProbeHorizon(last);
  if (absl::IsUnimplemented(probe.status())) {
    return absl::InvalidArgumentError(absl::StrCat("this source has no watermark to offer (", probe.status().message(),
                                                   "): remove source.watermark and use strategy full"));
  }
  if (!probe.ok()) return FromSource(probe.status());
  return probe;
}

absl::StatusOr<v1::ReadPoint> FixReadPoint(const v1::Task& task, SourceSession& source) {
  const v1::ReadPointWork& work = task.read_point();
  v1::ReadPoint point;
  auto identity = source.Identity();
  if (!identity.ok()) return FromSource(identity.status());
  point.set_source_identity(*std::move(identity));
  if (!task.job().source().watermark().empty()) {
    TM_ASSIGN_OR_RETURN(HorizonProbe probe,
                        ProbeWatermark(source, LastWindowOf(work.window(), work.last_completeness(),
                                                            work.last_source_identity(), point.source_identity())));
    *point.mutable_high() = std::move(probe.high);
    *point.mutable_completeness() = std::move(probe.completeness);
    point.mutable_completeness()->add_premises(
        "probed on the primary; every session on a replica first waits until it has replayed that point");
    if (probe.effective_low.has_value()) *point.mutable_effective_low() = *std::move(probe.effective_low);
    if (probe.probed_at.has_value()) *point.mutable_probed_at() = *std::move(probe.probed_at);
    point.set_empty_window(probe.empty);
    point.set_horizon_hold_seconds(absl::ToDoubleSeconds(probe.hold));
  }
  // Last: all that the probe rests on stands before it.
  auto position = source.Position();
  if (absl::IsUnimplemented(position.status())) {
    return absl::InvalidArgumentError(
        absl::StrCat("connection ", task.source().name(), ": ", position.status().message()));
  }
  if (!position.ok()) return FromSource(position.status());
  point.set_position(*std::move(position));
  return point;
}

absl::StatusOr<absl::Duration> AwaitReadPoint(SourceSession& source, std::string_view position,
                                              std::string_view source_identity, absl::Duration max_lag) {
  const auto lag = source.AwaitPosition(position, max_lag);
  if (!lag.ok() && !absl::IsUnavailable(lag.status())) return FromSource(lag.status());
  // Only now: what it has replayed may have led it to its primary's timeline.
  const auto identity = source.Identity();
  if (!identity.ok()) return FromSource(identity.status());
  if (*identity == source_identity) {
    if (!lag.ok()) return ReplicaUnfit(Std(lag.status().message()));
    return *lag;
  }
  return ReplicaUnfit(absl::StrCat("the replica is not one of the primary that was probed: it follows ", *identity,
                                   ", the primary is ", Abs(source_identity),
                                   " (system identifier, timeline, database)"));
}

}  // namespace tidemark
