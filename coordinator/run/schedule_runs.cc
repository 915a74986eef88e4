#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "common/base/printable.h"
#include "common/base/status_macros.h"
#include "coordinator/run/coordinator_core.h"
#include "coordinator/schedule/schedule_spec.h"

// Runs that nobody asked for just now: those of the schedule, and those of triggers left in the store.

namespace tidemark::coordinator {
namespace {

// Runs made in one write.
constexpr size_t kFiresAtOnce = 2000;
// Each takes several writes, and workers wait for an answer meanwhile.
constexpr int kTriggersAtOnce = 50;
constexpr size_t kLongestNameShown = 200;

}  // namespace

void CoordinatorCore::Reschedule(const JobRecord& job, absl::Time after) {
  if (!options_.schedule) return;
  const v1::ScheduleSpec& spec = job.spec.schedule();
  const auto schedule = spec.cron().empty() || !job.enabled ? absl::NotFoundError("runs on demand") : ToSchedule(spec);
  if (!schedule.ok()) return scheduler_.Remove(job.uid);
  scheduler_.Set(job.uid, schedule->cron, schedule->zone, schedule->catch_up, after);
}

absl::Status CoordinatorCore::ScheduleJobs() {
  if (!options_.schedule) return absl::OkStatus();
  TM_ASSIGN_OR_RETURN(const auto fired, state_.store().LastFireTimes());
  const std::map<std::string, absl::Time> last(fired.begin(), fired.end());
  for (const auto& [uid, job] : state_.jobs()) {
    absl::Time after = std::max(job.scheduled_from, job.created);
    if (const auto known = last.find(uid); known != last.end()) after = std::max(after, known->second);
    Reschedule(job, after);
  }
  return absl::OkStatus();
}

void CoordinatorCore::TakeFires() {
  std::map<std::string, absl::Time> older;
  for (const DueFire& fire : due_) older[fire.uid] = fire.time;
  std::set<std::string> superseded;
  std::vector<DueFire> fires;
  for (const Fire& fire : scheduler_.Due(options_.clock->Now(), scheduler_.size())) {
    const JobRecord* job = state_.FindJob(fire.uid);
    if (job == nullptr) {
      scheduler_.Remove(fire.uid);
      continue;
    }
    int64_t missed = fire.superseded;
    if (const auto before = older.find(fire.uid); before != older.end()) {
      // Unless its run is stored after all, and only the answer was lost.
      const std::set<std::string>& runs = state_.UnfinishedOf(fire.uid);
      const bool made = std::any_of(runs.begin(), runs.end(), [&](const std::string& id) {
        return state_.FindRun(id)->run.fire_time == before->second;
      });
      missed += !made;
      superseded.insert(fire.uid);
    }
    if (missed > 0) options_.observer->FiresMissed(job->spec.name(), "superseded", missed);
    if (fire.too_late > 0) options_.observer->FiresMissed(job->spec.name(), "too_late", fire.too_late);
    if (fire.run) fires.push_back({fire.uid, fire.time});
  }
  std::erase_if(due_, [&](const DueFire& fire) { return superseded.contains(fire.uid); });
  due_.insert(due_.end(), fires.begin(), fires.end());
}

absl::Status CoordinatorCore::FireDue() {
  TakeFires();
  while (!due_.empty()) {
    const std::vector<DueFire> fires(due_.begin(), due_.begin() + std::min(due_.size(), kFiresAtOnce));
    const absl::Status made = MakeRuns(fires);
    if (absl::IsAlreadyExists(made)) {
      // The answer to a write before was lost, or another leader was before us.
      TM_RETURN_IF_ERROR(ForgetMade(fires.size()));
      continue;
    }
    TM_RETURN_IF_ERROR(made);
    due_.erase(due_.begin(), due_.begin() + fires.size());
  }
  return absl::OkStatus();
}

absl::Status CoordinatorCore::MakeRuns(const std::vector<DueFire>& fires) {
  WriteBatch batch;
  for (const DueFire& fire : fires) {
    const JobRecord* job = state_.FindJob(fire.uid);
    if (job == nullptr || !job->enabled) continue;
    TM_ASSIGN_OR_RETURN(RunRecord run, NewRun(*job, RunRequest()));
    run.run_key = FireKey(job->uid, fire.time);
    run.fire_time = fire.time;
    if (const std::set<std::string>& before = state_.UnfinishedOf(fire.uid); !before.empty()) {
      run.status = RunStatus::kSkipped;
      run.phase = RunPhase::kSkipped;
      run.ended = run.created;
      run.error = absl::StrCat("skipped: the job's run ", *before.begin(), " went on");
    }
    batch.runs.push_back(std::move(run));
  }
  std::vector<RunRecord> runs = batch.runs;
  TM_RETURN_IF_ERROR(state_.Write(std::move(batch), {}));
  const absl::Time stored = options_.clock->Now();
  for (RunRecord& run : runs) {
    run.revision = 1;
    options_.observer->RunFired(run, stored - *run.fire_time);
    if (Ended(run.phase)) {
      options_.observer->FiresMissed(run.job_name, "skipped", 1);
      options_.observer->RunEnded(run);
    } else {
      state_.AddRun(std::move(run), /*preview=*/false);
    }
  }
  return absl::OkStatus();
}

absl::Status CoordinatorCore::ForgetMade(size_t count) {
  std::vector<DueFire> left;
  for (size_t i = 0; i < count; ++i) {
    const JobRecord* job = state_.FindJob(due_[i].uid);
    if (job == nullptr) continue;
    const absl::StatusOr<RunRecord> made = state_.store().GetRunByKey(FireKey(job->uid, due_[i].time));
    if (absl::IsNotFound(made.status())) {
      left.push_back(due_[i]);
    } else if (!made.ok()) {
      return made.status();
    }
  }
  if (left.size() == count) return absl::InternalError("runs of the schedule can neither be stored nor found");
  due_.erase(due_.begin(), due_.begin() + count);
  due_.insert(due_.begin(), left.begin(), left.end());
  return absl::OkStatus();
}

absl::StatusOr<bool> CoordinatorCore::TakeTriggers() {
  TM_RETURN_IF_ERROR(Refresh());
  TM_ASSIGN_OR_RETURN(std::vector<TriggerRecord> triggers, state_.store().ListTriggers());
  absl::Status trouble;
  int taken = 0;
  for (TriggerRecord& trigger : triggers) {
    if (taken == kTriggersAtOnce) return true;
    // Anyone may have written anything. No job has a name this long.
    trigger.job_name = Elided(trigger.job_name, kLongestNameShown);
    TM_RETURN_IF_ERROR(RenewIfDue());
    RunRequest request;
    request.request_id =
        trigger.request_id.empty() ? absl::StrCat("trigger:", trigger.id) : std::string(trigger.request_id);
    request.full_refresh = trigger.full_refresh;
    request.from = trigger.low;
    request.to = trigger.high;
    request.actor = "trigger";
    const absl::Status started = StartRun(trigger.job_name, request).status();
    WriteBatch batch;
    batch.dropped_triggers.push_back(trigger.id);
    if (absl::IsNotFound(started) || absl::IsFailedPrecondition(started) || absl::IsInvalidArgument(started)) {
      TM_RETURN_IF_ERROR(Refresh());
      options_.observer->TriggerRefused(trigger, Std(started.message()));
      batch.audit.push_back(
          Audit("trigger", "job.run_refused", absl::StrCat("jobs/", trigger.job_name), std::string(started.message())));
    } else if (!started.ok()) {
      // What is wrong with one job stays its own; it is tried again with the next triggers.
      if (state_.in_doubt() || absl::IsUnavailable(started)) return started;
      trouble.Update(started);
      continue;
    }
    TM_RETURN_IF_ERROR(state_.Write(std::move(batch), {}));
    ++taken;
  }
  TM_RETURN_IF_ERROR(trouble);
  return false;
}

}  // namespace tidemark::coordinator
