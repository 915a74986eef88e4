#pragma once

#include <functional>

#include "absl/status/status.h"
#include "cli/admin_client.h"
#include "cli/commands.h"

namespace tidemark::cli {

// One command that asks a server and prints what it answers; a signal ends it. Says what is wrong with the answer, or
// with `work` otherwise.
ExitCode CallServer(const CommandContext& context, const std::function<absl::Status(AdminClient& client)>& work);

}  // namespace tidemark::cli
