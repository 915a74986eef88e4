#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "tidemark/v1/spec.pb.h"
#include "worker/connector/source.h"

namespace tidemark::duckdb {

// Opens the file `path`, which must exist, to read `job`'s relation. Each read sees one state of the file, or that of
// the snapshot, which belongs to the session alone; nothing that a job says can write. The errors of opening are
// FileConnection's.
absl::StatusOr<std::unique_ptr<SourceSession>> OpenSourceSession(const std::string& path, const v1::JobSpec& job);

}  // namespace tidemark::duckdb
