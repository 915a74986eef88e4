#include "worker/task/commit.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model/row_counts.h"
#include "worker/task/task_identity.h"

namespace tidemark {

absl::StatusOr<v1::CommitResult> Commit(const v1::Task& task, TargetSession& target) {
  TM_ASSIGN_OR_RETURN(v1::CommitResult result, target.Commit(RunIdentityOf(task), task.commit()));
  int64_t staged = 0;
  for (const v1::StagedMove& move : task.commit().moves()) staged += move.rows();
  const v1::RowCounts& counts = result.counts();
  if (counts.read() != staged || !Balances(counts)) {
    return absl::InternalError(
        absl::StrCat("the run does not balance: staged ", FormatCount(staged), ", ", Summary(counts)));
  }
  return result;
}

}  // namespace tidemark
