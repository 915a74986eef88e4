#include "coordinator/dispatch/connection_budget.h"

#include <algorithm>
#include <utility>

#include "common/model/connection_identity.h"
#include "common/model/source_settings.h"

namespace tidemark::coordinator {

void ConnectionBudget::SetConnections(const std::vector<v1::ConnectionSpec>& connections) {
  servers_.clear();
  replicas_.clear();
  limits_.clear();
  for (const v1::ConnectionSpec& connection : connections) {
    std::vector<std::string> servers;
    for (const v1::ConnectionSpec& server : ServersOf(connection)) servers.push_back(ConnectionIdentity(server));
    servers_[connection.name()] = servers.front();
    replicas_[connection.name()].assign(servers.begin() + 1, servers.end());
    const int limit = MaxConnections(connection);
    for (const std::string& server : servers) {
      const auto [it, added] = limits_.emplace(server, limit);
      if (!added) it->second = std::min(it->second, limit);
    }
  }
}

std::string ConnectionBudget::Server(std::string_view connection) const {
  const auto it = servers_.find(connection);
  if (it != servers_.end()) return it->second;
  v1::ConnectionSpec unknown;
  unknown.set_name(std::string(connection));
  return ConnectionIdentity(unknown);
}

std::vector<std::string> ConnectionBudget::Replicas(std::string_view connection) const {
  const auto it = replicas_.find(connection);
  return it == replicas_.end() ? std::vector<std::string>() : it->second;
}

int ConnectionBudget::LimitOn(std::string_view server) const {
  const auto it = limits_.find(server);
  return it == limits_.end() ? 0 : it->second;
}

int ConnectionBudget::HeldOn(std::string_view server) const {
  int held = 0;
  for (const auto& [id, entry] : permits_) held += ServerOf(entry.permit) == server;
  return held;
}

int ConnectionBudget::SpareOn(std::string_view server) const { return std::max(0, LimitOn(server) - HeldOn(server)); }

std::string ConnectionBudget::ServerOf(const Permit& permit) const {
  return permit.identity.empty() ? Server(permit.connection) : permit.identity;
}

void ConnectionBudget::Grant(PermitRecord permit) {
  ++version_;
  static_cast<PermitRecord&>(permits_[permit.session_id].permit) = std::move(permit);
}

bool ConnectionBudget::Release(std::string_view session_id) {
  const auto it = permits_.find(session_id);
  if (it == permits_.end()) return false;
  ++version_;
  permits_.erase(it);
  return true;
}

const Permit* ConnectionBudget::Find(std::string_view session_id) const {
  const auto it = permits_.find(session_id);
  return it == permits_.end() ? nullptr : &it->second.permit;
}

void ConnectionBudget::SetState(std::string_view session_id, Permit::State state) {
  const auto it = permits_.find(session_id);
  if (it == permits_.end() || it->second.permit.state == state) return;
  ++version_;
  it->second.permit.state = state;
}

void ConnectionBudget::SetInSnapshot(std::string_view session_id, bool in_snapshot) {
  const auto it = permits_.find(session_id);
  if (it == permits_.end() || it->second.permit.in_snapshot == in_snapshot) return;
  ++version_;
  it->second.permit.in_snapshot = in_snapshot;
}

std::vector<const Permit*> ConnectionBudget::OfRun(std::string_view run_id) const {
  std::vector<const Permit*> found;
  for (const auto& [id, entry] : permits_) {
    if (entry.permit.run_id == run_id) found.push_back(&entry.permit);
  }
  return found;
}

std::vector<const Permit*> ConnectionBudget::OfWorker(std::string_view worker_id, std::string_view incarnation) const {
  std::vector<const Permit*> found;
  for (const auto& [id, entry] : permits_) {
    if (entry.permit.worker_id == worker_id && entry.permit.incarnation == incarnation) found.push_back(&entry.permit);
  }
  return found;
}

std::vector<const Permit*> ConnectionBudget::All() const {
  std::vector<const Permit*> found;
  for (const auto& [id, entry] : permits_) found.push_back(&entry.permit);
  return found;
}

void ConnectionBudget::Condemn(std::string_view session_id, absl::Duration gone_at) {
  const auto it = permits_.find(session_id);
  if (it == permits_.end() || it->second.gone_at.has_value()) return;
  ++version_;
  it->second.gone_at = gone_at;
  it->second.permit.state = Permit::State::kClosing;
}

bool ConnectionBudget::Condemned(std::string_view session_id) const {
  const auto it = permits_.find(session_id);
  return it != permits_.end() && it->second.gone_at.has_value();
}

std::vector<std::string> ConnectionBudget::KnownGone(absl::Duration now) const {
  std::vector<std::string> gone;
  for (const auto& [id, entry] : permits_) {
    if (entry.gone_at.has_value() && *entry.gone_at <= now) gone.push_back(id);
  }
  return gone;
}

absl::Duration ConnectionBudget::NextGone() const {
  absl::Duration next = absl::InfiniteDuration();
  for (const auto& [id, entry] : permits_) {
    if (entry.gone_at.has_value()) next = std::min(next, *entry.gone_at);
  }
  return next;
}

}  // namespace tidemark::coordinator
