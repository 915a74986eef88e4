#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "common/config/daemon_command_line.h"

namespace tidemark {
namespace {

// Bad configuration or usage, as of every program here.
constexpr int kUsage = 2;

}  // namespace

DaemonCommandLine ParseDaemonCommandLine(int argc, const char* const* argv, const DaemonProgram& program) {
  DaemonCommandLine line;
  CLI::App app(program.description, program.name);
  app.add_option("--config", line.config, "Settings file (YAML); every setting may also be given in the environment")
      ->option_text("FILE");
  app.set_version_flag("--version", absl::StrCat(program.name, " ", program.version), "Print the version");
  app.footer(absl::StrCat("Settings, by their key in FILE and their variable, which wins:\n", program.settings));
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    line.output = app.help();
    line.exit_code = 0;
  } catch (const CLI::CallForVersion& version) {
    line.output = absl::StrCat(version.what(), "\n");
    line.exit_code = 0;
  } catch (const CLI::ParseError& error) {
    line.error = absl::StrCat(program.name, ": ", error.what(), "\nTry `", program.name, " --help`.\n");
    line.exit_code = kUsage;
  }
  return line;
}

}  // namespace tidemark
