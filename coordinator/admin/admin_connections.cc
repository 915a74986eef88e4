#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/config/spec_check.h"
#include "common/secret/dsn.h"
#include "coordinator/admin/admin.h"
#include "coordinator/admin/field_mask.h"
#include "coordinator/admin/list_request.h"
#include "coordinator/admin/resource_name.h"
#include "coordinator/admin/resources.h"
#include "coordinator/admin/spec_error.h"

// ConnectionService.

namespace tidemark::coordinator {

absl::StatusOr<std::vector<ConnectionRecord>> Admin::StoredConnections() const {
  if (options_.connections_stored) return options_.store->ListConnections();
  std::vector<ConnectionRecord> records;
  for (const v1::ConnectionSpec& spec : options_.coordinator->ConnectionSpecs()) {
    ConnectionRecord record;
    record.name = spec.name();
    record.spec = spec;
    record.redacted_dsn = RedactDsn(spec.dsn());
    record.revision = 1;
    records.push_back(std::move(record));
  }
  return records;
}

absl::StatusOr<ConnectionRecord> Admin::StoredConnection(const std::string& name) const {
  TM_ASSIGN_OR_RETURN(std::vector<ConnectionRecord> records, StoredConnections());
  for (ConnectionRecord& record : records) {
    if (record.name == name) return std::move(record);
  }
  return absl::NotFoundError(absl::StrCat("no connection ", name));
}

std::map<std::string, int> Admin::OpenSessions() const {
  std::map<std::string, int> open;
  for (const ConnectionUse& use : options_.coordinator->Connections()) open[use.name] = use.open_sessions;
  return open;
}

v1::Connection Admin::Show(const ConnectionRecord& record) const {
  return ToConnection(record, OpenSessions()[record.name]);
}

absl::StatusOr<v1::ConnectionSpec> Admin::Judge(const v1::ConnectionSpec& spec) const {
  v1::ConnectionSpec complete = spec;
  TM_RETURN_IF_ERROR(SpecError(CheckConnectionSpec(checks_, &complete), "connection"));
  return complete;
}

absl::StatusOr<v1::Connection> Admin::CreateConnection(const v1::CreateConnectionRequest& request,
                                                       const std::string& actor) {
  ConnectionChange change;
  TM_ASSIGN_OR_RETURN(change.spec, Judge(request.connection()));
  change.request_id = request.request_id();
  change.actor = actor;
  TM_ASSIGN_OR_RETURN(const ConnectionRecord record, options_.coordinator->CreateConnection(change));
  return Show(record);
}

absl::StatusOr<v1::Connection> Admin::GetConnection(const v1::GetConnectionRequest& request) {
  TM_ASSIGN_OR_RETURN(const std::string id, IdOf(request.name(), "connections"));
  TM_ASSIGN_OR_RETURN(const ConnectionRecord record, StoredConnection(id));
  return Show(record);
}

absl::StatusOr<v1::ListConnectionsResponse> Admin::ListConnections(const v1::ListConnectionsRequest& request) {
  TM_ASSIGN_OR_RETURN(const Page page, ReadPage(request.page_size(), request.page_token()));
  TM_ASSIGN_OR_RETURN(const ListFilter filter, ListFilter::Parse(request.filter(), *v1::Connection::descriptor()));
  TM_ASSIGN_OR_RETURN(const std::vector<ConnectionRecord> records, StoredConnections());
  std::map<std::string, int> open = OpenSessions();
  v1::ListConnectionsResponse response;
  std::string last;
  for (const ConnectionRecord& record : records) {
    if (record.name <= page.after) continue;
    if (response.connections_size() == page.size) {
      response.set_next_page_token(PageToken(last));
      break;
    }
    last = record.name;
    v1::Connection connection = ToConnection(record, open[record.name]);
    if (filter.Matches(connection)) *response.add_connections() = std::move(connection);
  }
  return response;
}

absl::StatusOr<v1::Connection> Admin::UpdateConnection(const v1::UpdateConnectionRequest& request,
                                                       const std::string& actor) {
  const std::string name = request.connection().name().empty()
                               ? absl::StrCat("connections/", request.connection().spec().name())
                               : request.connection().name();
  TM_ASSIGN_OR_RETURN(const std::string id, IdOf(name, "connections", "connection.name"));
  ConnectionChange change;
  TM_ASSIGN_OR_RETURN(change.revision, ReadEtag(request.connection().etag()));
  change.allow_missing = request.allow_missing();
  change.validate_only = request.validate_only();
  change.actor = actor;
  change.spec = request.connection().spec();
  change.spec.set_name(id);
  const absl::StatusOr<ConnectionRecord> stored = StoredConnection(id);
  if (!stored.ok() && !(absl::IsNotFound(stored.status()) && request.allow_missing())) return stored.status();
  if (request.update_mask().paths().empty()) {
    // Who sends no DSN leaves it as it is: nobody is ever shown it.
    TM_ASSIGN_OR_RETURN(change.spec, options_.coordinator->WithKnownSecrets(std::move(change.spec)));
  } else {
    v1::ConnectionSpec merged;
    for (const v1::ConnectionSpec& spec : options_.coordinator->ConnectionSpecs()) {
      if (spec.name() == id) merged = spec;
    }
    TM_RETURN_IF_ERROR(ApplyMask(request.update_mask(), request.connection().spec(), &merged));
    merged.set_name(id);
    change.spec = std::move(merged);
    // What was merged must rest on what is replaced.
    if (stored.ok() && change.revision == 0) change.revision = stored->revision;
  }
  TM_ASSIGN_OR_RETURN(change.spec, Judge(change.spec));
  TM_ASSIGN_OR_RETURN(const ConnectionRecord record, options_.coordinator->UpdateConnection(change));
  return Show(record);
}

absl::Status Admin::DeleteConnection(const v1::DeleteConnectionRequest& request, const std::string& actor) {
  TM_ASSIGN_OR_RETURN(const std::string id, IdOf(request.name(), "connections"));
  TM_ASSIGN_OR_RETURN(const int64_t revision, ReadEtag(request.etag()));
  return options_.coordinator->DeleteConnection(id, revision, actor);
}

absl::StatusOr<v1::TestConnectionResponse> Admin::TestConnection(const v1::TestConnectionRequest& request,
                                                                 absl::Duration patience, const Gone& gone) {
  TM_ASSIGN_OR_RETURN(const std::string id, IdOf(request.name(), "connections"));
  TM_ASSIGN_OR_RETURN(const v1::TestResult result, options_.coordinator->TestConnection(id, patience, gone));
  v1::TestConnectionResponse response;
  response.set_server(result.server());
  *response.mutable_round_trip() = result.round_trip();
  *response.mutable_warnings() = result.warnings();
  return response;
}

}  // namespace tidemark::coordinator
