#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "cli/exit_code.h"
#include "common/rpc/tls_files.h"

namespace tidemark::cli {

enum class OutputFormat { kTable, kJson, kNdjson, kYaml };

struct InitCommand {
  std::string directory = ".";
};
// What a cluster within this process may use.
struct ProcessLimits {
  int workers = 1;
  // Tasks at once, per worker.
  int slots = 4;
  // Of the whole process.
  int64_t memory_bytes = int64_t{1} << 30;
};
struct RunCommand {
  std::string file;
  // Empty: all.
  std::vector<std::string> jobs;
  bool full_refresh = false;
  std::optional<std::string> from;
  std::optional<std::string> to;
  ProcessLimits process;
};
struct DevCommand {
  std::string file;
  // HOST:PORT; port 0 takes a free one.
  std::string admin_listen = "127.0.0.1:8470";
  std::string metrics_listen = "127.0.0.1:9470";
  ProcessLimits process;
};
struct ValidateCommand {
  std::string file;
};
struct PlanCommand {
  std::string file;
  std::vector<std::string> jobs;
};
struct ApplyCommand {
  std::string file;
  bool dry_run = false;
};

struct JobsListCommand {};
struct JobsGetCommand {
  std::string job;
};
struct JobsDeleteCommand {
  std::string job;
  // Cancels a run of it that goes on.
  bool force = false;
};
struct JobsPauseCommand {
  std::string job;
};
struct JobsResumeCommand {
  std::string job;
};
struct JobsAdoptCommand {
  std::string job;
};
// What is said of a run that a command makes. Empty request_id: one of its own.
struct NewRun {
  std::string request_id;
  bool wait = false;
};
struct JobsRunCommand {
  std::string job;
  bool full_refresh = false;
  NewRun run;
};
struct BackfillCommand {
  std::string job;
  std::string from;
  std::string to;
  NewRun run;
};

// Runs are those of the state of `project`, if it is given; else those of the server. A run is named by its id, or by
// JOB@latest.
struct RunsListCommand {
  std::string project;
  // Empty: any.
  std::string job;
  std::string status;
  int limit = 20;
};
struct RunsGetCommand {
  std::string project;
  std::string run;
};
struct RunsWatchCommand {
  std::string run;
};
struct RunsCancelCommand {
  std::string run;
};
struct RunsRetryCommand {
  std::string run;
  NewRun made;
};
struct RunsReplayLoadCommand {
  std::string run;
  NewRun made;
};

struct ConnectionsListCommand {};
struct ConnectionsTestCommand {
  // Empty: those of the server.
  std::string project;
  // Empty: all.
  std::vector<std::string> connections;
};
struct MigrateCommand {
  // A DSN: postgresql://… or sqlite:PATH. May hold a password.
  std::string store;
};
struct WorkersListCommand {};
struct WorkersDrainCommand {
  std::string worker;
};
struct StatusCommand {};
struct CompletionCommand {
  // bash, zsh or fish.
  std::string shell;
};
// Called by the scripts of CompletionCommand.
struct CompleteCommand {
  // What the word under the cursor may be: words and what they mean.
  std::vector<std::pair<std::string, std::string>> words;
  // What else it may be, by the name that help has for it: JOB, RUN, WORKER, CONNECTION, FILE or DIR; or empty.
  std::string kind;
  // What it begins with.
  std::string prefix;
};

struct SchemaCommand {};
struct VersionCommand {};

using Command =
    std::variant<InitCommand, RunCommand, DevCommand, ValidateCommand, PlanCommand, ApplyCommand, JobsListCommand,
                 JobsGetCommand, JobsDeleteCommand, JobsPauseCommand, JobsResumeCommand, JobsAdoptCommand,
                 JobsRunCommand, BackfillCommand, RunsListCommand, RunsGetCommand, RunsWatchCommand, RunsCancelCommand,
                 RunsRetryCommand, RunsReplayLoadCommand, ConnectionsListCommand, ConnectionsTestCommand,
                 WorkersListCommand, WorkersDrainCommand, StatusCommand, CompletionCommand, CompleteCommand,
                 MigrateCommand, SchemaCommand, VersionCommand>;

// Where the admin services are, and how to speak to them: in plain text unless a file is named.
struct ServerOptions {
  std::string address = "127.0.0.1:8470";
  TlsFiles tls = {};
};

struct CommandLine {
  // Absent: there is nothing to do but to print.
  std::optional<Command> command;
  OutputFormat output = OutputFormat::kTable;
  ServerOptions server;
  // Help, for stdout.
  std::string help;
  // What is wrong, for stderr; exit_code is then kUsage.
  std::string error;
  ExitCode exit_code = kDone;
};

// Options of the server come from the environment where they are not given (TIDEMARK_SERVER, TIDEMARK_TLS_CA, ...).
CommandLine ParseCommandLine(int argc, const char* const* argv);

}  // namespace tidemark::cli
