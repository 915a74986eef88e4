#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "common/model/duration.h"
#include "common/rpc/error_details.h"
#include "coordinator/admin/admin.h"
#include "coordinator/admin/list_request.h"
#include "coordinator/admin/resource_name.h"
#include "coordinator/admin/resources.h"

// RunService.

namespace tidemark::coordinator {
namespace {

// A watched run is told of at most this often.
constexpr absl::Duration kWatchPause = absl::Milliseconds(100);
// How soon progress is seen, and that nobody watches any more.
constexpr absl::Duration kSlice = absl::Milliseconds(250);
// Speed is that of the last moments.
constexpr absl::Duration kSpeedWindow = absl::Seconds(5);

// How fast a run reads, from what was seen of it.
class Speed {
 public:
  // `at` is monotonic.
  void Observe(int64_t rows, absl::Duration at) {
    seen_.emplace_back(at, rows);
    while (seen_.size() > 2 && at - seen_[1].first >= kSpeedWindow) seen_.erase(seen_.begin());
  }
  double RowsPerSecond() const {
    const double seconds = absl::ToDoubleSeconds(seen_.back().first - seen_.front().first);
    return seconds <= 0 ? 0 : static_cast<double>(seen_.back().second - seen_.front().second) / seconds;
  }

 private:
  std::vector<std::pair<absl::Duration, int64_t>> seen_;
};

}  // namespace

absl::StatusOr<std::string> Admin::RunIdOf(std::string_view resource_name, std::string_view field) const {
  absl::string_view name = Abs(resource_name);
  if (!absl::StartsWith(name, "jobs/") || !absl::ConsumeSuffix(&name, "/runs/latest")) {
    return IdOf(resource_name, "runs", field);
  }
  TM_ASSIGN_OR_RETURN(const std::string job, IdOf(Std(name), "jobs", field));
  TM_ASSIGN_OR_RETURN(const std::vector<RunRecord> runs, options_.store->ListRuns({.job_name = job, .limit = 1}));
  if (!runs.empty()) return runs.front().id;
  TM_RETURN_IF_ERROR(StoredJob(absl::StrCat("jobs/", job)).status());
  return absl::NotFoundError(absl::StrCat("job ", job, " has not run yet"));
}

v1::Run Admin::Show(const RunRecord& record) const {
  std::optional<RunProgress> progress;
  if (record.status == RunStatus::kRunning) {
    absl::StatusOr<RunProgress> found = options_.coordinator->GetProgress(record.id);
    if (found.ok()) progress = *std::move(found);
  }
  return ToRun(record, progress);
}

absl::StatusOr<v1::Run> Admin::ShowRun(const std::string& id) const {
  absl::StatusOr<RunRecord> run = options_.coordinator->GetRun(id);
  if (absl::IsNotFound(run.status())) return absl::NotFoundError(absl::StrCat("no run ", id));
  TM_RETURN_IF_ERROR(run.status());
  return Show(*run);
}

absl::StatusOr<v1::Run> Admin::GetRun(const v1::GetRunRequest& request) {
  TM_ASSIGN_OR_RETURN(const std::string id, RunIdOf(request.name()));
  return ShowRun(id);
}

absl::StatusOr<v1::ListRunsResponse> Admin::ListRuns(const v1::ListRunsRequest& request, const Gone& gone) {
  TM_ASSIGN_OR_RETURN(const Page page, ReadPage(request.page_size(), request.page_token()));
  TM_ASSIGN_OR_RETURN(const ListFilter filter, ListFilter::Parse(request.filter(), *v1::Run::descriptor()));
  RunFilter stored;
  const std::string parent = request.parent().empty() ? filter.ValueOf("job") : request.parent();
  if (!parent.empty()) {
    TM_ASSIGN_OR_RETURN(stored.job_name, IdOf(parent, "jobs", request.parent().empty() ? "filter" : "parent"));
  }
  // What the store can look up; the filter judges all of it again.
  stored.status = ParseRunStatus(filter.ValueOf("status"));
  stored.phase = ParseRunPhase(filter.ValueOf("phase"));
  stored.before = page.after;
  stored.limit = page.size + 1;
  v1::ListRunsResponse response;
  while (!gone()) {
    TM_ASSIGN_OR_RETURN(const std::vector<RunRecord> runs, options_.store->ListRuns(stored));
    for (const RunRecord& record : runs) {
      if (response.runs_size() == page.size) {
        response.set_next_page_token(PageToken(stored.before));
        return response;
      }
      stored.before = record.id;
      v1::Run run = Show(record);
      if (filter.Matches(run)) *response.add_runs() = std::move(run);
    }
    if (runs.size() < static_cast<size_t>(stored.limit)) return response;
    stored.limit = kFilteredChunk;
  }
  return absl::CancelledError("the caller has gone");
}

absl::Status Admin::WatchRun(const v1::WatchRunRequest& request,
                             const std::function<bool(const v1::WatchRunResponse&)>& send, const Gone& gone) {
  TM_ASSIGN_OR_RETURN(const std::string id, RunIdOf(request.name()));
  const Clock& clock = options_.coordinator->clock();
  std::string last;
  Speed speed;
  while (!gone()) {
    const uint64_t seen = options_.coordinator->version();
    v1::WatchRunResponse response;
    TM_ASSIGN_OR_RETURN(*response.mutable_run(), ShowRun(id));
    const v1::Run& run = response.run();
    speed.Observe(run.counts().read(), clock.Monotonic());
    if (std::string now = run.SerializeAsString(); now != last) {
      last = std::move(now);
      response.set_rows_per_second(std::max(0.0, speed.RowsPerSecond()));
      const int64_t left = run.estimated_rows() - run.counts().read();
      if (run.estimated_rows() >= 0 && left >= 0 && response.rows_per_second() > 0) {
        *response.mutable_time_left() = ToProto(absl::Seconds(static_cast<double>(left) / response.rows_per_second()));
      }
      if (!send(response)) return absl::OkStatus();
    }
    if (run.status() != v1::Run::STATUS_RUNNING) return absl::OkStatus();
    if (options_.coordinator->shut_down()) return absl::UnavailableError("the coordinator is shut down");
    const absl::Duration not_before = clock.Monotonic() + kWatchPause;
    options_.coordinator->WaitForChange(seen, kSlice);
    // More of a run's life happens in a moment than anyone can watch.
    while (clock.Monotonic() < not_before && !options_.coordinator->shut_down()) {
      options_.coordinator->WaitForChange(options_.coordinator->version(), not_before - clock.Monotonic());
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::ListTasksResponse> Admin::ListTasks(const v1::ListTasksRequest& request) {
  TM_ASSIGN_OR_RETURN(const std::string id, RunIdOf(request.parent(), "parent"));
  TM_ASSIGN_OR_RETURN(const Page page, ReadPage(request.page_size(), request.page_token()));
  TM_ASSIGN_OR_RETURN(const ListFilter filter, ListFilter::Parse(request.filter(), *v1::RunTask::descriptor()));
  TM_RETURN_IF_ERROR(ShowRun(id).status());
  TM_ASSIGN_OR_RETURN(const std::vector<TaskRecord> tasks, options_.store->ListTasks(id));
  auto next = tasks.begin();
  if (!page.after.empty()) {
    next = std::find_if(tasks.begin(), tasks.end(), [&](const TaskRecord& task) { return task.id == page.after; });
    if (next == tasks.end()) return InvalidField("page_token", "is not one that a list has given");
    ++next;
  }
  v1::ListTasksResponse response;
  for (; next != tasks.end() && response.tasks_size() < page.size; ++next) {
    v1::RunTask task = ToTask(*next);
    if (filter.Matches(task)) *response.add_tasks() = std::move(task);
  }
  if (next != tasks.end()) response.set_next_page_token(PageToken(std::prev(next)->id));
  return response;
}

absl::StatusOr<v1::Run> Admin::CancelRun(const v1::CancelRunRequest& request, const std::string& actor) {
  TM_ASSIGN_OR_RETURN(const std::string id, RunIdOf(request.name()));
  const absl::Status cancelled = options_.coordinator->CancelRun(id, actor);
  if (absl::IsNotFound(cancelled)) return absl::NotFoundError(absl::StrCat("no run ", id));
  TM_RETURN_IF_ERROR(cancelled);
  return ShowRun(id);
}

absl::StatusOr<v1::Run> Admin::RetryRun(const v1::RetryRunRequest& request, const std::string& actor) {
  TM_ASSIGN_OR_RETURN(const std::string id, RunIdOf(request.name()));
  const absl::StatusOr<std::string> run = options_.coordinator->RetryRun(id, request.request_id(), actor);
  if (absl::IsNotFound(run.status())) return absl::NotFoundError(absl::StrCat("no run ", id));
  TM_RETURN_IF_ERROR(run.status());
  return ShowRun(*run);
}

}  // namespace tidemark::coordinator
