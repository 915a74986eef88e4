#include "cli/store_patience.h"

#include "absl/strings/str_cat.h"

namespace tidemark::cli {

std::optional<std::string> StorePatience::Observe(const std::optional<coordinator::StoreFailure>& failure) {
  const bool news =
      failure.has_value() != failure_.has_value() || (failure.has_value() && failure->error != failure_->error);
  failure_ = failure;
  if (!news) return std::nullopt;
  if (!failure.has_value()) return "the metadata store takes changes again";
  return absl::StrCat("the metadata store fails: ", failure->error.message(), "; trying again");
}

}  // namespace tidemark::cli
