#include "cli/run_watch.h"

#include <atomic>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/run_report.h"
#include "common/base/status_macros.h"

namespace tidemark::cli {
namespace {

// How often the bar moves and signals are looked at.
constexpr absl::Duration kBeat = absl::Milliseconds(100);
// How long SIGTERM leaves the workers for what they have leased.
constexpr absl::Duration kDrainTime = absl::Seconds(25);

}  // namespace

std::vector<std::string> SayRecovering(const EmbeddedCluster& cluster, const Project& project, Console* console) {
  std::vector<std::string> runs;
  for (const coordinator::RunRecord& run : cluster.unfinished_runs()) {
    if (project.FindConnection(run.spec.source().connection()) == nullptr ||
        project.FindConnection(run.spec.target().connection()) == nullptr) {
      console->Say(absl::StrCat("run ", run.id, " of the job ", run.job_name,
                                " was left unfinished and cannot go on: the project no longer names its connections"));
      continue;
    }
    console->Say(absl::StrCat("recovering run ", run.id, " of the job ", run.job_name, ", left unfinished (",
                              std::string(coordinator::Name(run.phase)), ") by an earlier process"));
    runs.push_back(run.id);
  }
  return runs;
}

absl::StatusOr<RunWatch::End> RunWatch::Await(const std::vector<std::string>& run_ids, const Ended& ended) {
  std::set<std::string> open(run_ids.begin(), run_ids.end());
  started_ = clock_.Monotonic();
  uint64_t seen = cluster_.coordinator().version();
  while (true) {
    const absl::Status looked = Report(open, ended);
    if (absl::IsNotFound(looked)) return looked;
    if (open.empty()) break;
    WatchStore(looked);
    if (store_.Exhausted(clock_.Monotonic())) return End::kStoreFailed;
    if (signals_.interrupted()) Cancel(open);
    if (signals_.terminated() && !cancelling_) {
      Drain(open, ended);
      TM_RETURN_IF_ERROR(Report(open, ended));
      if (!open.empty()) return End::kDrained;
      break;
    }
    seen = cluster_.coordinator().WaitForChange(seen, kBeat);
  }
  return cancelling_ ? End::kInterrupted : End::kAllEnded;
}

void RunWatch::WatchStore(const absl::Status& looked) {
  std::optional<coordinator::StoreFailure> failure = cluster_.coordinator().store_failure();
  if (looked.ok()) unread_since_.reset();
  if (!looked.ok() && !failure.has_value()) {
    if (!unread_since_.has_value()) unread_since_ = clock_.Monotonic();
    failure = coordinator::StoreFailure{looked, *unread_since_};
  }
  if (const std::optional<std::string> line = store_.Observe(failure)) console_.Say(*line);
}

absl::Status RunWatch::Report(std::set<std::string>& open, const Ended& ended) {
  std::vector<coordinator::RunProgress> running;
  for (auto at = open.begin(); at != open.end();) {
    TM_ASSIGN_OR_RETURN(coordinator::RunProgress progress, cluster_.coordinator().GetProgress(*at));
    if (progress.status == coordinator::RunStatus::kRunning) {
      std::string& said = errors_[*at];
      if (!progress.error.empty() && progress.error != said) {
        said = progress.error;
        console_.Say(ErrorLine(progress.job_name, coordinator::Name(progress.phase), progress.error));
      }
      running.push_back(std::move(progress));
      ++at;
      continue;
    }
    TM_ASSIGN_OR_RETURN(const coordinator::RunRecord run, cluster_.coordinator().GetRun(*at));
    console_.ShowBar("");
    ended(run, errors_[*at]);
    at = open.erase(at);
  }
  ShowProgress(running, clock_.Monotonic() - started_);
  return absl::OkStatus();
}

void RunWatch::ShowProgress(const std::vector<coordinator::RunProgress>& runs, absl::Duration elapsed) {
  if (!console_.shows_bar()) return;
  if (runs.empty()) return console_.ShowBar("");
  ProgressView view;
  view.label = runs.size() == 1 ? runs[0].job_name : absl::StrCat(runs.size(), " jobs");
  view.estimated_rows = 0;
  for (const coordinator::RunProgress& run : runs) {
    view.rows += run.rows_read;
    view.partitions += run.partitions;
    view.partitions_done += run.partitions_done;
    const bool unknown = run.estimated_rows < 0 || view.estimated_rows < 0;
    view.estimated_rows = unknown ? -1 : view.estimated_rows + run.estimated_rows;
  }
  console_.ShowBar(bar_.Render(view, elapsed, console_.columns()));
}

void RunWatch::Cancel(const std::set<std::string>& open) {
  if (!cancelling_) {
    cancelling_ = true;
    uncancelled_ = open;
    console_.Say("interrupted: cancelling at the server; Ctrl-C again ends this process at once");
  }
  std::erase_if(uncancelled_, [&](const std::string& id) {
    if (!open.contains(id)) return true;
    const absl::Status status = cluster_.coordinator().CancelRun(id);
    if (status.ok()) return true;
    // It may be accepted later: the store answers again, or a commit that was under way turns out to have failed.
    std::string refusal = absl::StrCat("run ", id, ": ", status.message());
    if (refusals_.insert(refusal).second) console_.Say(refusal);
    return false;
  });
}

void RunWatch::Drain(std::set<std::string>& open, const Ended& ended) {
  console_.Say("terminated: finishing what has begun");
  std::atomic<bool> done = false;
  absl::Status status;
  std::thread drain([&] {
    status = cluster_.Drain(kDrainTime);
    done = true;
  });
  uint64_t seen = cluster_.coordinator().version();
  while (!done) {
    // What cannot be read now is read after the drain.
    (void)Report(open, ended);
    if (signals_.interrupted()) Cancel(open);
    seen = cluster_.coordinator().WaitForChange(seen, kBeat);
  }
  drain.join();
  if (!status.ok()) console_.Say(absl::StrCat("drain: ", status.message()));
}

}  // namespace tidemark::cli
