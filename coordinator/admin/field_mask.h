#pragma once

#include "absl/status/status.h"
#include "google/protobuf/field_mask.pb.h"
#include "tidemark/v1/spec.pb.h"

namespace tidemark::coordinator {

// Takes the fields that `mask` names, paths of a resource such as "spec.schedule.cron" or "spec", from `from` over to
// `to`; one that is absent from `from` is cleared. InvalidArgument names a path that is none, or not one of `spec`.
absl::Status ApplyMask(const google::protobuf::FieldMask& mask, const v1::JobSpec& from, v1::JobSpec* to);
absl::Status ApplyMask(const google::protobuf::FieldMask& mask, const v1::ConnectionSpec& from, v1::ConnectionSpec* to);

}  // namespace tidemark::coordinator
