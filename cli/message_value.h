#pragma once

#include "cli/value.h"
#include "google/protobuf/message.h"

namespace tidemark::cli {

// A message as a record of its fields in their order: choices by their names, durations and times as users write them,
// what is absent null.
Value::Record ToRecord(const google::protobuf::Message& message);

}  // namespace tidemark::cli
