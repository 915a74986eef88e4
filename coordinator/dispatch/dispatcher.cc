#include "coordinator/dispatch/dispatcher.h"

#include <algorithm>
#include <tuple>

namespace tidemark::coordinator {
namespace {

bool MayOpenOn(const TaskOffer& offer, std::string_view server) {
  return offer.may_open && std::find(offer.servers.begin(), offer.servers.end(), server) != offer.servers.end();
}

// Sessions of the job on the servers it would take another one of, by the offers' view of which run is whose.
int SessionsOfJob(const TaskOffer& offer, const ConnectionBudget& budget) {
  int held = 0;
  for (const Permit* permit : budget.OfRun(offer.run_id)) held += MayOpenOn(offer, budget.ServerOf(*permit));
  return held;
}

// The server with the most to spare; empty if none has anything.
std::string Roomiest(const TaskOffer& offer, const ConnectionBudget& budget) {
  std::string roomiest;
  int most = 0;
  for (const std::string& server : offer.servers) {
    const int spare = budget.SpareOn(server);
    if (spare <= most) continue;
    most = spare;
    roomiest = server;
  }
  return roomiest;
}

}  // namespace

std::optional<Assignment> Dispatcher::Choose(std::string_view worker_id, std::string_view incarnation,
                                             const std::vector<TaskOffer>& offers, const ConnectionBudget& budget,
                                             const Admission& admit) {
  std::optional<Assignment> best;
  // Smaller is better: class (without a session, on one already held, on a new one), sessions held, time served, age.
  std::tuple<int, int, uint64_t> best_rank;
  for (size_t i = 0; i < offers.size(); ++i) {
    const TaskOffer& offer = offers[i];
    if (!offer.only_worker.empty() && offer.only_worker != worker_id) continue;
    Assignment assignment{.offer = i, .session_id = "", .open = false, .server = ""};
    std::tuple<int, int, uint64_t> rank;
    const auto served = last_served_.find(offer.job_uid);
    const uint64_t served_at = served == last_served_.end() ? 0 : served->second;
    if (offer.connection.empty()) {
      rank = {0, 0, served_at};
    } else {
      for (const std::string& session : offer.idle_sessions) {
        const Permit* permit = budget.Find(session);
        if (permit == nullptr || permit->worker_id != worker_id || permit->incarnation != incarnation) continue;
        assignment.session_id = session;
        break;
      }
      if (!assignment.session_id.empty()) {
        rank = {1, 0, served_at};
      } else {
        if (!offer.may_open) continue;
        assignment.server = Roomiest(offer, budget);
        if (assignment.server.empty()) continue;
        assignment.open = true;
        rank = {2, SessionsOfJob(offer, budget), served_at};
      }
    }
    if (best.has_value() && rank >= best_rank) continue;
    if (offer.reads_rows && !admit(offer.connection)) continue;
    best = assignment;
    best_rank = rank;
  }
  if (best.has_value()) last_served_[offers[best->offer].job_uid] = ++served_;
  return best;
}

bool Dispatcher::ShouldYield(std::string_view job_uid, std::string_view server, int held,
                             const std::vector<TaskOffer>& offers, const ConnectionBudget& budget) {
  if (budget.SpareOn(server) > 0) return false;
  int leaving = 0;
  for (const Permit* permit : budget.All()) {
    leaving += permit->state == Permit::State::kClosing && budget.ServerOf(*permit) == server;
  }
  for (const TaskOffer& offer : offers) {
    if (offer.job_uid == job_uid || !MayOpenOn(offer, server)) continue;
    // It is helped elsewhere.
    if (!Roomiest(offer, budget).empty()) continue;
    if (SessionsOfJob(offer, budget) + 1 < held && --leaving < 0) return true;
  }
  return false;
}

}  // namespace tidemark::coordinator
