#pragma once

#include "absl/time/time.h"
#include "tidemark/v1/spec.pb.h"

namespace tidemark {

// What a job that does not say otherwise has.

// How long a run waits for the horizon to pass its trigger: 2 s.
absl::Duration HorizonWait(const v1::SourceSpec& source);
// How far a window that is not proved reaches back: 15 minutes.
absl::Duration Lookback(const v1::SourceSpec& source);
// Sessions that a source may see at once: 4.
int MaxConnections(const v1::ConnectionSpec& connection);
// How long a replica may take to replay what its primary had written: 30 s.
absl::Duration MaxLag(const v1::ConnectionSpec& connection);

// A server ends the sessions of a worker that died, stopped or vanished within this time: each connector sets its
// server-side timeouts to it at the most, and a permit that may still be in use stays taken for so long.
inline constexpr absl::Duration kServerSideTimeouts = absl::Seconds(20);

}  // namespace tidemark
