#include "cli/print.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/absl_view.h"
#include "common/model/duration.h"
#include "common/rpc/error_details.h"

namespace tidemark::cli {
namespace {

// What to look at after a server's answer, or the lack of one; empty if nothing comes to mind.
std::string NextCommand(const absl::Status& status) {
  if (ExitCodeOf(status) == kUnreachable) {
    return "Try --server HOST:PORT if the cluster is elsewhere; `tidemark dev FILE` starts one here.";
  }
  if (!absl::IsNotFound(status)) return "";
  for (const char* kind : {"job", "run", "connection", "worker"}) {
    if (status.message().find(absl::StrCat("no ", kind, " ")) == status.message().npos) continue;
    return absl::StrCat("Try `tidemark ", kind, "s list`: it names those that there are.");
  }
  return "";
}

}  // namespace

ExitCode Fail(const CommandContext& context, const absl::Status& status) {
  context.console->Say(absl::StrCat("tidemark: ", status.message()));
  return ExitCodeOf(status);
}

ExitCode FailCall(const CommandContext& context, const absl::Status& status) {
  const ExitCode exit_code = Fail(context, status);
  const ErrorDetails details = DetailsOf(status);
  // What the message says already is not said again.
  const auto say = [&](std::string_view part, std::string_view whole) {
    if (Std(status.message()).find(part) == std::string_view::npos) context.console->Say(whole);
  };
  for (const ErrorDetails::FieldViolation& violation : details.field_violations) {
    say(violation.description, absl::StrCat("  ", violation.field, ": ", violation.description));
  }
  for (const ErrorDetails::PreconditionViolation& violation : details.precondition_violations) {
    say(violation.description, absl::StrCat("  ", violation.subject, ": ", violation.description));
  }
  if (!details.reason.empty()) {
    context.console->Say(absl::StrCat("  reason ", details.reason, details.metadata.empty() ? "" : ": ",
                                      absl::StrJoin(details.metadata, ", ", absl::PairFormatter("="))));
  }
  if (details.retry_after) context.console->Say(absl::StrCat("  try again in ", DurationText(*details.retry_after)));
  if (const std::string next = NextCommand(status); !next.empty()) context.console->Say(next);
  return absl::IsFailedPrecondition(status) || absl::IsAborted(status) ? kRunFailed : exit_code;
}

void PrintList(const CommandContext& context, const std::vector<Value::Record>& rows,
               const std::vector<TableColumn>& columns) {
  Console& console = *context.console;
  switch (context.output) {
    case OutputFormat::kTable:
      return console.Text(ToTable(rows, columns, console.data_columns()));
    case OutputFormat::kJson:
      return console.Data(ToJson(Value::List(rows.begin(), rows.end()), true) + "\n");
    case OutputFormat::kNdjson:
      for (const Value::Record& row : rows) console.Data(ToJson(row, false) + "\n");
      return;
    case OutputFormat::kYaml:
      return console.Data(ToYaml(Value::List(rows.begin(), rows.end())));
  }
}

void PrintObject(const CommandContext& context, const Value::Record& object, const std::function<std::string()>& text) {
  switch (context.output) {
    case OutputFormat::kTable:
      return context.console->Text(text());
    case OutputFormat::kJson:
    case OutputFormat::kNdjson:
      return context.console->Data(ToJson(object, false) + "\n");
    case OutputFormat::kYaml:
      return context.console->Data("---\n" + ToYaml(object));
  }
}

}  // namespace tidemark::cli
