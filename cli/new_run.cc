#include "cli/new_run.h"

#include <functional>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "cli/print.h"
#include "cli/remote_run_watch.h"
#include "cli/resource_name.h"
#include "cli/run_report.h"
#include "cli/signal_watcher.h"
#include "common/base/clock.h"
#include "common/base/rng.h"

namespace tidemark::cli {

ExitCode MakeRun(
    const NewRun& options, const CommandContext& context,
    const std::function<absl::StatusOr<v1::Run>(AdminClient& client, const std::string& request_id)>& make) {
  std::optional<SignalWatcher> signals;
  options.wait ? (void)signals.emplace() : ExitOnSignals();
  absl::StatusOr<std::unique_ptr<AdminClient>> client = AdminClient::Connect(context.server, AdminClient::kPatience);
  if (!client.ok()) return Fail(context, client.status());
  const SystemClock clock;
  std::string request_id = options.request_id;
  if (request_id.empty()) {
    Rng rng(Rng::EntropySeed());
    request_id = NewId(clock.Now(), rng);
  }
  const absl::StatusOr<v1::Run> run = make(**client, request_id);
  if (!run.ok()) {
    const ExitCode exit_code = FailCall(context, run.status());
    if (exit_code == kUnreachable) {
      context.console->Say(absl::StrCat("Try again with --request-id ", request_id,
                                        ": that makes no second run if the server has made one"));
    }
    return exit_code;
  }
  if (options.wait) {
    return RemoteRunWatch(std::bind_front(&AdminClient::WatchRun, client->get()), &context, &*signals, &clock)
        .Await(run->name());
  }
  PrintObject(context, RunObject(*run),
              [&] { return absl::StrCat(IdOf(run->job()), ": run ", IdOf(run->name()), " is ", run->phase(), "\n"); });
  return kDone;
}

}  // namespace tidemark::cli
