#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "cli/admin_client.h"
#include "cli/commands.h"

namespace tidemark::cli {

// Has a server make a run by `make`, whose request carries the given id, so that a call that is repeated makes one run;
// then prints the run as it begins, or waits for its end.
ExitCode MakeRun(
    const NewRun& options, const CommandContext& context,
    const std::function<absl::StatusOr<v1::Run>(AdminClient& client, const std::string& request_id)>& make);

}  // namespace tidemark::cli
