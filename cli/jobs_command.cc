#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/commands.h"
#include "cli/message_value.h"
#include "cli/new_run.h"
#include "cli/print.h"
#include "cli/resource_name.h"
#include "cli/server_call.h"
#include "common/base/status_macros.h"
#include "common/model/enum_names.h"
#include "common/model/timestamp.h"

namespace tidemark::cli {
namespace {

// What a list of jobs says of one.
Value::Record JobObject(const v1::Job& job) {
  const v1::ScheduleSpec& schedule = job.spec().schedule();
  return {{"job", IdOf(job.name())},
          {"schedule", Value::OrNull(schedule.cron())},
          {"timezone",
           job.spec().has_schedule() ? Value(schedule.timezone().empty() ? "UTC" : schedule.timezone()) : Value()},
          {"next_fire_time", job.has_next_fire_time() ? Value(TimeText(FromProto(job.next_fire_time()))) : Value()},
          {"last_watermark", job.has_last_watermark() ? Value(job.last_watermark().text()) : Value()},
          {"paused", job.paused()},
          {"enabled", job.spec().enabled()},
          {"strategy", Value::OrNull(EnumName(job.spec().target().strategy()))},
          {"target", Value::OrNull(job.spec().target().table())}};
}

// JobObject and all else that is known of it.
Value::Record JobDetails(const v1::Job& job) {
  Value::Record details = JobObject(job);
  for (auto& [name, value] : ToRecord(job)) {
    if (name == "name" || name == "last_watermark" || name == "next_fire_time" || name == "paused") continue;
    details.emplace_back(name, std::move(value));
  }
  return details;
}

// Makes a call that answers with a job, and says what became of the job.
template <typename Request>
ExitCode ChangeJob(const std::string& job, const CommandContext& context,
                   const std::function<std::string(const v1::Job&)>& outcome) {
  return CallServer(context, [&](AdminClient& client) -> absl::Status {
    Request request;
    request.set_name(JobName(job));
    TM_ASSIGN_OR_RETURN(const v1::Job changed, client.Call(request));
    PrintObject(context, JobDetails(changed), [&] { return outcome(changed); });
    return absl::OkStatus();
  });
}

}  // namespace

ExitCode Execute(const JobsListCommand& command, const CommandContext& context) {
  return CallServer(context, [&](AdminClient& client) -> absl::Status {
    TM_ASSIGN_OR_RETURN(const std::vector<v1::Job> jobs,
                        ListAll(client, v1::ListJobsRequest(), &v1::ListJobsResponse::jobs));
    std::vector<Value::Record> rows;
    for (const v1::Job& job : jobs) rows.push_back(JobObject(job));
    if (rows.empty()) context.console->Say("no jobs yet: `tidemark apply FILE` makes those of a project file");
    PrintList(context, rows,
              {{"job", "JOB"},
               {"schedule", "SCHEDULE"},
               {"timezone", "ZONE"},
               {"next_fire_time", "NEXT RUN"},
               {"last_watermark", "LAST WATERMARK"},
               {"paused", "PAUSED"}});
    return absl::OkStatus();
  });
}

ExitCode Execute(const JobsGetCommand& command, const CommandContext& context) {
  return ChangeJob<v1::GetJobRequest>(command.job, context, [](const v1::Job& job) { return ToYaml(JobDetails(job)); });
}

ExitCode Execute(const JobsPauseCommand& command, const CommandContext& context) {
  return ChangeJob<v1::PauseJobRequest>(
      command.job, context, [](const v1::Job& job) { return absl::StrCat(IdOf(job.name()), ": paused\n"); });
}

ExitCode Execute(const JobsResumeCommand& command, const CommandContext& context) {
  return ChangeJob<v1::ResumeJobRequest>(command.job, context, [](const v1::Job& job) {
    return absl::StrCat(IdOf(job.name()), ": resumed",
                        job.has_next_fire_time() ? ", runs next at " + TimeText(FromProto(job.next_fire_time())) : "",
                        "\n");
  });
}

ExitCode Execute(const JobsAdoptCommand& command, const CommandContext& context) {
  return ChangeJob<v1::AdoptJobRequest>(command.job, context, [](const v1::Job& job) {
    return absl::StrCat(IdOf(job.name()), ": its next run takes over the target as it stands\n");
  });
}

ExitCode Execute(const JobsDeleteCommand& command, const CommandContext& context) {
  return CallServer(context, [&](AdminClient& client) -> absl::Status {
    v1::DeleteJobRequest request;
    request.set_name(JobName(command.job));
    request.set_force(command.force);
    TM_RETURN_IF_ERROR(client.Call(request).status());
    PrintObject(context, {{"job", command.job}, {"deleted", true}},
                [&] { return absl::StrCat(command.job, ": deleted; its runs and its target stay\n"); });
    return absl::OkStatus();
  });
}

ExitCode Execute(const JobsRunCommand& command, const CommandContext& context) {
  return MakeRun(command.run, context, [&](AdminClient& client, const std::string& request_id) {
    v1::RunJobRequest request;
    request.set_name(JobName(command.job));
    request.set_request_id(request_id);
    request.set_full_refresh(command.full_refresh);
    return client.Call(request);
  });
}

ExitCode Execute(const BackfillCommand& command, const CommandContext& context) {
  return MakeRun(command.run, context, [&](AdminClient& client, const std::string& request_id) {
    v1::BackfillJobRequest request;
    request.set_name(JobName(command.job));
    request.set_request_id(request_id);
    request.set_low(command.from);
    request.set_high(command.to);
    return client.Call(request);
  });
}

}  // namespace tidemark::cli
