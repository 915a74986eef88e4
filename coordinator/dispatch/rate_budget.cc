#include "coordinator/dispatch/rate_budget.h"

#include <algorithm>

#include "common/model/connection_identity.h"

namespace tidemark::coordinator {

void RateBudget::SetConnections(const std::vector<v1::ConnectionSpec>& connections) {
  identities_.clear();
  std::map<std::string, int64_t> limits;
  for (const v1::ConnectionSpec& connection : connections) {
    if (connection.max_rows_per_second() <= 0) continue;
    const std::string identity = ConnectionIdentity(connection);
    identities_[connection.name()] = identity;
    const auto [it, added] = limits.emplace(identity, connection.max_rows_per_second());
    if (!added) it->second = std::min(it->second, connection.max_rows_per_second());
  }
  // Connections of one server share the limit whichever of them names it.
  for (const v1::ConnectionSpec& connection : connections) {
    const std::string identity = ConnectionIdentity(connection);
    if (limits.contains(identity)) identities_[connection.name()] = identity;
  }
  std::erase_if(sources_, [&](const auto& entry) { return !limits.contains(entry.first); });
  for (const auto& [identity, limit] : limits) {
    sources_[identity].limit = limit;
    Rebalance(sources_[identity]);
  }
}

void RateBudget::SetEpoch(int64_t epoch) { last_version_ = std::max(last_version_, epoch << 24); }

void RateBudget::Assume(std::string_view worker, std::string_view connection, absl::Duration now) {
  Source* source = Find(connection);
  if (source == nullptr) return;
  const auto [it, added] = source->shares.try_emplace(Reader(worker, connection));
  if (!added) return;
  it->second.assumed = true;
  it->second.outstanding = source->limit;
  it->second.last_seen = now;
}

RateBudget::Source* RateBudget::Find(std::string_view connection) {
  const auto it = identities_.find(connection);
  return it == identities_.end() ? nullptr : &sources_.at(it->second);
}

const RateBudget::Source* RateBudget::Find(std::string_view connection) const {
  return const_cast<RateBudget*>(this)->Find(connection);
}

int64_t RateBudget::Sum(const Source& source) {
  int64_t sum = 0;
  for (const auto& [reader, share] : source.shares) sum += share.outstanding;
  return sum;
}

bool RateBudget::Admit(std::string_view worker, std::string_view connection, absl::Duration now) {
  Source* source = Find(connection);
  if (source == nullptr) return true;
  Share& share = source->shares[Reader(worker, connection)];
  share.last_seen = std::max(share.last_seen, now);
  Rebalance(*source);
  if (share.told > 0) return true;
  // Of more readers than rows per second, as many read as there are rows; the others wait for one to end.
  const int64_t fair = std::max<int64_t>(1, source->limit / static_cast<int64_t>(source->shares.size()));
  if (source->limit - Sum(*source) < fair) return false;
  share.told = share.outstanding = fair;
  share.version = ++last_version_;
  return true;
}

void RateBudget::Rebalance(Source& source) {
  if (source.shares.empty()) return;
  const int64_t fair = std::max<int64_t>(1, source.limit / static_cast<int64_t>(source.shares.size()));
  for (auto& [reader, share] : source.shares) {
    if (share.told <= fair) continue;
    share.told = fair;
    share.version = ++last_version_;
  }
  int64_t spare = source.limit - Sum(source);
  for (auto& [reader, share] : source.shares) {
    // What was lowered and not acknowledged may be told again in full without counting twice.
    const int64_t room = share.outstanding + std::max<int64_t>(0, spare);
    const int64_t raised = std::min(fair, room);
    if (share.told == 0 || raised <= share.told) continue;
    share.told = raised;
    share.version = ++last_version_;
    spare -= std::max<int64_t>(0, raised - share.outstanding);
    share.outstanding = std::max(share.outstanding, raised);
  }
}

void RateBudget::Observe(const std::set<Reader>& reading, absl::Duration now) {
  for (auto& [identity, source] : sources_) {
    for (auto it = source.shares.begin(); it != source.shares.end();) {
      Share& share = it->second;
      share.reading = reading.contains(it->first);
      if (share.reading) share.last_seen = now;
      const absl::Duration keep = share.told > 0 || share.assumed ? kLinger : kPatience;
      it = now - share.last_seen >= keep ? source.shares.erase(it) : std::next(it);
    }
    Rebalance(source);
  }
}

std::vector<v1::RateShare> RateBudget::Shares(std::string_view worker) const {
  std::vector<v1::RateShare> shares;
  for (const auto& [identity, source] : sources_) {
    for (const auto& [reader, share] : source.shares) {
      if (reader.first != worker || share.told == 0) continue;
      v1::RateShare& told = shares.emplace_back();
      told.set_connection(reader.second);
      told.set_rows_per_second(share.told);
      told.set_version(share.version);
    }
  }
  return shares;
}

bool RateBudget::HasNews(std::string_view worker) const {
  for (const auto& [identity, source] : sources_) {
    for (const auto& [reader, share] : source.shares) {
      if (reader.first == worker && share.told > 0 && share.version != share.told_version) return true;
    }
  }
  return false;
}

void RateBudget::NoteTold(std::string_view worker) {
  for (auto& [identity, source] : sources_) {
    for (auto& [reader, share] : source.shares) {
      if (reader.first == worker) share.told_version = share.version;
    }
  }
}

void RateBudget::Acknowledge(std::string_view worker, const v1::RateShare& acknowledged) {
  Source* source = Find(acknowledged.connection());
  if (source == nullptr) return;
  const auto it = source->shares.find(Reader(worker, acknowledged.connection()));
  if (it == source->shares.end()) return;
  if (it->second.assumed) {
    // Told as ours from now on, and lowered if it is more than its part.
    it->second.assumed = false;
    it->second.told = it->second.outstanding = std::clamp<int64_t>(acknowledged.rows_per_second(), 1, source->limit);
    it->second.version = ++last_version_;
    Rebalance(*source);
    return;
  }
  if (it->second.told == 0) return;
  if (acknowledged.version() != it->second.version) return;
  if (std::exchange(it->second.outstanding, it->second.told) != it->second.told) ++last_version_;
  Rebalance(*source);
}

absl::Duration RateBudget::NextChange() const {
  absl::Duration next = absl::InfiniteDuration();
  for (const auto& [identity, source] : sources_) {
    for (const auto& [reader, share] : source.shares) {
      if (!share.reading) next = std::min(next, share.last_seen + (share.told > 0 ? kLinger : kPatience));
    }
  }
  return next;
}

int64_t RateBudget::Outstanding(std::string_view connection) const {
  const Source* source = Find(connection);
  return source == nullptr ? 0 : Sum(*source);
}

}  // namespace tidemark::coordinator
