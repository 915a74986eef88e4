#pragma once

#include <string>

#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/exit_code.h"

namespace tidemark::cli {

// What every command needs besides its own words. The pointers outlive the command.
struct CommandContext {
  Console* console = nullptr;
  OutputFormat output = OutputFormat::kTable;
  ServerOptions server = {};
};

// One function per command: does its work, prints, returns the exit code.
ExitCode Execute(const InitCommand& command, const CommandContext& context);
ExitCode Execute(const RunCommand& command, const CommandContext& context);
ExitCode Execute(const DevCommand& command, const CommandContext& context);
ExitCode Execute(const ValidateCommand& command, const CommandContext& context);
ExitCode Execute(const PlanCommand& command, const CommandContext& context);
ExitCode Execute(const ApplyCommand& command, const CommandContext& context);
ExitCode Execute(const JobsListCommand& command, const CommandContext& context);
ExitCode Execute(const JobsGetCommand& command, const CommandContext& context);
ExitCode Execute(const JobsDeleteCommand& command, const CommandContext& context);
ExitCode Execute(const JobsPauseCommand& command, const CommandContext& context);
ExitCode Execute(const JobsResumeCommand& command, const CommandContext& context);
ExitCode Execute(const JobsAdoptCommand& command, const CommandContext& context);
ExitCode Execute(const JobsRunCommand& command, const CommandContext& context);
ExitCode Execute(const BackfillCommand& command, const CommandContext& context);
ExitCode Execute(const RunsListCommand& command, const CommandContext& context);
ExitCode Execute(const RunsGetCommand& command, const CommandContext& context);
ExitCode Execute(const RunsWatchCommand& command, const CommandContext& context);
ExitCode Execute(const RunsCancelCommand& command, const CommandContext& context);
ExitCode Execute(const RunsRetryCommand& command, const CommandContext& context);
ExitCode Execute(const RunsReplayLoadCommand& command, const CommandContext& context);
ExitCode Execute(const ConnectionsListCommand& command, const CommandContext& context);
ExitCode Execute(const ConnectionsTestCommand& command, const CommandContext& context);
ExitCode Execute(const MigrateCommand& command, const CommandContext& context);
ExitCode Execute(const WorkersListCommand& command, const CommandContext& context);
ExitCode Execute(const WorkersDrainCommand& command, const CommandContext& context);
ExitCode Execute(const StatusCommand& command, const CommandContext& context);
ExitCode Execute(const CompletionCommand& command, const CommandContext& context);
ExitCode Execute(const CompleteCommand& command, const CommandContext& context);
ExitCode Execute(const SchemaCommand& command, const CommandContext& context);
ExitCode Execute(const VersionCommand& command, const CommandContext& context);

}  // namespace tidemark::cli
