#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace tidemark {

// Where references get their values.
struct ReferenceSources {
  // Value of an environment variable; nullopt if it is not set.
  std::function<std::optional<std::string>(const std::string& name)> environment;
  // Folder that relative ${file:...} paths start from.
  std::string directory;
};

// The environment of this process.
std::optional<std::string> ProcessEnvironment(const std::string& name);

struct ResolvedText {
  std::string text;
  // A reference was in it: the text may be a secret.
  bool from_reference = false;
};

// Replaces ${env:NAME} and ${file:PATH} anywhere in `text` (a file's last line end is dropped); $${ stands for a
// literal ${. InvalidArgument says what is missing, by name, and never holds a value.
absl::StatusOr<ResolvedText> ResolveReferences(std::string_view text, const ReferenceSources& sources);

}  // namespace tidemark
