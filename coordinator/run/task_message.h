#pragma once

#include <optional>
#include <string>

#include "coordinator/run/run_state.h"
#include "tidemark/v1/worker_control.pb.h"

namespace tidemark::coordinator {

// What a worker is told of a leased task. `session` is absent for tasks that read no source.
v1::Task TaskMessage(const RunState& state, const TaskRecord& task, const std::string& cluster_id,
                     const v1::ConnectionSpec& source, const v1::ConnectionSpec& target,
                     const std::optional<v1::SessionGrant>& session, int wanted_partitions);

// Adds what a describe, or a probe of the primary, must know of the window that ended at the job's last watermark.
// `last_success` is that of its ChainHistory. Of a run that this store never had nothing is known: it counts as
// lookback, unless the job appends without a key, which is done to proved windows alone.
void AddLastWindow(const JobRecord& job, const std::optional<RunRecord>& last_success, v1::Task& task);

}  // namespace tidemark::coordinator
