#include "cli/server_call.h"

#include <memory>

#include "cli/print.h"
#include "cli/signal_watcher.h"

namespace tidemark::cli {

ExitCode CallServer(const CommandContext& context, const std::function<absl::Status(AdminClient& client)>& work) {
  ExitOnSignals();
  absl::StatusOr<std::unique_ptr<AdminClient>> client = AdminClient::Connect(context.server, AdminClient::kPatience);
  const absl::Status status = client.ok() ? work(**client) : client.status();
  return status.ok() ? kDone : FailCall(context, status);
}

}  // namespace tidemark::cli
