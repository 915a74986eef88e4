#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "common/model/dsn.h"
#include "common/rpc/error_details.h"
#include "common/secret/dsn.h"
#include "common/secret/sealing.h"
#include "coordinator/run/coordinator_core.h"
#include "coordinator/run/project_check.h"

// Jobs and connections, as users change them.

namespace tidemark::coordinator {
namespace {

// A sealed DSN opens in its own place alone.
std::string PlaceOfDsn(std::string_view connection) { return absl::StrCat("connection/", Abs(connection), "/dsn"); }
std::string PlaceOfReplica(std::string_view connection, int index) {
  return absl::StrCat("connection/", Abs(connection), "/replicas/", index);
}

std::string JobName(const JobRecord& job) { return absl::StrCat("jobs/", job.spec.name()); }

absl::Status Changed(std::string_view what, int64_t expected, int64_t now) {
  return absl::AbortedError(absl::StrCat(Abs(what), " was changed since it was read (revision ", expected, ", now ",
                                         now, "): read it again"));
}

bool SameMessage(const google::protobuf::Message& a, const google::protobuf::Message& b) {
  return a.SerializeAsString() == b.SerializeAsString();
}

// A job that was paused stays so, whatever is applied.
bool Paused(const JobRecord& job) { return job.spec.enabled() && !job.enabled; }

// `job` with another specification.
void Respecify(JobRecord& job, const v1::JobSpec& spec, absl::Time now) {
  const bool paused = job.revision > 0 && Paused(job);
  const bool enabled = spec.enabled() && !paused;
  const bool rescheduled = spec.schedule().cron() != job.spec.schedule().cron() ||
                           spec.schedule().timezone() != job.spec.schedule().timezone();
  // A schedule that is new, or sleeps no more, says nothing of the past.
  if (rescheduled || (enabled && !job.enabled) || job.revision == 0) job.scheduled_from = now;
  job.spec = spec;
  job.enabled = enabled;
  job.updated = now;
}

}  // namespace

absl::StatusOr<JobRecord> CoordinatorCore::CreateJob(const JobChange& change) {
  TM_RETURN_IF_ERROR(CheckRequestId(change.request_id));
  TM_RETURN_IF_ERROR(Refresh());
  const JobRecord* stored = state_.FindJobByName(change.spec.name());
  if (stored == nullptr) return PutJob(nullptr, change);
  if (!change.request_id.empty() && stored->request_id == change.request_id) return *stored;
  return absl::AlreadyExistsError(absl::StrCat("there is a job ", change.spec.name()));
}

absl::StatusOr<JobRecord> CoordinatorCore::UpdateJob(const JobChange& change) {
  TM_RETURN_IF_ERROR(Refresh());
  const JobRecord* stored = state_.FindJobByName(change.spec.name());
  if (stored == nullptr && !change.allow_missing) {
    return absl::NotFoundError(absl::StrCat("no job ", change.spec.name()));
  }
  const int64_t revision = stored == nullptr ? 0 : stored->revision;
  if (change.revision != 0 && change.revision != revision) {
    return Changed(absl::StrCat("job ", change.spec.name()), change.revision, revision);
  }
  if (stored != nullptr && SameMessage(stored->spec, change.spec)) return *stored;
  return PutJob(stored, change);
}

absl::StatusOr<JobRecord> CoordinatorCore::PutJob(const JobRecord* stored, const JobChange& change) {
  TM_RETURN_IF_ERROR(CheckJob(change.spec, state_.connections()));
  const std::string target = TargetOf(change.spec, state_.connections());
  for (const auto& [uid, other] : state_.jobs()) {
    const bool self = stored != nullptr && uid == stored->uid;
    if (self || other.spec.target().table() != change.spec.target().table()) continue;
    // One that was stored by an earlier project file may name a connection that this one does not have.
    if (state_.FindConnection(other.spec.target().connection()) == nullptr) continue;
    if (TargetOf(other.spec, state_.connections()) == target) return TwoLoaders(other.spec, change.spec);
  }
  const absl::Time now = options_.clock->Now();
  JobRecord job;
  if (stored != nullptr) {
    job = *stored;
  } else {
    job.uid = NewId(now, *options_.rng);
    job.created = now;
    job.request_id = change.request_id;
  }
  Respecify(job, change.spec, now);
  if (change.validate_only) return job;
  return WriteJob(std::move(job), change.actor, stored == nullptr ? "job.create" : "job.update");
}

absl::StatusOr<JobRecord> CoordinatorCore::WriteJob(JobRecord job, const std::string& actor,
                                                    const std::string& action) {
  WriteBatch batch;
  batch.audit.push_back(Audit(actor, action, JobName(job)));
  const std::string uid = job.uid;
  batch.jobs.push_back(std::move(job));
  TM_RETURN_IF_ERROR(WriteJobs(std::move(batch)));
  TM_RETURN_IF_ERROR(Settle());
  return *state_.FindJob(uid);
}

absl::Status CoordinatorCore::WriteJobs(WriteBatch batch) {
  std::vector<std::string> uids;
  for (const JobRecord& job : batch.jobs) uids.push_back(job.uid);
  TM_RETURN_IF_ERROR(state_.Write(std::move(batch), {}));
  for (const std::string& uid : uids) {
    const JobRecord& written = *state_.FindJob(uid);
    Reschedule(written, written.scheduled_from);
  }
  return absl::OkStatus();
}

absl::StatusOr<JobRecord> CoordinatorCore::SetJobEnabled(std::string_view name, bool enabled,
                                                         const std::string& actor) {
  TM_RETURN_IF_ERROR(Refresh());
  const JobRecord* stored = state_.FindJobByName(name);
  if (stored == nullptr) return absl::NotFoundError(absl::StrCat("no job ", Abs(name)));
  if (stored->enabled == enabled) return *stored;
  JobRecord job = *stored;
  job.enabled = enabled;
  if (enabled) {
    job.spec.set_enabled(true);
    job.scheduled_from = options_.clock->Now();
  }
  job.updated = options_.clock->Now();
  return WriteJob(std::move(job), actor, enabled ? "job.resume" : "job.pause");
}

absl::StatusOr<JobRecord> CoordinatorCore::AdoptJob(std::string_view name, const std::string& actor) {
  TM_RETURN_IF_ERROR(Refresh());
  const JobRecord* stored = state_.FindJobByName(name);
  if (stored == nullptr) return absl::NotFoundError(absl::StrCat("no job ", Abs(name)));
  TM_RETURN_IF_ERROR(NoneUnfinished(*stored, "adopted"));
  if (stored->adopting) return *stored;
  JobRecord job = *stored;
  job.adopting = true;
  job.updated = options_.clock->Now();
  return WriteJob(std::move(job), actor, "job.adopt");
}

absl::Status CoordinatorCore::NoneUnfinished(const JobRecord& job, std::string_view what) const {
  const std::set<std::string>& unfinished = state_.UnfinishedOf(job.uid);
  if (unfinished.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("job ", job.spec.name(), " cannot be ", Abs(what),
                                                    " while its run ", *unfinished.begin(),
                                                    " goes on: wait for it, or cancel it"));
}

absl::StatusOr<const JobRecord*> CoordinatorCore::StoredJob(std::string_view name, int64_t revision) const {
  const JobRecord* job = state_.FindJobByName(name);
  if (job == nullptr) return absl::NotFoundError(absl::StrCat("no job ", Abs(name)));
  if (revision != 0 && revision != job->revision) {
    return Changed(absl::StrCat("job ", Abs(name)), revision, job->revision);
  }
  return job;
}

absl::Status CoordinatorCore::CancelRunsOf(std::string_view name, int64_t revision, const std::string& actor) {
  TM_RETURN_IF_ERROR(Refresh());
  TM_RETURN_IF_ERROR(StoredJob(name, revision).status());
  for (const std::string& id : UnfinishedRuns(name)) {
    RunState* state = state_.FindRun(id);
    // It may have ended with another.
    if (state == nullptr || Ended(state->run.phase) || RunController::CommitUnderWay(RunDraft(state))) continue;
    TM_RETURN_IF_ERROR(CancelRun(id, actor));
  }
  return absl::OkStatus();
}

absl::Status CoordinatorCore::DeleteJob(std::string_view name, int64_t revision, const std::string& actor) {
  TM_RETURN_IF_ERROR(Refresh());
  TM_ASSIGN_OR_RETURN(const JobRecord* const job, StoredJob(name, revision));
  TM_RETURN_IF_ERROR(NoneUnfinished(*job, "deleted"));
  const std::string uid = job->uid;
  // A preview of it would miss it.
  std::vector<std::string> previews;
  for (const auto& [id, state] : state_.runs()) {
    if (state->preview && state->run.job_uid == uid) previews.push_back(id);
  }
  for (const std::string& preview : previews) {
    TM_RETURN_IF_ERROR(GiveUp(*state_.FindRun(preview), absl::StrCat("job ", Abs(name), " is being deleted")));
  }
  WriteBatch batch;
  batch.dropped_jobs.push_back(uid);
  batch.audit.push_back(Audit(actor, "job.delete", JobName(*job)));
  TM_RETURN_IF_ERROR(state_.Write(std::move(batch), {}));
  scheduler_.Remove(uid);
  return absl::OkStatus();
}

absl::StatusOr<ConnectionRecord> CoordinatorCore::CreateConnection(const ConnectionChange& change) {
  TM_RETURN_IF_ERROR(CheckRequestId(change.request_id));
  TM_RETURN_IF_ERROR(Refresh());
  TM_RETURN_IF_ERROR(NeedsSealer());
  const absl::StatusOr<ConnectionRecord> stored = state_.store().GetConnection(change.spec.name());
  if (absl::IsNotFound(stored.status())) return PutConnection(nullptr, change);
  TM_RETURN_IF_ERROR(stored.status());
  if (!change.request_id.empty() && stored->request_id == change.request_id) return *stored;
  return absl::AlreadyExistsError(absl::StrCat("there is a connection ", change.spec.name()));
}

absl::StatusOr<ConnectionRecord> CoordinatorCore::UpdateConnection(const ConnectionChange& change) {
  TM_RETURN_IF_ERROR(Refresh());
  TM_RETURN_IF_ERROR(NeedsSealer());
  const absl::StatusOr<ConnectionRecord> stored = state_.store().GetConnection(change.spec.name());
  if (absl::IsNotFound(stored.status())) {
    if (!change.allow_missing) return absl::NotFoundError(absl::StrCat("no connection ", change.spec.name()));
    return PutConnection(nullptr, change);
  }
  TM_RETURN_IF_ERROR(stored.status());
  if (change.revision != 0 && change.revision != stored->revision) {
    return Changed(absl::StrCat("connection ", change.spec.name()), change.revision, stored->revision);
  }
  return PutConnection(&*stored, change);
}

absl::StatusOr<v1::ConnectionSpec> CoordinatorCore::WithKnownSecrets(v1::ConnectionSpec spec) const {
  const v1::ConnectionSpec* known = state_.FindConnection(spec.name());
  if (spec.dsn().empty() && known != nullptr) {
    spec.set_dsn(known->dsn());
    if (spec.replicas().empty()) *spec.mutable_replicas() = known->replicas();
  }
  for (int i = 0; i < spec.replicas_size(); ++i) {
    if (!spec.replicas(i).empty()) continue;
    if (known == nullptr || i >= known->replicas_size()) {
      return InvalidField(absl::StrCat("connection.replicas[", i, "]"), "is new, and has no dsn");
    }
    spec.set_replicas(i, known->replicas(i));
  }
  return spec;
}

absl::StatusOr<ConnectionRecord> CoordinatorCore::PutConnection(const ConnectionRecord* stored,
                                                                const ConnectionChange& change) {
  TM_ASSIGN_OR_RETURN(const v1::ConnectionSpec spec, WithKnownSecrets(change.spec));
  const v1::ConnectionSpec* known = state_.FindConnection(spec.name());
  TM_RETURN_IF_ERROR(CheckConnection(spec));
  if (stored != nullptr && known != nullptr && SameMessage(*known, spec)) return *stored;
  std::vector<v1::ConnectionSpec> connections = {spec};
  for (const auto& [name, other] : state_.connections()) {
    if (name != spec.name()) connections.push_back(other);
  }
  std::vector<v1::JobSpec> jobs;
  for (const auto& [uid, job] : state_.jobs()) {
    // One of an earlier project file may name what is not there, and must not stand in the way of what is.
    const auto there = [&](const std::string& name) {
      return name == spec.name() || state_.FindConnection(name) != nullptr;
    };
    if (there(job.spec.source().connection()) && there(job.spec.target().connection())) jobs.push_back(job.spec);
  }
  TM_RETURN_IF_ERROR(CheckProject(connections, jobs));

  ConnectionRecord record;
  if (stored != nullptr) {
    record = *stored;
  } else {
    record.name = spec.name();
    record.request_id = change.request_id;
    record.created = options_.clock->Now();
  }
  record.updated = options_.clock->Now();
  record.redacted_dsn = RedactDsn(spec.dsn());
  record.spec = spec;
  record.spec.set_dsn(options_.sealer->Seal(spec.dsn(), PlaceOfDsn(spec.name())));
  for (int i = 0; i < spec.replicas_size(); ++i) {
    record.spec.set_replicas(i, options_.sealer->Seal(spec.replicas(i), PlaceOfReplica(spec.name(), i)));
  }
  // What would be written would have another revision than what is.
  if (change.validate_only) {
    ++record.revision;
    return record;
  }
  WriteBatch batch;
  batch.connections.push_back(record);
  batch.audit.push_back(Audit(change.actor, stored == nullptr ? "connection.create" : "connection.update",
                              absl::StrCat("connections/", spec.name())));
  TM_RETURN_IF_ERROR(state_.Write(std::move(batch), {}));
  ++record.revision;
  SetConnections(std::move(connections));
  TM_RETURN_IF_ERROR(Settle());
  return record;
}

absl::Status CoordinatorCore::DeleteConnection(std::string_view name, int64_t revision, const std::string& actor) {
  TM_RETURN_IF_ERROR(Refresh());
  TM_RETURN_IF_ERROR(NeedsSealer());
  const absl::StatusOr<ConnectionRecord> stored = state_.store().GetConnection(name);
  if (absl::IsNotFound(stored.status())) return absl::NotFoundError(absl::StrCat("no connection ", Abs(name)));
  TM_RETURN_IF_ERROR(stored.status());
  if (revision != 0 && revision != stored->revision) {
    return Changed(absl::StrCat("connection ", Abs(name)), revision, stored->revision);
  }
  for (const auto& [uid, job] : state_.jobs()) {
    if (job.spec.source().connection() != name && job.spec.target().connection() != name) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("connection ", Abs(name), " is used by job ", job.spec.name(), ": delete the job first"));
  }
  WriteBatch batch;
  batch.dropped_connections.push_back(std::string(name));
  batch.audit.push_back(Audit(actor, "connection.delete", absl::StrCat("connections/", Abs(name))));
  TM_RETURN_IF_ERROR(state_.Write(std::move(batch), {}));
  std::vector<v1::ConnectionSpec> connections;
  for (const auto& [other, spec] : state_.connections()) {
    if (other != name) connections.push_back(spec);
  }
  SetConnections(std::move(connections));
  return absl::OkStatus();
}

