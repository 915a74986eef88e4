#pragma once

#include <functional>
#include <string_view>

#include "absl/status/status.h"
#include "common/config/project_keys.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"

namespace tidemark {

// Judges of what this library knows nothing of. Their messages are shown as they are; absent: anything goes.
struct ValueChecks {
  std::function<absl::Status(std::string_view cron)> cron;
  std::function<absl::Status(std::string_view dsn)> dsn;
};

// Sets `field` of `message` to the value that `text` has as `key`; a repeated field gets one more. InvalidArgument says
// on one line what is expected, and `shown` for what was found.
absl::Status SetValue(std::string_view text, std::string_view shown, const ProjectKey& key,
                      const google::protobuf::FieldDescriptor& field, const ValueChecks& checks,
                      google::protobuf::Message* message);

// Whether `name` may name an entry of the kNamed key `named`. InvalidArgument says what a name is.
absl::Status CheckName(const ProjectKey& named, std::string_view name);

}  // namespace tidemark
