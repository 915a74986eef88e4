#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace tidemark::coordinator {

// The last part of the resource name `collection`/ID, e.g. "orders" of "jobs/orders". InvalidArgument names `field`,
// where the name stands in the request.
absl::StatusOr<std::string> IdOf(std::string_view name, std::string_view collection, std::string_view field = "name");

}  // namespace tidemark::coordinator
