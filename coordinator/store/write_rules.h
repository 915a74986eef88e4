#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/store/records.h"

namespace tidemark::coordinator {

// What every implementation of the store decides alike. Pure.

// The leader's lease. A new store has epoch 0, which no one leads.
struct Leadership {
  int64_t epoch = 0;
  std::string holder;  // Empty: resigned.
  absl::Time expires = absl::UnixEpoch();

  // See MetadataStore::AcquireLeadership and its neighbours.
  absl::Status Take(std::string_view new_holder, absl::Duration ttl, int64_t at_least, absl::Time now);
  absl::Status Renew(int64_t its_epoch, absl::Duration ttl, absl::Time now);
  absl::Status Resign(int64_t its_epoch);
  // The fence of every write: OK for the newest epoch alone, whether or not its lease has run out, because nobody else
  // has led since.
  absl::Status Check(int64_t its_epoch) const;
};

// Moves the watermark of `job`; Aborted if `advance` starts elsewhere or belongs to a run that a later one has
// overtaken.
absl::Status Advance(const WatermarkAdvance& advance, JobRecord& job);

// How errors name a row.
std::string Subject(const ConnectionRecord& connection);
std::string Subject(const JobRecord& job);
std::string Subject(const RunRecord& run);
std::string Subject(const TaskRecord& task);
std::string Subject(const PermitRecord& permit);
std::string Subject(const TriggerRecord& trigger);

absl::Status AlreadyStored(const std::string& subject);
absl::Status ChangedSince(const std::string& subject, int64_t revision);
// "the store has no job orders".
absl::Status NotStored(std::string_view what, std::string_view name);

// The record as it is read back.
absl::Time Stored(absl::Time time);
absl::Duration Stored(absl::Duration duration);

}  // namespace tidemark::coordinator
