#include <cstdio>
#include <variant>

#include "absl/strings/str_cat.h"
#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/console.h"

int main(int argc, char** argv) {
  using namespace tidemark::cli;
  Console console(stdout, stderr, Console::Detect());
  const CommandLine line = ParseCommandLine(argc, argv);
  if (!line.help.empty()) console.Data(line.help);
  if (!line.error.empty()) console.Say(line.error);
  if (!line.command) return line.exit_code;
  const CommandContext context = {&console, line.output};
  return std::visit([&](const auto& command) { return Execute(command, context); }, *line.command);
}