absl::Status CoordinatorCore::NeedsSealer() const {
  if (options_.sealer != nullptr) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "connections come from the project file here: change them there, and start anew");
}

absl::Status CoordinatorCore::CheckConnection(const v1::ConnectionSpec& spec) const {
  if (spec.name().empty()) return absl::InvalidArgumentError("a connection has no name");
  if (spec.dsn().empty()) return absl::InvalidArgumentError(absl::StrCat("connection ", spec.name(), " has no dsn"));
  if (DsnLocalPath(spec.dsn()).has_value() && spec.worker().empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "connection ", spec.name(), " is a local file, which one worker alone can reach: name it in `worker`"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<v1::ConnectionSpec>> CoordinatorCore::StoredConnections() const {
  if (options_.sealer == nullptr) return std::vector<v1::ConnectionSpec>();
  TM_ASSIGN_OR_RETURN(const std::vector<ConnectionRecord> records, state_.store().ListConnections());
  std::vector<v1::ConnectionSpec> connections;
  for (const ConnectionRecord& record : records) {
    v1::ConnectionSpec spec = record.spec;
    TM_ASSIGN_OR_RETURN(*spec.mutable_dsn(), options_.sealer->Unseal(spec.dsn(), PlaceOfDsn(record.name)));
    for (int i = 0; i < spec.replicas_size(); ++i) {
      TM_ASSIGN_OR_RETURN(*spec.mutable_replicas(i),
                          options_.sealer->Unseal(spec.replicas(i), PlaceOfReplica(record.name, i)));
    }
    connections.push_back(std::move(spec));
  }
  return connections;
}

absl::Status CoordinatorCore::ReadConnections() {
  if (options_.sealer == nullptr) return absl::OkStatus();
  TM_ASSIGN_OR_RETURN(const std::vector<v1::ConnectionSpec> connections, StoredConnections());
  SetConnections(connections);
  return absl::OkStatus();
}

void CoordinatorCore::SetConnections(const std::vector<v1::ConnectionSpec>& connections) {
  state_.SetConnections(connections);
  rates_.SetConnections(connections);
  if (connections_known_) return;
  connections_known_ = true;
  // What living workers read by, an earlier leader has told them.
  for (const Permit* permit : state_.budget().All()) {
    if (!reading_sessions_.contains(permit->session_id)) continue;
    rates_.Assume(RateKey(permit->worker_id, permit->incarnation), permit->connection, options_.clock->Monotonic());
  }
}

absl::Status CoordinatorCore::ApplyProject(const std::vector<v1::ConnectionSpec>& connections,
                                           const std::vector<v1::JobSpec>& jobs) {
  TM_RETURN_IF_ERROR(Refresh());
  TM_RETURN_IF_ERROR(CheckProject(connections, jobs));
  const absl::Time now = options_.clock->Now();
  WriteBatch batch;
  for (const v1::JobSpec& spec : jobs) {
    const JobRecord* stored = state_.FindJobByName(spec.name());
    if (stored != nullptr && SameMessage(stored->spec, spec)) continue;
    JobRecord job;
    if (stored != nullptr) {
      job = *stored;
    } else {
      job.uid = NewId(now, *options_.rng);
      job.created = now;
    }
    Respecify(job, spec, now);
    batch.audit.push_back(Audit("coordinator", stored == nullptr ? "job.create" : "job.update", JobName(job)));
    batch.jobs.push_back(std::move(job));
  }
  TM_RETURN_IF_ERROR(WriteJobs(std::move(batch)));
  SetConnections(connections);
  return Settle();
}

absl::StatusOr<std::vector<std::string>> CoordinatorCore::DisableOthers(const std::vector<v1::JobSpec>& jobs) {
  TM_RETURN_IF_ERROR(Refresh());
  std::set<std::string> named;
  for (const v1::JobSpec& job : jobs) named.insert(job.name());
  const absl::Time now = options_.clock->Now();
  std::vector<std::string> disabled;
  WriteBatch batch;
  for (const auto& [uid, stored] : state_.jobs()) {
    if (!stored.spec.enabled() || named.contains(stored.spec.name())) continue;
    if (stored.enabled) disabled.push_back(stored.spec.name());
    v1::JobSpec spec = stored.spec;
    spec.set_enabled(false);
    JobRecord job = stored;
    Respecify(job, spec, now);
    batch.audit.push_back(Audit("coordinator", "job.update", JobName(job)));
    batch.jobs.push_back(std::move(job));
  }
  TM_RETURN_IF_ERROR(WriteJobs(std::move(batch)));
  return disabled;
}

}  // namespace tidemark::coordinator
