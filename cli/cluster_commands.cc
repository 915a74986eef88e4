#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/commands.h"
#include "cli/message_value.h"
#include "cli/print.h"
#include "cli/resource_name.h"
#include "cli/server_call.h"
#include "common/base/status_macros.h"
#include "common/model/duration.h"
#include "common/model/enum_names.h"

namespace tidemark::cli {
namespace {

Value::Record WorkerObject(const v1::Worker& worker) {
  Value::Record record = ToRecord(worker);
  record[0] = {"worker", IdOf(worker.name())};
  return record;
}

std::string StatusText(const v1::ClusterStatus& status) {
  return absl::StrCat("cluster ", status.cluster_id(), ", version ", status.version(), ", up for ",
                      ElapsedText(FromProto(status.uptime())), "\n  ",
                      status.leader().empty() ? "no leader" : absl::StrCat("led by ", status.leader()), ", epoch ",
                      status.epoch(), "\n  ", status.workers(), status.workers() == 1 ? " worker, " : " workers, ",
                      status.free_slots(), " of ", status.slots(), " slots free\n  ", status.running_runs(),
                      status.running_runs() == 1 ? " run" : " runs", " under way, ", status.queued_tasks(),
                      status.queued_tasks() == 1 ? " task" : " tasks", " queued\n");
}

}  // namespace

ExitCode Execute(const WorkersListCommand& command, const CommandContext& context) {
  return CallServer(context, [&](AdminClient& client) -> absl::Status {
    TM_ASSIGN_OR_RETURN(const std::vector<v1::Worker> workers,
                        ListAll(client, v1::ListWorkersRequest(), &v1::ListWorkersResponse::workers));
    std::vector<Value::Record> rows;
    for (const v1::Worker& worker : workers) rows.push_back(WorkerObject(worker));
    if (rows.empty()) context.console->Say("no workers");
    PrintList(context, rows,
              {{"worker", "WORKER"},
               {"state", "STATE"},
               {"free_slots", "FREE", true},
               {"slots", "SLOTS", true},
               {"memory_bytes", "MEMORY", true},
               {"spill_bytes", "SPILL", true},
               {"version", "VERSION"},
               {"last_heartbeat", "LAST HEARTBEAT"}});
    return absl::OkStatus();
  });
}

ExitCode Execute(const WorkersDrainCommand& command, const CommandContext& context) {
  return CallServer(context, [&](AdminClient& client) -> absl::Status {
    v1::DrainWorkerRequest request;
    request.set_name(WorkerName(command.worker));
    TM_ASSIGN_OR_RETURN(const v1::Worker worker, client.Call(request));
    PrintObject(context, WorkerObject(worker), [&] {
      return absl::StrCat(IdOf(worker.name()), ": ", EnumName(worker.state()),
                          ", gets no new task and finishes those it has\n");
    });
    return absl::OkStatus();
  });
}

ExitCode Execute(const StatusCommand& command, const CommandContext& context) {
  return CallServer(context, [&](AdminClient& client) -> absl::Status {
    TM_ASSIGN_OR_RETURN(const v1::ClusterStatus status, client.Call(v1::GetStatusRequest()));
    PrintObject(context, ToRecord(status), [&] { return StatusText(status); });
    return absl::OkStatus();
  });
}

}  // namespace tidemark::cli
