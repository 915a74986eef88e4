#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/commands.h"
#include "cli/print.h"
#include "cli/project_loading.h"
#include "cli/signal_watcher.h"
#include "common/base/absl_view.h"
#include "common/base/clock.h"
#include "common/base/status_macros.h"
#include "common/config/suggestion.h"
#include "common/secret/dsn.h"
#include "worker/connectors/builtin.h"

namespace tidemark::cli {
namespace {

absl::StatusOr<std::vector<v1::ConnectionSpec>> SelectConnections(const Project& project,
                                                                  const std::vector<std::string>& names) {
  if (names.empty()) return project.connections;
  std::vector<std::string> known;
  for (const v1::ConnectionSpec& connection : project.connections) known.push_back(connection.name());
  std::vector<v1::ConnectionSpec> selected;
  for (const std::string& name : names) {
    const v1::ConnectionSpec* connection = project.FindConnection(name);
    if (connection == nullptr) {
      return absl::NotFoundError(
          absl::StrCat("no connection \"", name, "\" in ", project.file, Suggestion(name, known)));
    }
    selected.push_back(*connection);
  }
  return selected;
}

absl::StatusOr<std::string> TestConnection(const ConnectorRegistry& connectors, const v1::ConnectionSpec& connection) {
  TM_ASSIGN_OR_RETURN(Connector* const connector, connectors.Find(connection.dsn()));
  return connector->Test(connection, SessionOptions());
}

}  // namespace

ExitCode Execute(const ConnectionsTestCommand& command, const CommandContext& context) {
  ExitOnSignals();
  const ConnectorRegistry connectors = BuiltinConnectors();
  const absl::StatusOr<Project> project = OpenProject(command.project, connectors, context.console);
  if (!project.ok()) return Fail(context, project.status());
  const absl::StatusOr<std::vector<v1::ConnectionSpec>> selected = SelectConnections(*project, command.connections);
  if (!selected.ok()) return Fail(context, selected.status());

  const SystemClock clock;
  ExitCode exit_code = kDone;
  std::vector<Value::Record> rows;
  for (const v1::ConnectionSpec& connection : *selected) {
    const absl::Duration begin = clock.Monotonic();
    const absl::StatusOr<std::string> server = TestConnection(connectors, connection);
    const double seconds = absl::ToDoubleSeconds(clock.Monotonic() - begin);
    // Whatever the reason, what was to be reached was not.
    if (!server.ok()) exit_code = kUnreachable;
    rows.push_back({{"connection", connection.name()},
                    {"dsn", RedactDsn(connection.dsn())},
                    {"ok", server.ok()},
                    {"server", server.ok() ? Value(*server) : Value()},
                    {"seconds", seconds},
                    {"error", server.ok() ? Value() : Value(std::string(Std(server.status().message())))}});
  }
  PrintList(context, rows,
            {{"connection", "CONNECTION"}, {"ok", "OK"}, {"server", "SERVER"}, {"dsn", "DSN"}, {"error", "ERROR"}});
  return exit_code;
}

}  // namespace tidemark::cli
