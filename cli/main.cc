#include <cstdio>
#include <cstring>
#include <variant>

#include "absl/strings/str_cat.h"
#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/console.h"

namespace tidemark::cli {
namespace {

int Main(int argc, char** argv) {
  Console::PrepareStreams();
  Console console(stdout, stderr, Console::Detect());
  const CommandLine line = ParseCommandLine(argc, argv);
  if (!line.help.empty()) console.Data(line.help);
  if (!line.error.empty()) console.Say(line.error);
  int exit_code = line.exit_code;
  if (line.command) {
    const CommandContext context = {&console, line.output, line.server};
    exit_code = std::visit([&](const auto& command) { return Execute(command, context); }, *line.command);
  }
  if (const int error = console.data_error(); error != 0) {
    console.Say(absl::StrCat("tidemark: the output could not be written: ", strerror(error)));
    if (exit_code == kDone) exit_code = kRunFailed;
  }
  return exit_code;
}

}  // namespace
}  // namespace tidemark::cli

int main(int argc, char** argv) { return tidemark::cli::Main(argc, argv); }
