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
};

// One function per command: does its work, prints, returns the exit code.
ExitCode Execute(const InitCommand& command, const CommandContext& context);
ExitCode Execute(const RunCommand& command, const CommandContext& context);
ExitCode Execute(const ValidateCommand& command, const CommandContext& context);
ExitCode Execute(const PlanCommand& command, const CommandContext& context);
ExitCode Execute(const RunsListCommand& command, const CommandContext& context);
ExitCode Execute(const RunsGetCommand& command, const CommandContext& context);
ExitCode Execute(const ConnectionsTestCommand& command, const CommandContext& context);
ExitCode Execute(const MigrateCommand& command, const CommandContext& context);
ExitCode Execute(const SchemaCommand& command, const CommandContext& context);
ExitCode Execute(const VersionCommand& command, const CommandContext& context);

}  // namespace tidemark::cli
