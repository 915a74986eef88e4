#include "worker/task/task_error.h"

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "worker/connector/fence_error.h"
#include "worker/task/task_identity.h"

namespace tidemark {
namespace {

constexpr char kSnapshotLost[] = "tidemark/snapshot_lost";
constexpr char kLastTry[] = "tidemark/last_try";

// Bytes of the UTF-8 character that `text` begins with; 0 if it begins with none (Unicode 15, table 3-7).
size_t CharacterSize(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < size) return 0;
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // Overlong forms, surrogates, beyond Unicode.
  const bool is_character = !(first == 0xe0 && byte(1) < 0xa0) && !(first == 0xed && byte(1) > 0x9f) &&
                            !(first == 0xf0 && byte(1) < 0x90) && !(first == 0xf4 && byte(1) > 0x8f);
  return is_character ? size : 0;
}

// A message may quote bytes of any encoding: a value of the user's, an answer of a server before the session has one. A
// proto3 string that is not UTF-8 is refused by whoever parses it, and the whole report with it.
std::string ValidUtf8(absl::string_view text) {
  std::string valid;
  valid.reserve(text.size());
  while (!text.empty()) {
    const size_t size = CharacterSize(text);
    absl::StrAppend(&valid, size > 0 ? text.substr(0, size) : absl::string_view("\xef\xbf\xbd"));
    text.remove_prefix(size > 0 ? size : 1);
  }
  return valid;
}

}  // namespace

bool IsRetryable(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsAborted(status) || absl::IsResourceExhausted(status) ||
         absl::IsDeadlineExceeded(status);
}

absl::Status FromSource(absl::Status status) {
  if (absl::IsDataLoss(status)) status.SetPayload(kSnapshotLost, absl::Cord());
  return status;
}

absl::Status AfterLastTry(const absl::Status& error, int tries) {
  absl::Status last(error.code(), absl::StrCat(error.message(), " (attempt ", tries, " of ", tries, ")"));
  last.SetPayload(kLastTry, absl::Cord());
  return last;
}

v1::TaskError ToTaskError(const absl::Status& status, const v1::Task& task) {
  v1::TaskError error;
  error.set_code(static_cast<int32_t>(status.code()));
  error.set_message(ValidUtf8(absl::StrCat(PlaceOf(task), ": ", status.message())));
  error.set_fence_epoch(FenceEpochOf(status));
  if (status.GetPayload(kLastTry).has_value()) return error;
  error.set_snapshot_lost(status.GetPayload(kSnapshotLost).has_value());
  error.set_retryable(IsRetryable(status) || (absl::IsDataLoss(status) && !error.snapshot_lost()));
  error.set_outcome_unknown(absl::IsUnknown(status));
  return error;
}

}  // namespace tidemark
