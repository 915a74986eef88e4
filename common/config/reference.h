#pragma once

#include <functional>
#include <optional>
#include <set>
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

// What a worker may resolve on behalf of others: who may send it a connection string must not read all that it can.
struct ReferenceLimits {
  // Names of environment variables.
  std::set<std::string, std::less<>> environment;
  // Folder that files must be in, wherever .. and symbolic links lead. Empty: no file.
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

// The same within `limits`, relative paths from its folder. InvalidArgument, too, for what they do not allow.
// `environment` as in ReferenceSources.
absl::StatusOr<ResolvedText> ResolveReferencesWithin(
    std::string_view text, const ReferenceLimits& limits,
    const std::function<std::optional<std::string>(const std::string& name)>& environment);
// Whether ResolveReferences would resolve any in `text`. InvalidArgument if what stands there is none.
absl::StatusOr<bool> HasReference(std::string_view text);

}  // namespace tidemark
