#include "coordinator/dispatch/worker_directory.h"

#include <algorithm>
#include <utility>

namespace tidemark::coordinator {

void WorkerDirectory::Register(Worker worker) {
  std::string id = worker.id;
  workers_.insert_or_assign(std::move(id), std::move(worker));
}

void WorkerDirectory::Remove(std::string_view id) {
  if (const auto it = workers_.find(id); it != workers_.end()) workers_.erase(it);
}

Worker* WorkerDirectory::Find(std::string_view id, std::string_view incarnation) {
  const auto it = workers_.find(id);
  return it == workers_.end() || it->second.incarnation != incarnation ? nullptr : &it->second;
}

const Worker* WorkerDirectory::Find(std::string_view id, std::string_view incarnation) const {
  return const_cast<WorkerDirectory*>(this)->Find(id, incarnation);
}

const Worker* WorkerDirectory::FindById(std::string_view id) const {
  const auto it = workers_.find(id);
  return it == workers_.end() ? nullptr : &it->second;
}

std::vector<Worker> WorkerDirectory::Expired(absl::Duration now, absl::Duration lease) const {
  std::vector<Worker> expired;
  for (const auto& [id, worker] : workers_) {
    if (worker.last_heartbeat + lease <= now) expired.push_back(worker);
  }
  return expired;
}

absl::Duration WorkerDirectory::NextExpiry(absl::Duration lease) const {
  absl::Duration next = absl::InfiniteDuration();
  for (const auto& [id, worker] : workers_) next = std::min(next, worker.last_heartbeat + lease);
  return next;
}

}  // namespace tidemark::coordinator
