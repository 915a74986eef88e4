#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "tidemark/v1/spec.pb.h"
#include "worker/connector/source.h"

namespace tidemark::sqlite {

// Opens `path` to read `job`'s relation. Reads see one state of the file each, or the snapshot's. In WAL mode a reader
// and a writer do not wait for each other; in a rollback-journal mode they would, so that a snapshot there is a private
// copy of the file.
absl::StatusOr<std::unique_ptr<SourceSession>> OpenSourceSession(const std::string& path, const v1::JobSpec& job);

}  // namespace tidemark::sqlite
