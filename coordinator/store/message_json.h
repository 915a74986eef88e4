#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/message.h"

namespace tidemark::coordinator {

// Messages as they stand in columns. Printing and parsing JSON takes long beside all else that the store does, and one
// spec stands in its job and in every run of it: the texts of specs, and of messages that hold next to nothing, are
// remembered, within a bound. Thread-safe.

// One line, fields by their proto names. InvalidArgument for what JSON cannot hold.
absl::StatusOr<std::string> MessageJson(const google::protobuf::Message& message);

// Fields that are not known are left out: a later version dropped them. DataLoss if it is no such message.
absl::Status ParseMessageJson(const std::string& json, google::protobuf::Message* message);

}  // namespace tidemark::coordinator
