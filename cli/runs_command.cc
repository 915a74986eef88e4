#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/commands.h"
#include "cli/embedded_cluster.h"
#include "cli/new_run.h"
#include "cli/print.h"
#include "cli/remote_run_watch.h"
#include "cli/resource_name.h"
#include "cli/run_report.h"
#include "cli/server_call.h"
#include "cli/signal_watcher.h"
#include "common/base/clock.h"
#include "common/base/status_macros.h"
#include "common/model/enum_names.h"
#include "coordinator/admin/resources.h"
#include "coordinator/store/metadata_store.h"

namespace tidemark::cli {
namespace {

using coordinator::MetadataStore;
using coordinator::RunRecord;

// NotFound if nothing has run there yet.
absl::StatusOr<std::unique_ptr<MetadataStore>> OpenState(const std::string& project) {
  std::error_code ignored;
  if (!std::filesystem::exists(project, ignored)) {
    return absl::InvalidArgumentError(absl::StrCat(project, ": no such project file"));
  }
  return coordinator::OpenSqliteStoreReadOnly(StateFile(project));
}

absl::StatusOr<RunRecord> FindRun(MetadataStore& store, const std::string& name) {
  constexpr char kLatest[] = "@latest";
  if (!name.ends_with(kLatest)) return store.GetRun(name);
  coordinator::RunFilter filter;
  filter.job_name = name.substr(0, name.size() - (sizeof(kLatest) - 1));
  if (filter.job_name.empty()) return absl::InvalidArgumentError("RUN is an id, or JOB@latest");
  filter.limit = 1;
  TM_ASSIGN_OR_RETURN(std::vector<RunRecord> runs, store.ListRuns(filter));
  if (runs.empty()) return absl::NotFoundError(absl::StrCat("the job \"", filter.job_name, "\" has no run"));
  return std::move(runs[0]);
}

// What a store knows of a run beyond what a server tells.
Value::Record LocalRunDetails(const RunRecord& run) {
  Value::Record details = RunDetails(coordinator::ToRun(run));
  details.emplace_back("strategy", Value::OrNull(EnumName(run.spec.target().strategy())));
  details.emplace_back("sequence", run.sequence);
  return details;
}

absl::StatusOr<std::vector<Value::Record>> ListLocal(const RunsListCommand& command) {
  absl::StatusOr<std::unique_ptr<MetadataStore>> store = OpenState(command.project);
  std::vector<Value::Record> rows;
  if (absl::IsNotFound(store.status())) return rows;
  TM_RETURN_IF_ERROR(store.status());
  if (!command.job.empty()) TM_RETURN_IF_ERROR((*store)->GetJob(command.job).status());
  coordinator::RunFilter filter;
  filter.job_name = command.job;
  filter.status = coordinator::ParseRunStatus(command.status);
  filter.limit = command.limit;
  TM_ASSIGN_OR_RETURN(const std::vector<RunRecord> runs, (*store)->ListRuns(filter));
  for (const RunRecord& run : runs) rows.push_back(LocalRunDetails(run));
  return rows;
}

absl::StatusOr<std::vector<Value::Record>> ListRemote(AdminClient& client, const RunsListCommand& command) {
  v1::ListRunsRequest request;
  if (!command.job.empty()) request.set_parent(JobName(command.job));
  if (!command.status.empty()) request.set_filter(absl::StrCat("status = \"", command.status, "\""));
  TM_ASSIGN_OR_RETURN(const std::vector<v1::Run> runs,
                      ListAll(client, request, &v1::ListRunsResponse::runs, command.limit));
  std::vector<Value::Record> rows;
  for (const v1::Run& run : runs) rows.push_back(RunDetails(run));
  return rows;
}

void PrintRuns(const RunsListCommand& command, const CommandContext& context, const std::vector<Value::Record>& rows) {
  if (rows.empty()) {
    const std::string which = command.status.empty() ? "runs" : command.status + " runs";
    context.console->Say(command.job.empty() ? absl::StrCat("no ", which, " yet")
                                             : absl::StrCat("no ", which, " of the job \"", command.job, "\" yet"));
  }
  PrintList(context, rows, RunColumns());
}

// Says where else runs may be, to someone who has no server.
ExitCode OrLocal(ExitCode asked, const CommandContext& context) {
  std::error_code ignored;
  if (asked == kUnreachable && std::filesystem::exists("tidemark.yaml", ignored)) {
    context.console->Say("Try --project tidemark.yaml for what `tidemark run` did here.");
  }
  return asked;
}

// A command on one run of the server; `call` gets its resource name.
ExitCode OnRun(const std::string& run, const CommandContext& context,
               const std::function<absl::Status(AdminClient& client, const std::string& name)>& call) {
  return CallServer(context, [&](AdminClient& client) -> absl::Status {
    TM_ASSIGN_OR_RETURN(const std::string name, RunName(run));
    return call(client, name);
  });
}

}  // namespace

ExitCode Execute(const RunsListCommand& command, const CommandContext& context) {
  if (command.project.empty()) {
    const auto list = [&](AdminClient& client) -> absl::Status {
      TM_ASSIGN_OR_RETURN(const std::vector<Value::Record> rows, ListRemote(client, command));
      PrintRuns(command, context, rows);
      return absl::OkStatus();
    };
    return OrLocal(CallServer(context, list), context);
  }
  const absl::StatusOr<std::vector<Value::Record>> rows = ListLocal(command);
  if (!rows.ok()) return Fail(context, rows.status());
  PrintRuns(command, context, *rows);
  return kDone;
}

ExitCode Execute(const RunsGetCommand& command, const CommandContext& context) {
  if (command.project.empty()) {
    const auto get = [&](AdminClient& client, const std::string& name) -> absl::Status {
      v1::GetRunRequest request;
      request.set_name(name);
      TM_ASSIGN_OR_RETURN(const v1::Run run, client.Call(request));
      PrintObject(context, RunDetails(run), [&] { return RunSummary(run, *context.console); });
      return absl::OkStatus();
    };
    return OrLocal(OnRun(command.run, context, get), context);
  }
  absl::StatusOr<std::unique_ptr<MetadataStore>> store = OpenState(command.project);
  if (!store.ok()) return Fail(context, store.status());
  const absl::StatusOr<RunRecord> run = FindRun(**store, command.run);
  if (!run.ok()) {
    const ExitCode exit_code = Fail(context, run.status());
    if (exit_code == kNotFound) {
      context.console->Say(absl::StrCat("Try `tidemark runs list --project ", command.project, "`."));
    }
    return exit_code;
  }
  PrintObject(context, LocalRunDetails(*run), [&] { return RunSummary(coordinator::ToRun(*run), *context.console); });
  return kDone;
}

ExitCode Execute(const RunsWatchCommand& command, const CommandContext& context) {
  const SignalWatcher signals;
  const SystemClock clock;
  const absl::StatusOr<std::string> name = RunName(command.run);
  if (!name.ok()) return Fail(context, name.status());
  absl::StatusOr<std::unique_ptr<AdminClient>> client = AdminClient::Connect(context.server, AdminClient::kPatience);
  if (!client.ok()) return Fail(context, client.status());
  return RemoteRunWatch(std::bind_front(&AdminClient::WatchRun, client->get()), &context, &signals, &clock)
      .Await(*name);
}

ExitCode Execute(const RunsCancelCommand& command, const CommandContext& context) {
  return OnRun(command.run, context, [&](AdminClient& client, const std::string& name) -> absl::Status {
    v1::CancelRunRequest request;
    request.set_name(name);
    TM_ASSIGN_OR_RETURN(const v1::Run run, client.Call(request));
    PrintObject(context, RunObject(run), [&] {
      return absl::StrCat(IdOf(run.job()), ": run ", IdOf(run.name()), " ends when its workers have stopped\n");
    });
    return absl::OkStatus();
  });
}

ExitCode Execute(const RunsRetryCommand& command, const CommandContext& context) {
  return MakeRun(command.made, context,
                 [&](AdminClient& client, const std::string& request_id) -> absl::StatusOr<v1::Run> {
                   v1::RetryRunRequest request;
                   TM_ASSIGN_OR_RETURN(*request.mutable_name(), RunName(command.run));
                   request.set_request_id(request_id);
                   return client.Call(request);
                 });
}

ExitCode Execute(const RunsReplayLoadCommand& command, const CommandContext& context) {
  return MakeRun(command.made, context,
                 [&](AdminClient& client, const std::string& request_id) -> absl::StatusOr<v1::Run> {
                   v1::ReplayLoadRequest request;
                   TM_ASSIGN_OR_RETURN(*request.mutable_name(), RunName(command.run));
                   request.set_request_id(request_id);
                   return client.Call(request);
                 });
}

}  // namespace tidemark::cli
