#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model/dsn.h"
#include "common/model/duration.h"
#include "common/rpc/error_details.h"
#include "coordinator/admin/admin.h"
#include "coordinator/admin/list_request.h"
#include "coordinator/admin/resource_name.h"
#include "coordinator/admin/resources.h"
#include "coordinator/schedule/cron.h"

// ClusterService.

namespace tidemark::coordinator {
namespace {

// What can be said of a DSN without its connector, which only workers have.
absl::Status CheckDsn(std::string_view dsn) {
  const std::string_view scheme = DsnScheme(dsn);
  return scheme == "postgresql" || scheme == "postgres" ? CheckPostgresUrl(dsn) : absl::OkStatus();
}

}  // namespace

Admin::Admin(AdminOptions options)
    : options_(std::move(options)),
      checks_{.cron = [](std::string_view cron) { return CronSchedule::Parse(cron).status(); }, .dsn = CheckDsn},
      started_(options_.coordinator->clock().Monotonic()) {}

void Admin::SetAddress(std::string address) {
  absl::MutexLock lock(&mutex_);
  address_ = std::move(address);
}

absl::StatusOr<v1::ClusterStatus> Admin::GetStatus(const v1::GetStatusRequest& request) {
  const ClusterView view = options_.coordinator->Cluster();
  v1::ClusterStatus status;
  status.set_cluster_id(options_.coordinator->cluster_id());
  if (!options_.coordinator->deposed()) {
    absl::MutexLock lock(&mutex_);
    status.set_leader(address_);
  }
  status.set_epoch(view.epoch);
  status.set_version(options_.version);
  status.set_workers(view.workers);
  status.set_slots(view.slots);
  status.set_free_slots(view.free_slots);
  status.set_running_runs(view.running_runs);
  status.set_queued_tasks(view.queued_tasks);
  *status.mutable_uptime() = ToProto(options_.coordinator->clock().Monotonic() - started_);
  return status;
}

absl::StatusOr<v1::ListWorkersResponse> Admin::ListWorkers(const v1::ListWorkersRequest& request) {
  TM_ASSIGN_OR_RETURN(const Page page, ReadPage(request.page_size(), request.page_token()));
  TM_ASSIGN_OR_RETURN(const ListFilter filter, ListFilter::Parse(request.filter(), *v1::Worker::descriptor()));
  v1::ListWorkersResponse response;
  std::string last;
  for (const WorkerView& view : options_.coordinator->Workers()) {
    if (view.id <= page.after) continue;
    if (response.workers_size() == page.size) {
      response.set_next_page_token(PageToken(last));
      break;
    }
    last = view.id;
    v1::Worker worker = ToWorker(view);
    if (filter.Matches(worker)) *response.add_workers() = std::move(worker);
  }
  return response;
}

absl::StatusOr<v1::Worker> Admin::DrainWorker(const v1::DrainWorkerRequest& request, const std::string& actor) {
  TM_ASSIGN_OR_RETURN(const std::string id, IdOf(request.name(), "workers"));
  TM_ASSIGN_OR_RETURN(const WorkerView view, options_.coordinator->DrainWorker(id, actor));
  return ToWorker(view);
}

absl::StatusOr<v1::ListAuditEventsResponse> Admin::ListAuditEvents(const v1::ListAuditEventsRequest& request,
                                                                   const Gone& gone) {
  TM_ASSIGN_OR_RETURN(const Page page, ReadPage(request.page_size(), request.page_token()));
  TM_ASSIGN_OR_RETURN(const ListFilter filter, ListFilter::Parse(request.filter(), *v1::AuditEvent::descriptor()));
  AuditFilter stored;
  if (!page.after.empty() && !absl::SimpleAtoi(page.after, &stored.before)) {
    return InvalidField("page_token", "is not one that a list has given");
  }
  stored.limit = page.size + 1;
  v1::ListAuditEventsResponse response;
  while (!gone()) {
    TM_ASSIGN_OR_RETURN(const std::vector<AuditEvent> events, options_.store->ListAudit(stored));
    for (const AuditEvent& event : events) {
      if (response.audit_events_size() == page.size) {
        response.set_next_page_token(PageToken(absl::StrCat(stored.before)));
        return response;
      }
      stored.before = event.id;
      v1::AuditEvent shown = ToAuditEvent(event);
      if (filter.Matches(shown)) *response.add_audit_events() = std::move(shown);
    }
    if (events.size() < static_cast<size_t>(stored.limit)) return response;
    stored.limit = kFilteredChunk;
  }
  return absl::CancelledError("the caller has gone");
}

}  // namespace tidemark::coordinator
