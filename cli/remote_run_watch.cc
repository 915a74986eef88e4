#include "cli/remote_run_watch.h"

#include "absl/strings/str_cat.h"
#include "cli/print.h"
#include "cli/resource_name.h"
#include "cli/run_report.h"
#include "common/model/duration.h"
#include "common/model/row_counts.h"

namespace tidemark::cli {
namespace {

// How long a server may be away. One that has answered on a stream was there until its end: it says only what changes,
// and a run may stand in the queue for long.
constexpr absl::Duration kPatience = absl::Seconds(60);
// How often a line is worth it while nothing but numbers change.
constexpr absl::Duration kLineEvery = absl::Seconds(10);

bool MayPass(const absl::Status& status) {
  return status.ok() || absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

bool Ended(const v1::Run& run) {
  return run.status() != v1::Run::STATUS_RUNNING && run.status() != v1::Run::STATUS_UNSPECIFIED;
}

}  // namespace

ExitCode ExitCodeOf(const v1::Run& run) {
  if (run.status() == v1::Run::STATUS_FAILED) return kRunFailed;
  return run.counts().quarantined() > 0 ? kQuarantined : kDone;
}

ExitCode RemoteRunWatch::Await(const std::string& run) {
  v1::WatchRunRequest request;
  request.set_name(run);
  started_ = clock_.Monotonic();
  absl::Duration there = started_;
  bool away = false;
  for (bool again = false;; again = true) {
    answered_ = false;
    const absl::Status status = stream_(request, again, [this](const auto* update) { return Beat(update); });
    context_.console->ShowBar("");
    if (known_ && Ended(last_.run())) return Finish();
    if (signals_.interrupted() || signals_.terminated()) {
      context_.console->Say(known_ ? absl::StrCat("the run goes on: tidemark runs watch ", IdOf(last_.run().name()))
                                   : "the watch was left");
      return kInterrupted;
    }
    if (answered_) {
      there = clock_.Monotonic();
      away = false;
    }
    if (!MayPass(status) || !known_ || clock_.Monotonic() - there > kPatience) {
      if (known_) context_.console->Say("the watch has lost sight of the run, which may go on");
      return FailCall(context_, status.ok() ? absl::UnavailableError("the server ends the watch of a run") : status);
    }
    // From now on the run itself: its job may have a newer one.
    request.set_name(last_.run().name());
    if (absl::IsUnavailable(status) && !away) {
      context_.console->Say(absl::StrCat(status.message(), "; trying again"));
      away = true;
    }
  }
}

bool RemoteRunWatch::Beat(const v1::WatchRunResponse* update) {
  if (update != nullptr) {
    last_ = *update;
    known_ = true;
    answered_ = true;
    const v1::Run& run = last_.run();
    if (!Ended(run) && !run.error().empty() && run.error() != said_error_) {
      said_error_ = run.error();
      context_.console->Say(ErrorLine(IdOf(run.job()), run.phase(), run.error()));
    }
  }
  if (known_ && !Ended(last_.run())) context_.console->shows_bar() ? ShowBar() : SayProgress();
  return !signals_.interrupted() && !signals_.terminated();
}

void RemoteRunWatch::SayProgress() {
  const v1::Run& run = last_.run();
  std::string line = absl::StrCat(IdOf(run.job()), ": ", run.phase());
  if (run.partitions() > 0) absl::StrAppend(&line, ", ", run.partitions_done(), "/", run.partitions(), " partitions");
  if (run.counts().read() > 0) absl::StrAppend(&line, ", ", FormatCount(run.counts().read()), " rows read");
  const absl::Duration now = clock_.Monotonic();
  if (run.phase() == said_phase_ && (line == said_line_ || now - said_ < kLineEvery)) return;
  said_phase_ = run.phase();
  said_line_ = line;
  said_ = now;
  context_.console->Say(line);
}

void RemoteRunWatch::ShowBar() {
  const v1::Run& run = last_.run();
  ProgressView view;
  view.label = run.phase() == "moving" ? IdOf(run.job()) : absl::StrCat(IdOf(run.job()), " (", run.phase(), ")");
  view.rows = run.counts().read();
  view.estimated_rows = run.estimated_rows();
  view.partitions = run.partitions();
  view.partitions_done = run.partitions_done();
  view.rows_per_second = last_.rows_per_second();
  if (last_.has_time_left()) view.time_left = FromProto(last_.time_left());
  context_.console->ShowBar(bar_.Render(view, clock_.Monotonic() - started_, context_.console->columns()));
}

ExitCode RemoteRunWatch::Finish() const {
  const v1::Run& run = last_.run();
  ReportRun(context_, run, said_error_);
  return ExitCodeOf(run);
}

}  // namespace tidemark::cli
