#pragma once

#include <optional>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/connector/source.h"

namespace tidemark {

// What reads on a replica rest on, probed on its primary by `source`: the horizon, then the position in the log. What
// the probe did not see open had committed before that position, or begins after the probe; so a snapshot of a replica
// that has replayed it is as good as one that the primary opens after the probe (docs/horizons.md).
absl::StatusOr<v1::ReadPoint> FixReadPoint(const v1::Task& task, SourceSession& source);

// The horizon where the last window ended; absent in a window that has none.
std::optional<LastWindow> LastWindowOf(const v1::Window& window, const v1::Completeness& last_completeness,
                                       std::string_view last_source_identity, std::string_view source_identity);

// Probes it. InvalidArgument where the source has no watermark to offer.
absl::StatusOr<HorizonProbe> ProbeWatermark(SourceSession& source, const std::optional<LastWindow>& last);

// Waits, up to `max_lag`, until `source` shows what the read point rests on, and returns how long that took. Any error
// is ReplicaUnfit: it is late, or follows another server or timeline than the primary that was probed.
absl::StatusOr<absl::Duration> AwaitReadPoint(SourceSession& source, std::string_view position,
                                              std::string_view source_identity, absl::Duration max_lag);

}  // namespace tidemark
