#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "cli/exit_code.h"

namespace tidemark::cli {

enum class OutputFormat { kTable, kJson, kNdjson, kYaml };

struct InitCommand {
  std::string directory = ".";
};
struct RunCommand {
  std::string file;
  // Empty: all.
  std::vector<std::string> jobs;
  bool full_refresh = false;
  std::optional<std::string> from;
  std::optional<std::string> to;
  int workers = 1;
  int slots = 4;
  int64_t memory_bytes = int64_t{1} << 30;
};
struct ValidateCommand {
  std::string file;
};
struct PlanCommand {
  std::string file;
  std::vector<std::string> jobs;
};
struct RunsListCommand {
  std::string project = "./tidemark.yaml";
  // Empty: any.
  std::string job;
  int limit = 20;
};
struct RunsGetCommand {
  std::string project = "./tidemark.yaml";
  // An id, or JOB@latest.
  std::string run;
};
struct ConnectionsTestCommand {
  std::string project = "./tidemark.yaml";
  // Empty: all.
  std::vector<std::string> connections;
};
struct MigrateCommand {
  // A DSN: postgresql://… or sqlite:PATH. May hold a password.
  std::string store;
};
struct SchemaCommand {};
struct VersionCommand {};

using Command = std::variant<InitCommand, RunCommand, ValidateCommand, PlanCommand, RunsListCommand, RunsGetCommand,
                             ConnectionsTestCommand, MigrateCommand, SchemaCommand, VersionCommand>;

struct CommandLine {
  // Absent: there is nothing to do but to print.
  std::optional<Command> command;
  OutputFormat output = OutputFormat::kTable;
  // Help, for stdout.
  std::string help;
  // What is wrong, for stderr; exit_code is then kUsage.
  std::string error;
  ExitCode exit_code = kDone;
};

CommandLine ParseCommandLine(int argc, const char* const* argv);

}  // namespace tidemark::cli
