#include "worker/task/probe.h"

#include "worker/task/task_identity.h"

namespace tidemark {

absl::StatusOr<v1::ProbeResult> Probe(const v1::Task& task, TargetSession& target) {
  return target.Probe(RunIdentityOf(task));
}

}  // namespace tidemark
