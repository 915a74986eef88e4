#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "cli/commands.h"
#include "cli/embedded_cluster.h"
#include "cli/print.h"
#include "cli/project_loading.h"
#include "cli/run_report.h"
#include "cli/run_watch.h"
#include "common/base/termination.h"
#include "coordinator/admin/resources.h"
#include "worker/connectors/builtin.h"

namespace tidemark::cli {
namespace {

// How often it looks for what is to be said.
constexpr absl::Duration kBeat = absl::Milliseconds(100);
// How long the workers may take for what they have leased.
constexpr absl::Duration kDrainTime = absl::Seconds(25);

// Prints what a cluster does, on a thread of its own: a terminal that stands still holds up nobody else.
class Chronicle {
 public:
  // `context` must outlive it.
  explicit Chronicle(const CommandContext* context) : context_(*context) {}
  ~Chronicle() {
    Stop();
    Print();
  }

  // For EmbeddedCluster::Options.
  void Say(const std::string& line) {
    absl::MutexLock lock(&mutex_);
    lines_.push_back(line);
  }
  void RunEnded(const coordinator::RunRecord& run) {
    absl::MutexLock lock(&mutex_);
    ended_.push_back(run);
  }

  void Start() {
    thread_ = std::thread([this] {
      while (!stop_.WaitForNotificationWithTimeout(kBeat)) Print();
      Print();
    });
  }
  // Says all there is, then no more.
  void Stop() {
    if (!thread_.joinable()) return;
    stop_.Notify();
    thread_.join();
  }

 private:
  void Print() {
    std::deque<std::string> lines;
    std::deque<coordinator::RunRecord> ended;
    {
      absl::MutexLock lock(&mutex_);
      lines.swap(lines_);
      ended.swap(ended_);
    }
    for (const std::string& line : lines) context_.console->Say(line);
    for (const coordinator::RunRecord& run : ended) ReportRun(context_, coordinator::ToRun(run));
  }

  const CommandContext& context_;
  absl::Mutex mutex_;
  std::deque<std::string> lines_ ABSL_GUARDED_BY(mutex_);
  std::deque<coordinator::RunRecord> ended_ ABSL_GUARDED_BY(mutex_);
  absl::Notification stop_;
  std::thread thread_;
};

// Programs that read runs from stdout find nothing else there.
void Announce(const CommandContext& context, const std::string& line) {
  context.output == OutputFormat::kTable ? context.console->Text(line + "\n") : context.console->Say(line);
}

}  // namespace

ExitCode Execute(const DevCommand& command, const CommandContext& context) {
  const ConnectorRegistry connectors = BuiltinConnectors();
  const absl::StatusOr<Project> project = OpenProject(command.file, connectors, context.console);
  if (!project.ok()) return Fail(context, project.status());

  Termination termination;
  Chronicle chronicle(&context);
  EmbeddedCluster::Options options;
  options.workers = command.process.workers;
  options.slots = command.process.slots;
  options.memory_bytes = command.process.memory_bytes;
  options.schedule = true;
  options.admin_listen = command.admin_listen;
  options.metrics_listen = command.metrics_listen;
  options.log = [&](const std::string& line) { chronicle.Say(line); };
  options.run_ended = [&](const coordinator::RunRecord& run) { chronicle.RunEnded(run); };
  options.redact = [&](std::string_view text) { return context.console->redactor().Redact(text); };
  const absl::StatusOr<std::unique_ptr<EmbeddedCluster>> cluster =
      EmbeddedCluster::Start(*project, &connectors, options);
  if (!cluster.ok()) return Fail(context, cluster.status());
  for (const std::string& job : (*cluster)->disabled_jobs()) {
    context.console->Say(absl::StrCat(job, ": disabled, ", command.file, " does not name it any more"));
  }
  SayRecovering(**cluster, *project, context.console);
  chronicle.Start();
  Announce(context, absl::StrCat("listening admin ", (*cluster)->admin_address()));
  Announce(context, absl::StrCat("listening metrics ", (*cluster)->metrics_address()));
  Announce(context, "ready");

  termination.Wait();
  context.console->Say("a signal came: finishing what has begun; another one ends this process at once");
  if (const absl::Status drained = (*cluster)->Drain(kDrainTime); !drained.ok()) {
    context.console->Say(absl::StrCat("drain: ", drained.message()));
  }
  const size_t unfinished = (*cluster)->coordinator().UnfinishedRuns("").size();
  chronicle.Stop();
  if (unfinished > 0) {
    context.console->Say(absl::StrCat(unfinished, unfinished == 1 ? " run is" : " runs are",
                                      " not done: the next `tidemark dev` or `tidemark run` goes on from here"));
  }
  return kDone;
}

}  // namespace tidemark::cli
