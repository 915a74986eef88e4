#include "coordinator/store/write_rules.h"

#include <algorithm>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model/watermark.h"
#include "coordinator/store/metadata_store.h"

namespace tidemark::coordinator {
namespace {

std::string Quoted(const std::optional<v1::Watermark>& watermark) {
  return watermark.has_value() ? absl::StrCat("'", Text(*watermark), "'") : "not set";
}

constexpr char kLedByAnother[] = "tidemark/led-by-another";

}  // namespace

bool IsLedByAnother(const absl::Status& status) { return status.GetPayload(kLedByAnother).has_value(); }

absl::Status Leadership::Take(std::string_view new_holder, absl::Duration ttl, int64_t at_least, absl::Time now) {
  if (!holder.empty() && holder != new_holder && expires > now) {
    absl::Status led = absl::FailedPreconditionError(
        absl::StrCat("the store is led by ", holder, " (epoch ", epoch, ") until ",
                     absl::FormatTime(absl::RFC3339_sec, expires, absl::UTCTimeZone()), ": wait, or stop it"));
    led.SetPayload(kLedByAnother, absl::Cord(holder));
    return led;
  }
  epoch = std::max(epoch, at_least) + 1;
  holder = std::string(new_holder);
  expires = Stored(now + ttl);
  return absl::OkStatus();
}

absl::Status Leadership::Renew(int64_t its_epoch, absl::Duration ttl, absl::Time now) {
  TM_RETURN_IF_ERROR(Check(its_epoch));
  if (holder.empty()) {
    return absl::FailedPreconditionError(absl::StrCat("the leader of epoch ", epoch, " has resigned"));
  }
  expires = Stored(now + ttl);
  return absl::OkStatus();
}

absl::Status Leadership::Resign(int64_t its_epoch) {
  TM_RETURN_IF_ERROR(Check(its_epoch));
  holder.clear();
  return absl::OkStatus();
}

absl::Status Leadership::Check(int64_t its_epoch) const {
  if (its_epoch == epoch && epoch > 0) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("epoch ", its_epoch, " does not lead this store: its epoch is ",
                                                    epoch, holder.empty() ? "" : ", held by ", holder));
}

absl::Status Advance(const WatermarkAdvance& advance, JobRecord& job) {
  const bool same = advance.low.has_value() == job.last_watermark.has_value() &&
                    (!advance.low.has_value() || Same(*advance.low, *job.last_watermark));
  if (!same) {
    return absl::AbortedError(absl::StrCat("the last watermark of job ", job.spec.name(), " is ",
                                           Quoted(job.last_watermark), ", and run ", advance.run_id, " started from ",
                                           Quoted(advance.low)));
  }
  if (advance.sequence < job.last_sequence) {
    return absl::AbortedError(absl::StrCat("run ", advance.run_id, " of job ", job.spec.name(), " has sequence ",
                                           advance.sequence, ", and ", job.last_sequence, " is committed: superseded"));
  }
  job.last_watermark = advance.high;
  job.last_sequence = advance.sequence;
  job.source_identity = advance.source_identity;
  return absl::OkStatus();
}

std::string Subject(const ConnectionRecord& connection) { return absl::StrCat("connection ", connection.name); }
std::string Subject(const JobRecord& job) { return absl::StrCat("job ", job.spec.name(), " (uid ", job.uid, ")"); }
std::string Subject(const RunRecord& run) { return absl::StrCat("run ", run.id, " (key ", run.run_key, ")"); }
std::string Subject(const TaskRecord& task) { return absl::StrCat("task ", task.id); }
std::string Subject(const PermitRecord& permit) { return absl::StrCat("permit ", permit.session_id); }
std::string Subject(const TriggerRecord& trigger) { return absl::StrCat("trigger ", trigger.id); }

absl::Status AlreadyStored(const std::string& subject) {
  return absl::AlreadyExistsError(absl::StrCat(subject, " is in the store already"));
}

absl::Status ChangedSince(const std::string& subject, int64_t revision) {
  return absl::AbortedError(absl::StrCat(subject, " was changed since revision ", revision, ": read it again"));
}

absl::Status NotStored(std::string_view what, std::string_view name) {
  return absl::NotFoundError(absl::StrCat("the store has no ", std::string(what), " ", std::string(name)));
}

absl::Time Stored(absl::Time time) {
  if (time == absl::InfinitePast() || time == absl::InfiniteFuture()) return time;
  return absl::FromUnixMicros(absl::ToUnixMicros(time));
}

absl::Duration Stored(absl::Duration duration) { return absl::Trunc(duration, absl::Microseconds(1)); }

}  // namespace tidemark::coordinator
