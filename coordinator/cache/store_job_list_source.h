#pragma once

#include "coordinator/cache/job_cache.h"
#include "coordinator/store/metadata_store.h"

namespace tidemark::coordinator {

// The jobs of the metadata store. Thread-safe, as the store is.
class StoreJobListSource final : public JobListSource {
 public:
  // `store` outlives this.
  explicit StoreJobListSource(MetadataStore* store) : store_(store) {}
  absl::StatusOr<int64_t> Revision() override;
  absl::StatusOr<std::vector<JobDefinition>> Load() override;

 private:
  MetadataStore* const store_;
};

}  // namespace tidemark::coordinator
