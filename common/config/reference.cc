#include "common/config/reference.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <filesystem>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "common/base/status_macros.h"
#include "common/base/utf8.h"

namespace tidemark {
namespace {

// Of a secret or a name.
constexpr size_t kMaxFileBytes = 64 << 10;

absl::StatusOr<std::string> ReadReferencedFile(std::string_view path, const std::string& directory) {
  const std::filesystem::path full = std::filesystem::path(directory) / std::filesystem::path(path);
  errno = 0;
  std::ifstream file(full, std::ios::binary);
  // A device or a pipe may go on for ever.
  std::string text(kMaxFileBytes + 1, '\0');
  if (!file || (!file.read(text.data(), static_cast<std::streamsize>(text.size())) && !file.eof())) {
    return absl::InvalidArgumentError(
        absl::StrCat("${file:", Abs(path), "}: cannot read it", errno == 0 ? "" : absl::StrCat(": ", strerror(errno))));
  }
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > kMaxFileBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("${file:", Abs(path), "}: is larger than ", kMaxFileBytes, " bytes"));
  }
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  return text;
}

absl::StatusOr<std::string> ResolveOne(std::string_view reference, const ReferenceSources& sources) {
  if (reference.starts_with("env:")) {
    const std::string name(reference.substr(4));
    std::optional<std::string> value = sources.environment(name);
    if (!value) return absl::InvalidArgumentError(absl::StrCat("the environment variable ", name, " is not set"));
    return *std::move(value);
  }
  if (reference.starts_with("file:")) return ReadReferencedFile(reference.substr(5), sources.directory);
  return absl::InvalidArgumentError(absl::StrCat(
      "${", Abs(reference), "} is not a reference: use ${env:NAME} or ${file:PATH}, or $${ for a literal ${"));
}

}  // namespace

std::optional<std::string> ProcessEnvironment(const std::string& name) {
  const char* value = getenv(name.c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

absl::StatusOr<ResolvedText> ResolveReferences(std::string_view text, const ReferenceSources& sources) {
  ResolvedText resolved;
  while (true) {
    const size_t open = text.find("${");
    if (open == text.npos) break;
    if (open > 0 && text[open - 1] == '$') {
      resolved.text.append(text.substr(0, open - 1)).append("${");
      text.remove_prefix(open + 2);
      continue;
    }
    const size_t close = text.find('}', open);
    if (close == text.npos) return absl::InvalidArgumentError("a reference ${ has no closing }");
    const std::string_view reference = text.substr(open + 2, close - open - 2);
    TM_ASSIGN_OR_RETURN(const std::string value, ResolveOne(reference, sources));
    if (FindInvalidUtf8(value) != value.npos) {
      return absl::InvalidArgumentError(absl::StrCat("the value of ${", Abs(reference), "} is not UTF-8"));
    }
    resolved.text.append(text.substr(0, open)).append(value);
    resolved.from_reference = true;
    text.remove_prefix(close + 1);
  }
  resolved.text.append(text);
  return resolved;
}

}  // namespace tidemark
