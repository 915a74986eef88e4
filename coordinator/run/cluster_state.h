#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "coordinator/dispatch/connection_budget.h"
#include "coordinator/run/chain_check.h"
#include "coordinator/run/coordinator.h"
#include "coordinator/run/project_check.h"
#include "coordinator/run/run_state.h"
#include "coordinator/store/metadata_store.h"
#include "tidemark/v1/spec.pb.h"

namespace tidemark::coordinator {

// The leader's image of the store: jobs, runs that have not ended, permits. Every change is written to the store first
// and is seen here only when it is there. A write that was lost, or refused because the image is stale, is followed by
// reading anew. Not thread-safe.
class ClusterState {
 public:
  // All three must outlive it. Without `resume`, stored runs that have not ended stay out of the image.
  ClusterState(MetadataStore* store, const Clock* clock, CoordinatorObserver* observer, bool resume);

  // Takes the leader's lease; then the image is read.
  absl::Status Lead(std::string_view holder, absl::Duration ttl);
  absl::Status Renew(absl::Duration ttl);
  // A later epoch of the same leader, above `at_least`.
  absl::Status RaiseEpoch(std::string_view holder, absl::Duration ttl, int64_t at_least);
  void Resign();

  int64_t epoch() const { return epoch_; }
  const std::string& cluster_id() const { return cluster_id_; }

  // Reads the store anew if a write before left the image in doubt. Call it before every decision. FailedPrecondition
  // once the leadership is lost.
  absl::Status Refresh();
  // What is stored may differ from the image: nothing may be decided before Refresh.
  bool in_doubt() const { return in_doubt_ || deposed_; }
  bool deposed() const { return deposed_; }
  // Grows with every change of the image, but for the progress of tasks.
  int64_t version() const { return version_ + budget_.version(); }

  // Writes `batch` with what the drafts add to it, as one, and publishes. Grants and drops of permits are the batch's.
  // FailedPrecondition "leadership lost": another leads. Unavailable: it may have happened, and the call that led here
  // should be repeated; so for ResourceExhausted, PermissionDenied and DataLoss, but the store needs mending first.
  // AlreadyExists as the store says.
  absl::Status Write(WriteBatch batch, const std::vector<RunDraft*>& drafts);

  // Every run that has not ended, by id.
  const std::map<std::string, std::unique_ptr<RunState>, std::less<>>& runs() const { return runs_; }
  // Those that have begun, by id; what happens to them meanwhile does not change this list. There may be any number of
  // queued ones, which nothing but their turn concerns.
  std::vector<RunState*> Begun() const;
  // Who may begin next, by its source's connection, oldest first: of each job that does nothing else the oldest queued
  // run. However many a job has queued behind it, they are not looked at. Previews stand in no line.
  const std::map<std::string, std::set<std::string>, std::less<>>& lines() const { return lines_; }
  const std::set<std::string>& queued_previews() const { return queued_previews_; }
  // Runs of the job that have not ended, oldest first; previews are no runs.
  const std::set<std::string>& UnfinishedOf(std::string_view job_uid) const;
  // Those that have ended and were not taken out yet.
  const std::set<std::string>& ended() const { return ended_; }
  RunState* FindRun(std::string_view id) const;
  // Takes the run out once it has ended.
  void Forget(std::string_view run_id);
  // A run that was just stored, or a preview, which lives here alone.
  RunState* AddRun(RunRecord run, bool preview);

  const std::map<std::string, JobRecord, std::less<>>& jobs() const { return jobs_; }  // By uid.
  const JobRecord* FindJob(std::string_view uid) const;
  const JobRecord* FindJobByName(std::string_view name) const;

  ConnectionBudget& budget() { return budget_; }
  const ConnectionBudget& budget() const { return budget_; }

  void SetConnections(const std::vector<v1::ConnectionSpec>& connections);
  const ConnectionsByName& connections() const { return connections_; }
  // Null if the connection is not known (yet).
  const v1::ConnectionSpec* FindConnection(std::string_view name) const;

  absl::StatusOr<ChainHistory> History(const JobRecord& job, std::string_view head_run_id) const;
  // Above every sequence that a run of the job was ever given.
  absl::StatusOr<int64_t> NextSequence(const JobRecord& job) const;

  MetadataStore& store() const { return *store_; }
  // See Coordinator.
  const std::optional<StoreFailure>& store_failure() const { return failure_; }

 private:
  absl::Status Read();
  absl::Status ReadRun(const RunRecord& record);
  void Publish(const WriteBatch& batch, const std::vector<RunDraft*>& drafts);
  void TakeJob(JobRecord job);
  void DropJob(std::string_view uid);
  // After any change of the run's phase.
  void Index(RunState* state);
  void Unindex(const RunState& state);
  // Puts the run into the line that is to begin next of the job.
  void StandInLine(const std::string& job_uid);

  // Notes how the store has answered and passes it on.
  absl::Status Answered(absl::Status answer);

  MetadataStore* const store_;
  const Clock* const clock_;
  CoordinatorObserver* const observer_;
  const bool resume_;
  std::string cluster_id_;
  int64_t epoch_ = 0;
  int64_t version_ = 0;
  bool in_doubt_ = false;
  bool deposed_ = false;
  std::optional<StoreFailure> failure_;

  std::map<std::string, JobRecord, std::less<>> jobs_;
  std::map<std::string, std::string, std::less<>> job_uids_;  // By name.
  std::map<std::string, std::unique_ptr<RunState>, std::less<>> runs_;
  // See the accessors.
  std::map<std::string, RunState*, std::less<>> begun_;
  std::map<std::string, std::set<std::string>, std::less<>> unfinished_;
  // By job: its runs that have begun.
  std::map<std::string, std::set<std::string>, std::less<>> begun_of_;
  std::map<std::string, std::set<std::string>, std::less<>> lines_;
  // By job: its run that stands in a line.
  std::map<std::string, std::string, std::less<>> in_line_;
  std::set<std::string> queued_previews_;
  std::set<std::string> ended_;
  ConnectionsByName connections_;
  ConnectionBudget budget_;
};

}  // namespace tidemark::coordinator
