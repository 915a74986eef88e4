#include "coordinator/admin/resource_name.h"

#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "common/rpc/error_details.h"

namespace tidemark::coordinator {

absl::StatusOr<std::string> IdOf(std::string_view name, std::string_view collection, std::string_view field) {
  const std::string prefix = absl::StrCat(Abs(collection), "/");
  if (name.starts_with(prefix)) {
    const std::string_view id = name.substr(prefix.size());
    if (!id.empty() && id.find('/') == id.npos) return std::string(id);
  }
  return InvalidField(field, absl::StrCat("expected ", prefix, "ID"));
}

}  // namespace tidemark::coordinator
