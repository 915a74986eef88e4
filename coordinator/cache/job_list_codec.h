#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "coordinator/cache/job_cache.h"

namespace tidemark::coordinator {

// A list as processes keep and exchange it.
struct CachedList {
  std::shared_ptr<const JobList> list;
  // On the wall clock of the process that loaded it.
  absl::Time expires;
  // How long it took to load.
  absl::Duration load_time;
};

std::string EncodeJobList(const CachedList& cached, std::string_view cluster_id);
// nullopt unless it is, undamaged, what EncodeJobList made for this cluster and revision.
std::optional<CachedList> DecodeJobList(std::string_view value, std::string_view cluster_id, int64_t revision);

}  // namespace tidemark::coordinator
