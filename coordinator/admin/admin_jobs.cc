#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/config/spec_check.h"
#include "common/model/duration.h"
#include "common/model/timestamp.h"
#include "common/rpc/error_details.h"
#include "coordinator/admin/admin.h"
#include "coordinator/admin/field_mask.h"
#include "coordinator/admin/list_request.h"
#include "coordinator/admin/resource_name.h"
#include "coordinator/admin/resources.h"
#include "coordinator/admin/spec_error.h"
#include "coordinator/schedule/schedule_spec.h"

// JobService.

namespace tidemark::coordinator {
namespace {

constexpr int kFireTimes = 5;

}  // namespace

v1::Job Admin::Show(const JobRecord& record) const {
  return ToJob(record, options_.coordinator->NextFireOf(record.uid));
}

absl::StatusOr<JobRecord> Admin::StoredJob(std::string_view resource_name) const {
  TM_ASSIGN_OR_RETURN(const std::string id, IdOf(resource_name, "jobs"));
  absl::StatusOr<JobRecord> job = options_.store->GetJob(id);
  if (absl::IsNotFound(job.status())) return absl::NotFoundError(absl::StrCat("no job ", id));
  return job;
}

std::vector<SpecProblem> Admin::ProblemsOf(v1::JobSpec* spec) const {
  JobNeighbours neighbours;
  neighbours.connections = options_.coordinator->ConnectionSpecs();
  // How it gets along with the other jobs, the coordinator judges when it takes it: nothing comes between then.
  return CheckJobSpec(neighbours, checks_, spec);
}

absl::StatusOr<v1::JobSpec> Admin::Judge(const v1::JobSpec& spec, std::string_view field) const {
  v1::JobSpec complete = spec;
  TM_RETURN_IF_ERROR(SpecError(ProblemsOf(&complete), field));
  return complete;
}

absl::StatusOr<v1::Job> Admin::CreateJob(const v1::CreateJobRequest& request, const std::string& actor) {
  JobChange change;
  TM_ASSIGN_OR_RETURN(change.spec, Judge(request.job(), "job"));
  change.validate_only = request.validate_only();
  change.request_id = request.request_id();
  change.actor = actor;
  TM_ASSIGN_OR_RETURN(const JobRecord job, options_.coordinator->CreateJob(change));
  return Show(job);
}

absl::StatusOr<v1::Job> Admin::GetJob(const v1::GetJobRequest& request) {
  TM_ASSIGN_OR_RETURN(const JobRecord job, StoredJob(request.name()));
  return Show(job);
}

absl::StatusOr<v1::ListJobsResponse> Admin::ListJobs(const v1::ListJobsRequest& request) {
  TM_ASSIGN_OR_RETURN(const Page page, ReadPage(request.page_size(), request.page_token()));
  TM_ASSIGN_OR_RETURN(const ListFilter filter, ListFilter::Parse(request.filter(), *v1::Job::descriptor()));
  TM_ASSIGN_OR_RETURN(const std::shared_ptr<const JobList> list, options_.jobs->Get());
  auto next = std::partition_point(list->jobs.begin(), list->jobs.end(), [&](const JobDefinition& job) {
    return !page.after.empty() && job.spec.name() <= page.after;
  });
  v1::ListJobsResponse response;
  while (next != list->jobs.end() && response.jobs_size() < page.size) {
    // Where the jobs stand is asked for page by page: it changes with every run.
    const auto end = list->jobs.end() - next > page.size ? next + page.size : list->jobs.end();
    std::vector<std::string> uids;
    for (auto job = next; job != end; ++job) uids.push_back(job->uid);
    const std::map<std::string, JobPosition> positions = options_.coordinator->PositionsOf(uids);
    for (; next != end && response.jobs_size() < page.size; ++next) {
      const auto position = positions.find(next->uid);
      if (position == positions.end()) continue;  // Dropped since the list was read.
      JobRecord record;
      record.uid = next->uid;
      record.spec = next->spec;
      record.enabled = next->enabled;
      record.created = next->created;
      record.updated = next->updated;
      record.last_watermark = position->second.last_watermark;
      record.adopting = position->second.adopting;
      record.revision = position->second.revision;
      v1::Job job = ToJob(record, position->second.next_fire);
      if (filter.Matches(job)) *response.add_jobs() = std::move(job);
    }
  }
  if (next != list->jobs.end()) response.set_next_page_token(PageToken(std::prev(next)->spec.name()));
  return response;
}

absl::StatusOr<v1::Job> Admin::UpdateJob(const v1::UpdateJobRequest& request, const std::string& actor) {
  const std::string name =
      request.job().name().empty() ? absl::StrCat("jobs/", request.job().spec().name()) : request.job().name();
  TM_ASSIGN_OR_RETURN(const std::string id, IdOf(name, "jobs", "job.name"));
  if (!request.job().spec().name().empty() && request.job().spec().name() != id) {
    return InvalidField("job.spec.name", absl::StrCat("a job keeps its name, which is ", id));
  }
  JobChange change;
  TM_ASSIGN_OR_RETURN(change.revision, ReadEtag(request.job().etag()));
  change.allow_missing = request.allow_missing();
  change.validate_only = request.validate_only();
  change.actor = actor;
  v1::JobSpec spec = request.job().spec();
  if (!request.update_mask().paths().empty()) {
    absl::StatusOr<JobRecord> stored = StoredJob(name);
    if (!stored.ok() && !(absl::IsNotFound(stored.status()) && request.allow_missing())) return stored.status();
    spec = stored.ok() ? stored->spec : v1::JobSpec();
    TM_RETURN_IF_ERROR(ApplyMask(request.update_mask(), request.job().spec(), &spec));
    // What was merged must rest on what is replaced.
    if (stored.ok() && change.revision == 0) change.revision = stored->revision;
  }
  spec.set_name(id);
  TM_ASSIGN_OR_RETURN(change.spec, Judge(spec, "job.spec"));
  TM_ASSIGN_OR_RETURN(const JobRecord job, options_.coordinator->UpdateJob(change));
  return Show(job);
}

absl::Status Admin::DeleteJob(const v1::DeleteJobRequest& request, const std::string& actor) {
  TM_ASSIGN_OR_RETURN(const std::string id, IdOf(request.name(), "jobs"));
  TM_ASSIGN_OR_RETURN(const int64_t revision, ReadEtag(request.etag()));
  return options_.coordinator->DeleteJob(id, revision, request.force(), actor);
}

absl::StatusOr<v1::Job> Admin::SetEnabled(std::string_view resource_name, bool enabled, const std::string& actor) {
  TM_ASSIGN_OR_RETURN(const std::string id, IdOf(resource_name, "jobs"));
  TM_ASSIGN_OR_RETURN(const JobRecord job, options_.coordinator->SetJobEnabled(id, enabled, actor));
  return Show(job);
}

absl::StatusOr<v1::Job> Admin::PauseJob(const v1::PauseJobRequest& request, const std::string& actor) {
  return SetEnabled(request.name(), false, actor);
}

absl::StatusOr<v1::Job> Admin::ResumeJob(const v1::ResumeJobRequest& request, const std::string& actor) {
  return SetEnabled(request.name(), true, actor);
}

absl::StatusOr<v1::Job> Admin::AdoptJob(const v1::AdoptJobRequest& request, const std::string& actor) {
  TM_ASSIGN_OR_RETURN(const std::string id, IdOf(request.name(), "jobs"));
  TM_ASSIGN_OR_RETURN(const JobRecord job, options_.coordinator->AdoptJob(id, actor));
  return Show(job);
}

absl::StatusOr<v1::Run> Admin::Start(std::string_view resource_name, const RunRequest& request) {
  TM_ASSIGN_OR_RETURN(const std::string id, IdOf(resource_name, "jobs"));
  TM_ASSIGN_OR_RETURN(const std::string run, options_.coordinator->StartRun(id, request));
  return ShowRun(run);
}

absl::StatusOr<v1::Run> Admin::RunJob(const v1::RunJobRequest& request, const std::string& actor) {
  RunRequest run;
  run.request_id = request.request_id();
  run.full_refresh = request.full_refresh();
  run.actor = actor;
  return Start(request.name(), run);
}

absl::StatusOr<v1::Run> Admin::BackfillJob(const v1::BackfillJobRequest& request, const std::string& actor) {
  if (request.low().empty()) return InvalidField("low", "missing: rows above it are moved");
  if (request.high().empty()) return InvalidField("high", "missing: rows up to it are moved");
  RunRequest run;
  run.request_id = request.request_id();
  run.from = request.low();
  run.to = request.high();
  run.actor = actor;
  return Start(request.name(), run);
}

absl::StatusOr<v1::ValidateJobResponse> Admin::ValidateJob(const v1::ValidateJobRequest& request) {
  v1::ValidateJobResponse response;
  JobChange change;
  change.spec = request.job();
  change.allow_missing = true;
  change.validate_only = true;
  const std::vector<SpecProblem> problems = ProblemsOf(&change.spec);
  for (const SpecProblem& problem : problems) {
    v1::ValidateJobResponse::Problem& told = *response.add_problems();
    told.set_field(problem.field);
    told.set_description(problem.description);
    told.set_error(problem.error);
  }
  if (HasError(problems)) return response;
  const absl::Status fits = options_.coordinator->UpdateJob(change).status();
  if (!fits.ok() && !absl::IsInvalidArgument(fits)) return fits;
  if (!fits.ok()) {
    v1::ValidateJobResponse::Problem& told = *response.add_problems();
    told.set_description(std::string(fits.message()));
    told.set_error(true);
  }
  return response;
}

absl::StatusOr<v1::PlanJobResponse> Admin::PlanJob(const v1::PlanJobRequest& request, absl::Duration patience,
                                                   const Gone& gone) {
  TM_ASSIGN_OR_RETURN(const JobRecord job, StoredJob(request.name()));
  TM_ASSIGN_OR_RETURN(const std::string id, options_.coordinator->StartPreview(job.spec.name(), RunRequest()));
  TM_ASSIGN_OR_RETURN(const Preview preview, options_.coordinator->WaitPreview(id, patience, gone));
  v1::PlanJobResponse response;
  response.set_job(absl::StrCat("jobs/", job.spec.name()));
  if (preview.window.has_low()) *response.mutable_watermark_low() = preview.window.low();
  if (preview.window.has_high()) *response.mutable_watermark_high() = preview.window.high();
  *response.mutable_completeness() = preview.description.completeness();
  for (const v1::KeyRange& range : preview.plan.ranges) *response.add_partitions() = range;
  if (preview.description.formats_size() > 0) response.set_format(preview.description.formats(0));
  for (const std::string& note : preview.description.notes()) response.add_notes(note);
  *response.mutable_horizon_hold() = ToProto(absl::Seconds(preview.description.horizon_hold_seconds()));
  for (const absl::Time time : NextFireTimes(job.spec.schedule(), options_.coordinator->clock().Now(), kFireTimes)) {
    *response.add_next_fire_times() = ToProto(time);
  }
  return response;
}

}  // namespace tidemark::coordinator
