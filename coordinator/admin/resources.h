#pragma once

#include <optional>

#include "absl/time/time.h"
#include "coordinator/cache/job_cache.h"
#include "coordinator/run/coordinator.h"
#include "coordinator/store/records.h"
#include "tidemark/v1/cluster.pb.h"
#include "tidemark/v1/connection.pb.h"
#include "tidemark/v1/job.pb.h"
#include "tidemark/v1/run.pb.h"

// Records as the admin API shows them. Pure.
namespace tidemark::coordinator {

v1::Job ToJob(const JobRecord& record, std::optional<absl::Time> next_fire);
// `progress` while the run has not ended. A record without an id has no name.
v1::Run ToRun(const RunRecord& record, const std::optional<RunProgress>& progress = std::nullopt);
v1::RunTask ToTask(const TaskRecord& record);
// The DSNs of `record` are left out. `open_sessions`: of the whole cluster.
v1::Connection ToConnection(const ConnectionRecord& record, int open_sessions);
v1::Worker ToWorker(const WorkerView& view);
v1::AuditEvent ToAuditEvent(const AuditEvent& event);

// "" is revision 0. InvalidArgument names the field.
absl::StatusOr<int64_t> ReadEtag(std::string_view etag);

}  // namespace tidemark::coordinator
