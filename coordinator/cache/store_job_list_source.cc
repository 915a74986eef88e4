#include "coordinator/cache/store_job_list_source.h"

#include <utility>

#include "common/base/status_macros.h"

namespace tidemark::coordinator {

absl::StatusOr<int64_t> StoreJobListSource::Revision() { return store_->JobsRevision(); }

absl::StatusOr<std::vector<JobDefinition>> StoreJobListSource::Load() {
  TM_ASSIGN_OR_RETURN(std::vector<JobRecord> records, store_->ListJobs());
  std::vector<JobDefinition> jobs;
  jobs.reserve(records.size());
  for (JobRecord& record : records) {
    jobs.push_back({std::move(record.uid), std::move(record.spec), record.enabled, record.created, record.updated});
  }
  return jobs;
}

}  // namespace tidemark::coordinator
