#pragma once

#include <optional>
#include <string>

namespace tidemark {

// The command line of a daemon: `--config FILE`, `--version`, `--help`.
struct DaemonCommandLine {
  // Empty: the settings are in the environment alone.
  std::string config;
  // What there is to print on stdout, and on stderr; whole lines.
  std::string output;
  std::string error;
  // The process is to print these and end with it; absent: to run.
  std::optional<int> exit_code;
};

struct DaemonProgram {
  // "tidemark-worker".
  std::string name;
  // One line.
  std::string description;
  std::string version;
  // Every setting, for --help.
  std::string settings;
};

DaemonCommandLine ParseDaemonCommandLine(int argc, const char* const* argv, const DaemonProgram& program);

}  // namespace tidemark
