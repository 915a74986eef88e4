#include "worker/task/horizon.h"

#include "worker/task/task_error.h"

namespace tidemark {

absl::StatusOr<v1::HorizonResult> ProbeHorizon(const v1::Task& task, SourceSession& source) {
  const auto reached = source.HorizonReached(task.horizon().until());
  if (!reached.ok()) return FromSource(reached.status());
  v1::HorizonResult result;
  result.set_reached(*reached);
  return result;
}

}  // namespace tidemark
