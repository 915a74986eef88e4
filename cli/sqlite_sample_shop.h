#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace tidemark::cli {

// Makes an SQLite file with a small shop: customers, and orders that were placed in the 90 days before `now`. Every row
// carries updated_at, which triggers keep. The same `now` gives the same rows. AlreadyExists if there is such a file.
absl::Status WriteSampleShop(const std::string& path, absl::Time now);

}  // namespace tidemark::cli
