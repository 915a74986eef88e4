#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/commands.h"
#include "cli/print.h"
#include "cli/project_loading.h"
#include "cli/resource_name.h"
#include "cli/server_call.h"
#include "cli/signal_watcher.h"
#include "common/base/absl_view.h"
#include "common/base/clock.h"
#include "common/base/status_macros.h"
#include "common/config/suggestion.h"
#include "common/model/connection_identity.h"
#include "common/model/duration.h"
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
          absl::StrCat("no connection \"", name, "\" in ", project.file, SuggestionOrAll(name, known)));
    }
    selected.push_back(*connection);
  }
  return selected;
}

absl::StatusOr<std::string> TestConnection(const ConnectorRegistry& connectors, const v1::ConnectionSpec& connection) {
  TM_ASSIGN_OR_RETURN(Connector* const connector, connectors.Find(connection.dsn()));
  return connector->Test(connection, SessionOptions());
}

absl::StatusOr<std::vector<v1::Connection>> SelectRemote(AdminClient& client, const std::vector<std::string>& names) {
  if (names.empty()) return ListAll(client, v1::ListConnectionsRequest(), &v1::ListConnectionsResponse::connections);
  std::vector<v1::Connection> selected;
  for (const std::string& name : names) {
    v1::GetConnectionRequest request;
    request.set_name(ConnectionName(name));
    TM_ASSIGN_OR_RETURN(selected.emplace_back(), client.Call(request));
  }
  return selected;
}

// What a test of one connection found, how long it took, and what else is to be said.
Value::Record TestObject(const std::string& connection, const std::string& redacted_dsn,
                         const absl::StatusOr<std::string>& server, absl::Duration elapsed, Value::List warnings) {
  return {{"connection", connection},
          {"dsn", redacted_dsn},
          {"ok", server.ok()},
          {"server", server.ok() ? Value(*server) : Value()},
          {"seconds", absl::ToDoubleSeconds(elapsed)},
          {"error", server.ok() ? Value() : Value(std::string(Std(server.status().message())))},
          {"warnings", std::move(warnings)}};
}

void PrintTests(const CommandContext& context, const std::vector<Value::Record>& rows) {
  PrintList(context, rows,
            {{"connection", "CONNECTION"},
             {"ok", "OK"},
             {"server", "SERVER"},
             {"dsn", "DSN"},
             {"error", "ERROR"},
             {"warnings", "WARNINGS"}});
}

ExitCode TestRemote(const ConnectionsTestCommand& command, const CommandContext& context) {
  ExitCode tested = kDone;
  const ExitCode asked = CallServer(context, [&](AdminClient& client) -> absl::Status {
    TM_ASSIGN_OR_RETURN(const std::vector<v1::Connection> selected, SelectRemote(client, command.connections));
    std::vector<Value::Record> rows;
    for (const v1::Connection& connection : selected) {
      v1::TestConnectionRequest request;
      request.set_name(connection.name());
      const absl::StatusOr<v1::TestConnectionResponse> answered = client.Call(request);
      if (!answered.ok()) tested = kUnreachable;
      const v1::TestConnectionResponse response = answered.value_or(v1::TestConnectionResponse());
      rows.push_back(TestObject(IdOf(connection.name()), connection.redacted_dsn(),
                                answered.ok() ? absl::StatusOr<std::string>(response.server()) : answered.status(),
                                FromProto(response.round_trip()),
                                Value::List(response.warnings().begin(), response.warnings().end())));
    }
    PrintTests(context, rows);
    return absl::OkStatus();
  });
  return asked == kDone ? tested : asked;
}

}  // namespace

ExitCode Execute(const ConnectionsListCommand& command, const CommandContext& context) {
  return CallServer(context, [&](AdminClient& client) -> absl::Status {
    TM_ASSIGN_OR_RETURN(const std::vector<v1::Connection> connections, SelectRemote(client, {}));
    std::vector<Value::Record> rows;
    for (const v1::Connection& connection : connections) {
      const v1::ConnectionSpec& spec = connection.spec();
      rows.push_back({{"connection", IdOf(connection.name())},
                      {"dsn", connection.redacted_dsn()},
                      {"max_connections", spec.max_connections()},
                      {"max_rows_per_second", spec.max_rows_per_second()},
                      {"open_sessions", connection.open_sessions()},
                      {"worker", Value::OrNull(spec.worker())}});
    }
    if (rows.empty()) context.console->Say("no connections yet: `tidemark apply FILE` makes those of a project file");
    PrintList(context, rows,
              {{"connection", "CONNECTION"},
               {"dsn", "DSN"},
               {"open_sessions", "SESSIONS", true},
               {"max_connections", "LIMIT", true},
               {"max_rows_per_second", "ROWS/S", true},
               {"worker", "WORKER"}});
    return absl::OkStatus();
  });
}

ExitCode Execute(const ConnectionsTestCommand& command, const CommandContext& context) {
  if (command.project.empty()) return TestRemote(command, context);
  ExitOnSignals();
  const ConnectorRegistry connectors = BuiltinConnectors({.folder = "", .any_path = true});
  const absl::StatusOr<Project> project = OpenProject(command.project, connectors, context.console);
  if (!project.ok()) return Fail(context, project.status());
  const absl::StatusOr<std::vector<v1::ConnectionSpec>> selected = SelectConnections(*project, command.connections);
  if (!selected.ok()) return Fail(context, selected.status());

  const SystemClock clock;
  ExitCode exit_code = kDone;
  std::vector<Value::Record> rows;
  for (const v1::ConnectionSpec& connection : *selected) {
    for (const v1::ConnectionSpec& server : ServersOf(connection)) {
      const absl::Duration begin = clock.Monotonic();
      const absl::StatusOr<std::string> answer = TestConnection(connectors, server);
      // Whatever the reason, what was to be reached was not.
      if (!answer.ok()) exit_code = kUnreachable;
      rows.push_back(
          TestObject(server.name(), RedactDsn(server.dsn()), answer, clock.Monotonic() - begin, Value::List()));
    }
  }
  PrintTests(context, rows);
  return exit_code;
}

}  // namespace tidemark::cli
