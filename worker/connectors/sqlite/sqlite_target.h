#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "tidemark/v1/spec.pb.h"
#include "worker/connector/target.h"
#include "worker/connector/writer_queue.h"

namespace tidemark::sqlite {

// Opens `path` to load `job`'s table; the file is made when the first run is prepared, not before. Writers of this
// process take turns in `queue`; others are met with a bounded wait for the file's lock. The file is put into WAL mode,
// so that readers go on while it is loaded, and every commit is on disk before it is answered (synchronous = FULL).
absl::StatusOr<std::unique_ptr<TargetSession>> OpenTargetSession(const std::string& path, const v1::JobSpec& job,
                                                                 std::shared_ptr<WriterQueue> queue);

}  // namespace tidemark::sqlite
