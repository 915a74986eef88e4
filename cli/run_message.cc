#include "cli/run_message.h"

#include "absl/strings/str_cat.h"
#include "cli/resource_name.h"
#include "common/base/absl_view.h"
#include "common/model/duration.h"
#include "common/model/enum_names.h"
#include "common/model/timestamp.h"

namespace tidemark::cli {

v1::Run ToMessage(const coordinator::RunRecord& run) {
  v1::Run message;
  if (!run.id.empty()) message.set_name(absl::StrCat("runs/", run.id));
  message.set_job(JobName(run.job_name));
  message.set_status(static_cast<v1::Run::Status>(
      EnumNumber(*v1::Run::Status_descriptor(), coordinator::Name(run.status)).value_or(0)));
  message.set_phase(std::string(coordinator::Name(run.phase)));
  *message.mutable_create_time() = ToProto(run.created);
  if (run.started) *message.mutable_start_time() = ToProto(*run.started);
  if (run.ended) *message.mutable_end_time() = ToProto(*run.ended);
  *message.mutable_window() = run.window;
  if (run.description) {
    *message.mutable_completeness() = run.description->completeness();
    *message.mutable_notes() = run.description->notes();
  }
  *message.mutable_counts() = run.counts;
  message.set_partitions(run.partitions);
  message.set_peak_source_connections(run.peak_source_connections);
  *message.mutable_describe_time() = ToProto(run.describe_time);
  *message.mutable_wait_time() = ToProto(run.wait_time);
  *message.mutable_move_time() = ToProto(run.move_time);
  *message.mutable_commit_time() = ToProto(run.commit_time);
  message.set_error(run.error);
  return message;
}

}  // namespace tidemark::cli
