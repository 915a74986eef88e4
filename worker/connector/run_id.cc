#include "worker/connector/run_id.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"

namespace tidemark {

absl::Status CheckRunId(std::string_view run_id) {
  constexpr size_t kMaxSize = 59;
  const bool plain = std::all_of(run_id.begin(), run_id.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-';
  });
  if (plain && !run_id.empty() && run_id.size() <= kMaxSize) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("'", Abs(run_id), "' is no run id: 1 to ", kMaxSize, " letters, digits, '_' and '-'"));
}

}  // namespace tidemark
