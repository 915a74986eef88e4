#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "tidemark/v1/spec.pb.h"
#include "worker/connector/target.h"

namespace tidemark::duckdb {

// Opens nothing yet: the file is opened by the first call that needs it, and made by the first Prepare.
absl::StatusOr<std::unique_ptr<TargetSession>> OpenTargetSession(const std::string& path, const v1::JobSpec& job);

}  // namespace tidemark::duckdb
