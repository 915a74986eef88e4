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

}  // namespace tidemark::coordinator
