#include "common/rpc/error_details.h"

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "common/base/utf8.h"
#include "common/model/duration.h"
#include "google/rpc/error_details.pb.h"

namespace tidemark {
namespace {

constexpr char kDomain[] = "tidemark";
constexpr char kNotLeader[] = "NOT_LEADER";

// A payload is named as an Any names its message.
template <class Message>
std::string TypeUrl() {
  return absl::StrCat("type.googleapis.com/", Message::descriptor()->full_name());
}

template <class Message>
void SetPayload(absl::Status& status, const Message& message, bool present) {
  if (present) {
    status.SetPayload(TypeUrl<Message>(), absl::Cord(message.SerializeAsString()));
  } else {
    status.ErasePayload(TypeUrl<Message>());
  }
}

// Empty if there is none, or none that can be read.
template <class Message>
Message GetPayload(const absl::Status& status) {
  Message message;
  if (const auto payload = status.GetPayload(TypeUrl<Message>())) {
    if (!message.ParseFromString(std::string(*payload))) message.Clear();
  }
  return message;
}

}  // namespace

absl::Status WithDetails(absl::Status status, const ErrorDetails& details) {
  google::rpc::BadRequest request;
  for (const ErrorDetails::FieldViolation& violation : details.field_violations) {
    auto& added = *request.add_field_violations();
    added.set_field(ValidUtf8(violation.field));
    added.set_description(ValidUtf8(violation.description));
  }
  SetPayload(status, request, !details.field_violations.empty());

  google::rpc::PreconditionFailure precondition;
  for (const ErrorDetails::PreconditionViolation& violation : details.precondition_violations) {
    auto& added = *precondition.add_violations();
    added.set_type(ValidUtf8(violation.type));
    added.set_subject(ValidUtf8(violation.subject));
    added.set_description(ValidUtf8(violation.description));
  }
  SetPayload(status, precondition, !details.precondition_violations.empty());

  google::rpc::ErrorInfo info;
  info.set_reason(ValidUtf8(details.reason));
  info.set_domain(kDomain);
  for (const auto& [key, value] : details.metadata) (*info.mutable_metadata())[ValidUtf8(key)] = ValidUtf8(value);
  SetPayload(status, info, !details.reason.empty());

  google::rpc::RetryInfo retry;
  if (details.retry_after) *retry.mutable_retry_delay() = ToProto(*details.retry_after);
  SetPayload(status, retry, details.retry_after.has_value());
  return status;
}

ErrorDetails DetailsOf(const absl::Status& status) {
  ErrorDetails details;
  const auto request = GetPayload<google::rpc::BadRequest>(status);
  for (const auto& violation : request.field_violations()) {
    details.field_violations.push_back({violation.field(), violation.description()});
  }
  const auto precondition = GetPayload<google::rpc::PreconditionFailure>(status);
  for (const auto& violation : precondition.violations()) {
    details.precondition_violations.push_back({violation.type(), violation.subject(), violation.description()});
  }
  const auto info = GetPayload<google::rpc::ErrorInfo>(status);
  details.reason = info.reason();
  details.metadata.insert(info.metadata().begin(), info.metadata().end());
  const auto retry = GetPayload<google::rpc::RetryInfo>(status);
  if (retry.has_retry_delay()) details.retry_after = FromProto(retry.retry_delay());
  return details;
}

absl::Status InvalidField(std::string_view field, std::string_view description) {
  ErrorDetails details;
  details.field_violations.push_back({std::string(field), std::string(description)});
  return WithDetails(absl::InvalidArgumentError(absl::StrCat(Abs(field), ": ", Abs(description))), details);
}

absl::Status NotLeaderError(std::string_view why) {
  ErrorDetails details;
  details.reason = kNotLeader;
  return WithDetails(absl::FailedPreconditionError(absl::StrCat("this coordinator is not the leader: ", Abs(why))),
                     details);
}

bool IsNotLeader(const absl::Status& status) {
  return absl::IsFailedPrecondition(status) && DetailsOf(status).reason == kNotLeader;
}

}  // namespace tidemark
