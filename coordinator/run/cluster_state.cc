#include "coordinator/run/cluster_state.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "common/rpc/error_details.h"

namespace tidemark::coordinator {
namespace {

bool IsEmpty(const WriteBatch& batch) {
  return batch.connections.empty() && batch.dropped_connections.empty() && batch.jobs.empty() &&
         batch.dropped_jobs.empty() && batch.runs.empty() && batch.tasks.empty() && batch.permits.empty() &&
         batch.dropped_permits.empty() && batch.dropped_triggers.empty() && batch.watermarks.empty() &&
         batch.audit.empty();
}

// Takes `id` out of the set at `key`, and the set with its last element.
void Drop(std::map<std::string, std::set<std::string>, std::less<>>& index, const std::string& key,
          const std::string& id) {
  const auto at = index.find(key);
  if (at == index.end()) return;
  at->second.erase(id);
  if (at->second.empty()) index.erase(at);
}

// Trying again does not help by itself.
bool NeedsMending(const absl::Status& status) {
  return absl::IsResourceExhausted(status) || absl::IsPermissionDenied(status) || absl::IsDataLoss(status);
}

}  // namespace

ClusterState::ClusterState(MetadataStore* store, const Clock* clock, CoordinatorObserver* observer, bool resume)
    : store_(store), clock_(clock), observer_(observer), resume_(resume) {}

absl::Status ClusterState::Answered(absl::Status answer) {
  const absl::Duration now = clock_->Monotonic();
  if (answer.ok()) {
    if (failure_.has_value()) observer_->StoreAnswers(now - failure_->since);
    failure_.reset();
  } else if (failure_.has_value()) {
    failure_->error = answer;
  } else {
    // That another leads is no trouble of the store's.
    if (!deposed_) observer_->StoreFailed(answer);
    failure_ = StoreFailure{answer, now};
  }
  return answer;
}

absl::Status ClusterState::Lead(std::string_view holder, absl::Duration ttl) {
  TM_ASSIGN_OR_RETURN(cluster_id_, store_->ClusterId());
  TM_ASSIGN_OR_RETURN(epoch_, store_->AcquireLeadership(holder, ttl, 0));
  return Read();
}

absl::Status ClusterState::Renew(absl::Duration ttl) {
  absl::Status renewed = store_->RenewLeadership(epoch_, ttl);
  if (!absl::IsFailedPrecondition(renewed)) return Answered(std::move(renewed));
  deposed_ = true;
  return Answered(NotLeaderError(Std(renewed.message())));
}

absl::Status ClusterState::RaiseEpoch(std::string_view holder, absl::Duration ttl, int64_t at_least) {
  absl::StatusOr<int64_t> raised = store_->AcquireLeadership(holder, ttl, at_least);
  if (raised.ok()) {
    epoch_ = *raised;
    ++version_;
    return Answered(absl::OkStatus());
  }
  if (!absl::IsFailedPrecondition(raised.status())) return Answered(raised.status());
  deposed_ = true;
  return Answered(NotLeaderError(Std(raised.status().message())));
}

void ClusterState::Resign() {
  // A lease that cannot be given back runs out.
  if (!deposed_ && epoch_ > 0) (void)store_->ResignLeadership(epoch_);
  deposed_ = true;
}

absl::Status ClusterState::Refresh() {
  if (deposed_) return NotLeaderError("another one leads, or this one was shut down");
  if (!in_doubt_) return absl::OkStatus();
  // That it can be read says nothing of whether it can be written.
  if (absl::Status read = Read(); !read.ok()) return Answered(std::move(read));
  in_doubt_ = false;
  ++version_;
  return absl::OkStatus();
}

absl::Status ClusterState::Read() {
  TM_ASSIGN_OR_RETURN(const std::vector<JobRecord> jobs, store_->ListJobs());
  std::vector<RunRecord> unfinished;
  if (resume_) {
    TM_ASSIGN_OR_RETURN(unfinished, store_->ListUnfinishedRuns());
  }
  TM_ASSIGN_OR_RETURN(const std::vector<PermitRecord> permits, store_->ListPermits());
  std::set<std::string_view> going_on;
  for (const RunRecord& run : unfinished) {
    TM_RETURN_IF_ERROR(ReadRun(run));
    going_on.insert(run.id);
  }
  // Runs that have ended in the store while the image was in doubt.
  for (auto& [id, state] : runs_) {
    if (state->preview || Ended(state->run.phase) || going_on.contains(id)) continue;
    TM_ASSIGN_OR_RETURN(state->run, store_->GetRun(id));
    Index(state.get());
  }
  jobs_.clear();
  job_uids_.clear();
  for (const JobRecord& job : jobs) TakeJob(job);

  std::set<std::string> stored;
  for (const PermitRecord& permit : permits) {
    stored.insert(permit.session_id);
    budget_.Grant(permit);
  }
  std::vector<std::string> dropped;
  for (const Permit* permit : budget_.All()) {
    if (!stored.contains(permit->session_id)) dropped.push_back(permit->session_id);
  }
  for (const std::string& session : dropped) budget_.Release(session);
  return absl::OkStatus();
}

absl::Status ClusterState::ReadRun(const RunRecord& record) {
  std::vector<TaskRecord> tasks;
  if (record.phase != RunPhase::kQueued) {
    TM_ASSIGN_OR_RETURN(tasks, store_->ListTasks(record.id));
  }
  std::unique_ptr<RunState>& state = runs_[record.id];
  if (state == nullptr) {
    state = std::make_unique<RunState>();
    state->fence_epoch = epoch_;
    state->phase_since = clock_->Monotonic();
  }
  if (state->run.phase != record.phase) state->phase_since = clock_->Monotonic();
  state->run = record;
  const std::map<std::string, TaskRecord, std::less<>> before = std::move(state->tasks);
  state->tasks.clear();
  for (const TaskRecord& task : tasks) {
    // Cancelled by the write that was in doubt: its worker may still be at it.
    const auto was = before.find(task.id);
    if (was != before.end() && was->second.state == TaskState::kLeased && task.state == TaskState::kCancelled) {
      state->draining.insert({task.id, task.attempt, task.worker_id, task.incarnation});
    }
    state->tasks[task.id] = task;
  }
  Index(state.get());
  return absl::OkStatus();
}

void ClusterState::TakeJob(JobRecord job) {
  job_uids_[job.spec.name()] = job.uid;
  jobs_[job.uid] = std::move(job);
}

void ClusterState::DropJob(std::string_view uid) {
  const auto job = jobs_.find(uid);
  if (job == jobs_.end()) return;
  job_uids_.erase(job->second.spec.name());
  jobs_.erase(job);
}

void ClusterState::Unindex(const RunState& state) {
  const std::string& id = state.run.id;
  begun_.erase(id);
  ended_.erase(id);
  queued_previews_.erase(id);
  Drop(unfinished_, state.run.job_uid, id);
  Drop(begun_of_, state.run.job_uid, id);
  StandInLine(state.run.job_uid);
}

void ClusterState::StandInLine(const std::string& job_uid) {
  const auto unfinished = unfinished_.find(job_uid);
  const bool idle = unfinished != unfinished_.end() && !begun_of_.contains(job_uid);
  const std::string next = idle ? *unfinished->second.begin() : "";
  const auto now = in_line_.find(job_uid);
  if (now != in_line_.end() && now->second == next) return;
  const auto line_of = [this](const std::string& id) { return FindRun(id)->run.spec.source().connection(); };
  if (now != in_line_.end()) {
    Drop(lines_, line_of(now->second), now->second);
    in_line_.erase(now);
  }
  if (next.empty()) return;
  lines_[line_of(next)].insert(next);
  in_line_[job_uid] = next;
}

void ClusterState::Index(RunState* state) {
  Unindex(*state);
  const RunRecord& run = state->run;
  if (Ended(run.phase)) {
    ended_.insert(run.id);
    return;
  }
  const bool begun = run.phase != RunPhase::kQueued;
  if (begun) begun_[run.id] = state;
  if (state->preview) {
    if (!begun) queued_previews_.insert(run.id);
    return;
  }
  unfinished_[run.job_uid].insert(run.id);
  if (begun) begun_of_[run.job_uid].insert(run.id);
  StandInLine(run.job_uid);
}

const std::set<std::string>& ClusterState::UnfinishedOf(std::string_view job_uid) const {
  static const auto* const kNone = new std::set<std::string>();
  const auto runs = unfinished_.find(job_uid);
  return runs == unfinished_.end() ? *kNone : runs->second;
}

std::vector<RunState*> ClusterState::Begun() const {
  std::vector<RunState*> begun;
  begun.reserve(begun_.size());
  for (const auto& [id, state] : begun_) begun.push_back(state);
  return begun;
}

absl::Status ClusterState::Write(WriteBatch batch, const std::vector<RunDraft*>& drafts) {
  for (const RunDraft* draft : drafts) draft->AddTo(batch);
  if (!IsEmpty(batch)) {
    absl::Status status = store_->Apply(epoch_, batch);
    if (absl::IsFailedPrecondition(status)) {
      deposed_ = true;
      return Answered(NotLeaderError(Std(status.message())));
    }
    if (absl::IsAlreadyExists(status)) return status;
    if (!status.ok()) {
      in_doubt_ = true;
      (void)Answered(status);
      return absl::Status(NeedsMending(status) ? status.code() : absl::StatusCode::kUnavailable,
                          absl::StrCat("the metadata store did not take a change: ", status.message()));
    }
    (void)Answered(absl::OkStatus());
  }
  Publish(batch, drafts);
  return absl::OkStatus();
}

void ClusterState::Publish(const WriteBatch& batch, const std::vector<RunDraft*>& drafts) {
  ++version_;
  for (RunDraft* draft : drafts) {
    draft->Publish(clock_->Monotonic());
    Index(draft->mutable_base());
  }
  for (const std::string& uid : batch.dropped_jobs) DropJob(uid);
  for (JobRecord job : batch.jobs) {
    ++job.revision;
    TakeJob(std::move(job));
  }
  for (const WatermarkAdvance& advance : batch.watermarks) {
    JobRecord& job = jobs_[advance.job_uid];
    job.last_watermark = advance.high;
    job.last_sequence = advance.sequence;
    job.source_identity = advance.source_identity;
    ++job.revision;
  }
  for (PermitRecord permit : batch.permits) {
    ++permit.revision;
    budget_.Grant(std::move(permit));
  }
  for (const std::string& session : batch.dropped_permits) budget_.Release(session);
}

RunState* ClusterState::FindRun(std::string_view id) const {
  const auto it = runs_.find(id);
  return it == runs_.end() ? nullptr : it->second.get();
}

void ClusterState::Forget(std::string_view run_id) {
  const auto it = runs_.find(run_id);
  if (it == runs_.end()) return;
  Unindex(*it->second);
  runs_.erase(it);
}

RunState* ClusterState::AddRun(RunRecord run, bool preview) {
  std::unique_ptr<RunState>& state = runs_[run.id];
  state = std::make_unique<RunState>();
  state->preview = preview;
  state->fence_epoch = epoch_;
  state->phase_since = clock_->Monotonic();
  state->run = std::move(run);
  Index(state.get());
  return state.get();
}

const JobRecord* ClusterState::FindJob(std::string_view uid) const {
  const auto it = jobs_.find(uid);
  return it == jobs_.end() ? nullptr : &it->second;
}

const JobRecord* ClusterState::FindJobByName(std::string_view name) const {
  const auto uid = job_uids_.find(name);
  return uid == job_uids_.end() ? nullptr : FindJob(uid->second);
}

void ClusterState::SetConnections(const std::vector<v1::ConnectionSpec>& connections) {
  connections_.clear();
  for (const v1::ConnectionSpec& connection : connections) connections_[connection.name()] = connection;
  budget_.SetConnections(connections);
}

const v1::ConnectionSpec* ClusterState::FindConnection(std::string_view name) const {
  const auto it = connections_.find(name);
  return it == connections_.end() ? nullptr : &it->second;
}

absl::StatusOr<ChainHistory> ClusterState::History(const JobRecord& job, std::string_view head_run_id) const {
  ChainHistory history;
  TM_ASSIGN_OR_RETURN(std::vector<RunRecord> newest,
                      store_->ListRuns({.job_name = job.spec.name(), .moved_chain = true, .limit = 1}));
  // Of another uid, it is an earlier job of this name that ran, and this one has not.
  if (!newest.empty() && newest[0].job_uid == job.uid) history.last_success = std::move(newest[0]);
  if (!head_run_id.empty()) {
    absl::StatusOr<RunRecord> head = store_->GetRun(head_run_id);
    if (head.ok()) {
      history.head_run = *std::move(head);
    } else if (!absl::IsNotFound(head.status())) {
      return head.status();
    }
  }
  return history;
}

absl::StatusOr<int64_t> ClusterState::NextSequence(const JobRecord& job) const {
  // A run is given its sequence when it begins, and a job's runs begin in the order of their ids.
  TM_ASSIGN_OR_RETURN(const std::vector<RunRecord> newest,
                      store_->ListRuns({.job_name = job.spec.name(), .begun = true, .limit = 1}));
  int64_t last = job.last_sequence;
  for (const RunRecord& run : newest) last = std::max(last, run.sequence);
  return last + 1;
}

}  // namespace tidemark::coordinator
