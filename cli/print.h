#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "cli/value.h"

namespace tidemark::cli {

// Says what is wrong and returns the exit code for it.
ExitCode Fail(const CommandContext& context, const absl::Status& status);

// The same of a call that a server answered with an error, and a line for each of its google.rpc details: that what was
// asked for cannot be done now is no mistake of the command line, as FailedPrecondition is elsewhere.
ExitCode FailCall(const CommandContext& context, const absl::Status& status);

// Prints a list: a table, one JSON array, one JSON object a line, or a YAML list.
void PrintList(const CommandContext& context, const std::vector<Value::Record>& rows,
               const std::vector<TableColumn>& columns);

// Prints one object, in JSON on a line of its own: several in a row are a stream that `jq` reads. `text` is what people
// read instead.
void PrintObject(const CommandContext& context, const Value::Record& object, const std::function<std::string()>& text);

}  // namespace tidemark::cli
