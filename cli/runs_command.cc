#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/commands.h"
#include "cli/embedded_cluster.h"
#include "cli/print.h"
#include "cli/run_report.h"
#include "common/base/status_macros.h"
#include "coordinator/store/metadata_store.h"

namespace tidemark::cli {
namespace {

using coordinator::MetadataStore;
using coordinator::RunRecord;

// NotFound if nothing has run there yet.
absl::StatusOr<std::unique_ptr<MetadataStore>> OpenState(const std::string& project) {
  std::error_code ignored;
  if (!std::filesystem::exists(project, ignored)) {
    return absl::InvalidArgumentError(absl::StrCat(project, ": no such project file; name it with --project"));
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

}  // namespace

ExitCode Execute(const RunsListCommand& command, const CommandContext& context) {
  absl::StatusOr<std::unique_ptr<MetadataStore>> store = OpenState(command.project);
  std::vector<RunRecord> runs;
  if (store.ok()) {
    if (!command.job.empty()) {
      const absl::Status known = (*store)->GetJob(command.job).status();
      if (!known.ok()) return Fail(context, known);
    }
    coordinator::RunFilter filter;
    filter.job_name = command.job;
    filter.limit = command.limit;
    absl::StatusOr<std::vector<RunRecord>> found = (*store)->ListRuns(filter);
    if (!found.ok()) return Fail(context, found.status());
    runs = *std::move(found);
  } else if (!absl::IsNotFound(store.status())) {
    return Fail(context, store.status());
  }
  std::vector<Value::Record> rows;
  for (const RunRecord& run : runs) rows.push_back(RunDetails(run));
  if (rows.empty()) {
    context.console->Say(command.job.empty() ? "no runs yet"
                                             : absl::StrCat("no runs of the job \"", command.job, "\" yet"));
  }
  PrintList(context, rows,
            {{"run_id", "RUN"},
             {"job", "JOB"},
             {"status", "STATUS"},
             {"phase", "PHASE"},
             {"created", "CREATED"},
             {"duration_seconds", "SECONDS", true},
             {"rows_read", "READ", true},
             {"rows_loaded", "LOADED", true},
             {"watermark_high", "HIGH"},
             {"completeness", "COMPLETENESS"}});
  return kDone;
}

ExitCode Execute(const RunsGetCommand& command, const CommandContext& context) {
  absl::StatusOr<std::unique_ptr<MetadataStore>> store = OpenState(command.project);
  if (!store.ok()) return Fail(context, store.status());
  const absl::StatusOr<RunRecord> run = FindRun(**store, command.run);
  if (!run.ok()) return Fail(context, run.status());
  PrintObject(context, RunDetails(*run), [&] { return RunSummary(*run, *context.console); });
  return kDone;
}

}  // namespace tidemark::cli
