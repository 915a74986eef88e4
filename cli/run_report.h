#pragma once

#include <string>

#include "absl/time/time.h"
#include "cli/console.h"
#include "cli/value.h"
#include "coordinator/run/coordinator.h"
#include "coordinator/store/records.h"

namespace tidemark::cli {

// The object that `run -o json` prints for a run, or for a job that got none: fields for scripts, absent ones null.
Value::Record RunObject(const coordinator::RunRecord& run);

// RunObject and all else that the store holds of the run.
Value::Record RunDetails(const coordinator::RunRecord& run);

// The summary for people: the equation of the rows, window, completeness with its premises, phase times, the error.
std::string RunSummary(const coordinator::RunRecord& run, const Console& console);

// "window (A, B]", "range (A, B]" for a backfill, "full load: up to B".
std::string WindowText(const v1::Window& window);

// What is said of the error of a run under way: that of an attempt, which is tried again, or why the run is being wound
// up.
std::string ErrorLine(const coordinator::RunProgress& run);

// From its start (its creation, if it never started) to its end; zero while it runs.
absl::Duration RunDuration(const coordinator::RunRecord& run);

}  // namespace tidemark::cli
