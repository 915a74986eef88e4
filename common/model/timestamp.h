#pragma once

#include <string>

#include "absl/time/time.h"
#include "google/protobuf/timestamp.pb.h"

namespace tidemark {

absl::Time FromProto(const google::protobuf::Timestamp& timestamp);
// To the nanosecond, rounded down.
google::protobuf::Timestamp ToProto(absl::Time time);

// RFC 3339 in UTC, to the millisecond: "2026-01-05T02:30:00.500Z".
std::string TimeText(absl::Time time);

}  // namespace tidemark
