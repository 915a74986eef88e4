#pragma once

#include <functional>
#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/config/spec_value.h"
#include "coordinator/cache/job_cache.h"
#include "coordinator/run/coordinator.h"
#include "coordinator/store/metadata_store.h"
#include "tidemark/v1/cluster.pb.h"
#include "tidemark/v1/connection.pb.h"
#include "tidemark/v1/job.pb.h"
#include "tidemark/v1/run.pb.h"

namespace tidemark::coordinator {

// What the admin services stand on. All outlive them.
struct AdminOptions {
  Coordinator* coordinator = nullptr;
  MetadataStore* store = nullptr;
  JobCache* jobs = nullptr;
  // Shown by GetStatus.
  std::string version;
  // Where connections live in memory alone, ConnectionService shows those of the coordinator.
  bool connections_stored = true;
};

// The admin services without their transport. Every method is named for the call it answers, whose rules stand in
// proto/tidemark/v1; `actor` is who called, for the audit; a call that may take long asks `gone` now and then, and ends
// with Cancelled. Errors carry ErrorDetails. Thread-safe.
class Admin {
 public:
  // The caller waits no more for the answer.
  using Gone = std::function<bool()>;

  explicit Admin(AdminOptions options);

  // HOST:PORT where others reach this admin service, once that is known; shown by GetStatus.
  void SetAddress(std::string address);

  absl::StatusOr<v1::Job> CreateJob(const v1::CreateJobRequest& request, const std::string& actor);
  absl::StatusOr<v1::Job> GetJob(const v1::GetJobRequest& request);
  absl::StatusOr<v1::ListJobsResponse> ListJobs(const v1::ListJobsRequest& request);
  absl::StatusOr<v1::Job> UpdateJob(const v1::UpdateJobRequest& request, const std::string& actor);
  absl::Status DeleteJob(const v1::DeleteJobRequest& request, const std::string& actor);
  absl::StatusOr<v1::Job> PauseJob(const v1::PauseJobRequest& request, const std::string& actor);
  absl::StatusOr<v1::Job> ResumeJob(const v1::ResumeJobRequest& request, const std::string& actor);
  absl::StatusOr<v1::Job> AdoptJob(const v1::AdoptJobRequest& request, const std::string& actor);
  absl::StatusOr<v1::Run> RunJob(const v1::RunJobRequest& request, const std::string& actor);
  absl::StatusOr<v1::Run> BackfillJob(const v1::BackfillJobRequest& request, const std::string& actor);
  absl::StatusOr<v1::ValidateJobResponse> ValidateJob(const v1::ValidateJobRequest& request);
  absl::StatusOr<v1::PlanJobResponse> PlanJob(const v1::PlanJobRequest& request, absl::Duration patience,
                                              const Gone& gone);

  absl::StatusOr<v1::Run> GetRun(const v1::GetRunRequest& request);
  absl::StatusOr<v1::ListRunsResponse> ListRuns(const v1::ListRunsRequest& request, const Gone& gone);
  // Calls `send` until the run has ended, `send` returns false, or the caller is gone.
  absl::Status WatchRun(const v1::WatchRunRequest& request,
                        const std::function<bool(const v1::WatchRunResponse&)>& send, const Gone& gone);
  absl::StatusOr<v1::ListTasksResponse> ListTasks(const v1::ListTasksRequest& request);
  absl::StatusOr<v1::Run> CancelRun(const v1::CancelRunRequest& request, const std::string& actor);
  absl::StatusOr<v1::Run> RetryRun(const v1::RetryRunRequest& request, const std::string& actor);

  absl::StatusOr<v1::Connection> CreateConnection(const v1::CreateConnectionRequest& request, const std::string& actor);
  absl::StatusOr<v1::Connection> GetConnection(const v1::GetConnectionRequest& request);
  absl::StatusOr<v1::ListConnectionsResponse> ListConnections(const v1::ListConnectionsRequest& request);
  absl::StatusOr<v1::Connection> UpdateConnection(const v1::UpdateConnectionRequest& request, const std::string& actor);
  absl::Status DeleteConnection(const v1::DeleteConnectionRequest& request, const std::string& actor);
  absl::StatusOr<v1::TestConnectionResponse> TestConnection(const v1::TestConnectionRequest& request,
                                                            absl::Duration patience, const Gone& gone);

  absl::StatusOr<v1::ClusterStatus> GetStatus(const v1::GetStatusRequest& request);
  absl::StatusOr<v1::ListWorkersResponse> ListWorkers(const v1::ListWorkersRequest& request);
  absl::StatusOr<v1::Worker> DrainWorker(const v1::DrainWorkerRequest& request, const std::string& actor);
  absl::StatusOr<v1::ListAuditEventsResponse> ListAuditEvents(const v1::ListAuditEventsRequest& request,
                                                              const Gone& gone);

 private:
  // -- admin_jobs.cc
  v1::Job Show(const JobRecord& record) const;
  absl::StatusOr<JobRecord> StoredJob(std::string_view resource_name) const;
  // The specification complete, or what is wrong with it.
  absl::StatusOr<v1::JobSpec> Judge(const v1::JobSpec& spec, std::string_view field) const;
  std::vector<struct SpecProblem> ProblemsOf(v1::JobSpec* spec) const;
  absl::StatusOr<v1::Job> SetEnabled(std::string_view resource_name, bool enabled, const std::string& actor);
  absl::StatusOr<v1::Run> Start(std::string_view resource_name, const RunRequest& request);

  // -- admin_runs.cc
  // Of "runs/ID" and "jobs/JOB/runs/latest".
  absl::StatusOr<std::string> RunIdOf(std::string_view resource_name, std::string_view field = "name") const;
  absl::StatusOr<v1::Run> ShowRun(const std::string& id) const;
  v1::Run Show(const RunRecord& record) const;

  // -- admin_connections.cc
  absl::StatusOr<std::vector<ConnectionRecord>> StoredConnections() const;
  absl::StatusOr<ConnectionRecord> StoredConnection(const std::string& name) const;
  absl::StatusOr<v1::ConnectionSpec> Judge(const v1::ConnectionSpec& spec) const;
  // By connection.
  std::map<std::string, int> OpenSessions() const;
  v1::Connection Show(const ConnectionRecord& record) const;

  const AdminOptions options_;
  const ValueChecks checks_;
  const absl::Duration started_;
  absl::Mutex mutex_;
  std::string address_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace tidemark::coordinator
