#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/table.h"
#include "cli/value.h"
#include "tidemark/v1/run.pb.h"

namespace tidemark::cli {

// The object that `run -o json` prints for a run, or for a job that got none: fields for scripts, absent ones null.
Value::Record RunObject(const v1::Run& run);

// RunObject and all else that is known of the run.
Value::Record RunDetails(const v1::Run& run);

// The columns of a table of RunDetails.
std::vector<TableColumn> RunColumns();

// The summary for people: the equation of the rows, window, completeness with its premises, phase times, the error.
std::string RunSummary(const v1::Run& run, const Console& console);

// "window (A, B]", "range (A, B]" for a backfill, "full load: up to B".
std::string WindowText(const v1::Window& window);

// What is said of the error of a run under way: that of an attempt, which is tried again, or why the run is being wound
// up, in the phase "aborting".
std::string ErrorLine(std::string_view job, std::string_view phase, std::string_view error);

// Prints a run that has ended: its object or its summary. Where stdout is no terminal, its error is said on stderr too,
// unless that was `said` there last, or what it begins with was.
void ReportRun(const CommandContext& context, const v1::Run& run, std::string_view said = "");

// From its start (its creation, if it never started) to its end; zero while it runs.
absl::Duration RunDuration(const v1::Run& run);

}  // namespace tidemark::cli
