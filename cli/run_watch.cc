#include "cli/run_watch.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace tidemark::cli {
namespace {

// How often the bar moves and signals are looked at.
constexpr absl::Duration kBeat = absl::Milliseconds(100);
// How long SIGTERM leaves the workers for what they have leased.
constexpr absl::Duration kDrainTime = absl::Seconds(25);

}  // namespace

absl::StatusOr<RunWatch::End> RunWatch::Await(const std::vector<std::string>& run_ids,
                                              const std::function<void(const coordinator::RunRecord& run)>& ended) {
  std::set<std::string> open(run_ids.begin(), run_ids.end());
  started_ = clock_.Monotonic();
  bool cancelling = false;
  uint64_t seen = cluster_.coordinator().version();
  while (true) {
    TM_RETURN_IF_ERROR(Report(open, ended));
    if (open.empty()) break;
    if (signals_.interrupted() && !cancelling) {
      cancelling = true;
      Cancel(open);
    }
    if (signals_.terminated() && !cancelling) {
      Drain();
      TM_RETURN_IF_ERROR(Report(open, ended));
      if (!open.empty()) return End::kDrained;
      break;
    }
    seen = cluster_.coordinator().WaitForChange(seen, kBeat);
  }
  return cancelling ? End::kInterrupted : End::kAllEnded;
}

absl::Status RunWatch::Report(std::set<std::string>& open,
                              const std::function<void(const coordinator::RunRecord& run)>& ended) {
  std::vector<coordinator::RunProgress> running;
  for (auto at = open.begin(); at != open.end();) {
    TM_ASSIGN_OR_RETURN(coordinator::RunProgress progress, cluster_.coordinator().GetProgress(*at));
    if (progress.status == coordinator::RunStatus::kRunning) {
      std::string& said = errors_[*at];
      if (!progress.error.empty() && progress.error != said) {
        said = progress.error;
        console_.Say(absl::StrCat(progress.job_name, ": ", progress.error, "; trying again"));
      }
      running.push_back(std::move(progress));
      ++at;
      continue;
    }
    TM_ASSIGN_OR_RETURN(const coordinator::RunRecord run, cluster_.coordinator().GetRun(*at));
    console_.ShowBar("");
    ended(run);
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
  console_.Say("interrupted: cancelling at the server; Ctrl-C again ends this process at once");
  for (const std::string& id : open) {
    if (const absl::Status status = cluster_.coordinator().CancelRun(id); !status.ok()) {
      console_.Say(absl::StrCat("run ", id, ": ", status.message()));
    }
  }
}

void RunWatch::Drain() {
  console_.Say("terminated: finishing what has begun");
  if (const absl::Status status = cluster_.Drain(kDrainTime); !status.ok()) {
    console_.Say(absl::StrCat("drain: ", status.message()));
  }
}

}  // namespace tidemark::cli
