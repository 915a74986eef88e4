#include "worker/task/task_identity.h"

#include "absl/strings/str_cat.h"
#include "common/model/key_range.h"

namespace tidemark {
namespace {

std::string WorkText(const v1::Task& task) {
  switch (task.work_case()) {
    case v1::Task::kDescribe:
      return "describe";
    case v1::Task::kMove:
      return absl::StrCat("move of partition ", task.move().partition(), " (", Text(task.move().range()), ")");
    case v1::Task::kCommit:
      return "commit";
    case v1::Task::kProbe:
      return "probe of the ledger";
    case v1::Task::kAbort:
      return "removal of staging";
    case v1::Task::kHorizon:
      return "probe of the horizon";
    case v1::Task::kReadPoint:
      return "probe of the primary";
    case v1::Task::kTest:
      return "test";
    case v1::Task::WORK_NOT_SET:
      break;
  }
  return "task of an unknown kind";
}

}  // namespace

RunIdentity RunIdentityOf(const v1::Task& task) {
  return {task.cluster_id(), task.job_uid(), task.run_id(), task.epoch(), task.sequence()};
}

std::string PlaceOf(const v1::Task& task) {
  if (task.has_test()) return absl::StrCat("connection ", task.source().name(), ": ", WorkText(task));
  return absl::StrCat("job ", task.job().name(), ", run ", task.run_id(), ": ", WorkText(task));
}

std::string ApplicationNameOf(const v1::Task& task) {
  if (task.has_test()) return "tidemark test";
  return absl::StrCat("tidemark ", task.job().name(), " ", task.run_id());
}

}  // namespace tidemark
