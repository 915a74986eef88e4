#include "worker/task/abort.h"

#include "common/base/status_macros.h"
#include "worker/task/task_identity.h"

namespace tidemark {

absl::StatusOr<v1::AbortResult> Abort(const v1::Task& task, TargetSession& target) {
  TM_RETURN_IF_ERROR(target.Abort(RunIdentityOf(task)));
  return v1::AbortResult();
}

}  // namespace tidemark
