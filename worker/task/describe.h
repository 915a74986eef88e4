#pragma once

#include "absl/status/statusor.h"
#include "tidemark/v1/worker_control.pb.h"
#include "worker/connector/source.h"
#include "worker/connector/target.h"

namespace tidemark {

// Learns all that a run is planned by, and reads no row of data. In this order, which the promise of completeness rests
// on:
//   a replica awaited · source and target described · NULL watermarks refused by policy · horizon probed, by a
//   statement of its own · snapshot opened, if one state of the source must serve the whole run · rows above the
//   horizon looked for · ranges offered · target prepared.
// The horizon of a run that reads a replica comes with the work, probed on the primary before.
// A transaction that the snapshot does not see was then either open at the probe, so its rows stand above the horizon,
// or began after it.
//
// With should_wait or empty_window set the run goes no further now: nothing is offered, prepared or kept open. With
// has_snapshot the session must stay open to keep it.
absl::StatusOr<v1::DescribeResult> Describe(const v1::Task& task, SourceSession& source, TargetSession& target);

}  // namespace tidemark
