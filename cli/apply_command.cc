#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/commands.h"
#include "cli/print.h"
#include "cli/project_loading.h"
#include "cli/resource_name.h"
#include "cli/server_call.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "common/rpc/error_details.h"
#include "google/protobuf/util/message_differencer.h"
#include "worker/connectors/builtin.h"

namespace tidemark::cli {
namespace {

using google::protobuf::util::MessageDifferencer;

// Makes what the server has what a project file says, connections before the jobs that use them.
class Application {
 public:
  Application(AdminClient* client, bool dry_run, const CommandContext* context)
      : client_(*client), dry_run_(dry_run), context_(*context) {}

  // Goes on after what the server refuses; an error is one that would befall the rest too.
  absl::Status Apply(const Project& project) {
    for (const v1::ConnectionSpec& connection : project.connections) {
      TM_RETURN_IF_ERROR(Record("connection", connection.name(), ApplyConnection(connection)));
    }
    for (const v1::JobSpec& job : project.jobs) TM_RETURN_IF_ERROR(Record("job", job.name(), ApplyJob(job)));
    return absl::OkStatus();
  }

  void Print() const {
    PrintList(context_, rows_, {{"name", "NAME"}, {"kind", "KIND"}, {"change", "CHANGE"}, {"error", "ERROR"}});
  }

  ExitCode exit_code() const { return exit_code_; }
  // Whether the server has answered anything.
  bool reached() const { return !rows_.empty(); }

 private:
  absl::Status Record(const char* kind, const std::string& name, const absl::StatusOr<std::string>& change) {
    rows_.push_back({{"kind", kind},
                     {"name", name},
                     {"change", change.ok() ? *change : "failed"},
                     {"error", change.ok() ? Value() : Value(std::string(Std(change.status().message())))}});
    if (change.ok()) return absl::OkStatus();
    if (absl::IsUnavailable(change.status()) || absl::IsDeadlineExceeded(change.status())) {
      // Of a server that was never there, there is nothing to tell but that.
      if (rows_.size() == 1) rows_.clear();
      return change.status();
    }
    const absl::Status named(change.status().code(), absl::StrCat(kind, " ", name, ": ", change.status().message()));
    const ExitCode code = FailCall(context_, WithDetails(named, DetailsOf(change.status())));
    if (exit_code_ == kDone) exit_code_ = code;
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> ApplyConnection(const v1::ConnectionSpec& connection) {
    v1::GetConnectionRequest get;
    get.set_name(ConnectionName(connection.name()));
    const absl::StatusOr<v1::Connection> before = client_.Call(get);
    if (!before.ok() && !absl::IsNotFound(before.status())) return before.status();
    v1::UpdateConnectionRequest update;
    update.mutable_connection()->set_name(get.name());
    *update.mutable_connection()->mutable_spec() = connection;
    update.set_allow_missing(true);
    update.set_validate_only(dry_run_);
    TM_ASSIGN_OR_RETURN(const v1::Connection after, client_.Call(update));
    if (before.ok()) return before->etag() == after.etag() ? "unchanged" : "changed";
    if (dry_run_) missing_.insert(connection.name());
    return "created";
  }

  absl::StatusOr<std::string> ApplyJob(const v1::JobSpec& job) {
    v1::GetJobRequest get;
    get.set_name(JobName(job.name()));
    const absl::StatusOr<v1::Job> before = client_.Call(get);
    if (!before.ok() && !absl::IsNotFound(before.status())) return before.status();
    v1::Job after;
    *after.mutable_spec() = job;
    // The server cannot judge it before its connections are there.
    if (!missing_.contains(job.source().connection()) && !missing_.contains(job.target().connection())) {
      v1::UpdateJobRequest update;
      update.mutable_job()->set_name(get.name());
      *update.mutable_job()->mutable_spec() = job;
      update.set_allow_missing(true);
      update.set_validate_only(dry_run_);
      TM_ASSIGN_OR_RETURN(after, client_.Call(update));
    }
    if (!before.ok()) return "created";
    return MessageDifferencer::Equals(before->spec(), after.spec()) ? "unchanged" : "changed";
  }

  AdminClient& client_;
  const bool dry_run_;
  const CommandContext& context_;
  // Connections that a dry run has left unmade.
  std::set<std::string> missing_;
  std::vector<Value::Record> rows_;
  ExitCode exit_code_ = kDone;
};

}  // namespace

ExitCode Execute(const ApplyCommand& command, const CommandContext& context) {
  const ConnectorRegistry connectors = BuiltinConnectors();
  const absl::StatusOr<Project> project =
      OpenProject(command.file, connectors, context.console, /*keep_secret_references=*/true);
  if (!project.ok()) return Fail(context, project.status());
  ExitCode applied = kDone;
  const ExitCode asked = CallServer(context, [&](AdminClient& client) {
    Application application(&client, command.dry_run, &context);
    const absl::Status status = application.Apply(*project);
    if (application.reached()) application.Print();
    if (status.ok() && command.dry_run) context.console->Say("nothing was changed: --dry-run");
    applied = application.exit_code();
    return status;
  });
  return asked == kDone ? applied : asked;
}

}  // namespace tidemark::cli
