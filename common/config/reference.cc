#include "common/config/reference.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>
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

constexpr std::string_view kEnvironment = "env:";
constexpr std::string_view kFile = "file:";

absl::StatusOr<std::string> ResolveVariable(
    const std::string& name, const std::function<std::optional<std::string>(const std::string&)>& environment) {
  std::optional<std::string> value = environment(name);
  if (!value) return absl::InvalidArgumentError(absl::StrCat("the environment variable ", name, " is not set"));
  return *std::move(value);
}

// Nothing of what is outside of `directory` is told, not even whether it is there.
absl::StatusOr<std::string> ReadConfinedFile(std::string_view path, const std::string& directory) {
  if (directory.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("${file:", Abs(path), "} cannot be resolved: this worker has no secrets_dir"));
  }
  std::error_code error;
  const std::filesystem::path root = std::filesystem::canonical(directory, error);
  if (error) {
    return absl::InvalidArgumentError(absl::StrCat(
        "${file:", Abs(path), "} cannot be resolved: the worker's secrets_dir cannot be read: ", error.message()));
  }
  const std::filesystem::path wanted = std::filesystem::path(directory) / std::filesystem::path(path);
  // What is there, with all links followed; for what is not, how its name reads.
  std::filesystem::path real = std::filesystem::weakly_canonical(wanted, error);
  if (error) real.clear();
  const auto [end, ignored] = std::mismatch(root.begin(), root.end(), real.begin(), real.end());
  if (end != root.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("${file:", Abs(path), "} cannot be resolved: it is not in the worker's secrets_dir"));
  }
  absl::StatusOr<std::string> text = ReadReferencedFile(real.string(), "");
  if (text.ok()) return text;
  return absl::InvalidArgumentError(
      absl::StrCat("${file:", Abs(path), "}: cannot be read from the worker's secrets_dir"));
}

// Calls `literal` and `reference` (what stands between the braces) for the parts of `text` in their order, until one
// fails.
absl::Status ForEachPart(std::string_view text, const std::function<void(std::string_view)>& literal,
                         const std::function<absl::Status(std::string_view)>& reference) {
  while (true) {
    const size_t open = text.find("${");
    if (open == text.npos) break;
    if (open > 0 && text[open - 1] == '$') {
      literal(text.substr(0, open - 1));
      literal("${");
      text.remove_prefix(open + 2);
      continue;
    }
    const size_t close = text.find('}', open);
    if (close == text.npos) return absl::InvalidArgumentError("a reference ${ has no closing }");
    const std::string_view inner = text.substr(open + 2, close - open - 2);
    if (!inner.starts_with(kEnvironment) && !inner.starts_with(kFile)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "${", Abs(inner), "} is not a reference: use ${env:NAME} or ${file:PATH}, or $${ for a literal ${"));
    }
    literal(text.substr(0, open));
    TM_RETURN_IF_ERROR(reference(inner));
    text.remove_prefix(close + 1);
  }
  literal(text);
  return absl::OkStatus();
}

using Resolve = std::function<absl::StatusOr<std::string>(std::string_view name)>;

// `variable` and `file` have the values.
absl::StatusOr<ResolvedText> ResolveBy(std::string_view text, const Resolve& variable, const Resolve& file) {
  ResolvedText resolved;
  TM_RETURN_IF_ERROR(ForEachPart(
      text, [&](std::string_view literal) { resolved.text.append(literal); },
      [&](std::string_view reference) -> absl::Status {
        const bool is_file = reference.starts_with(kFile);
        TM_ASSIGN_OR_RETURN(const std::string value, is_file ? file(reference.substr(kFile.size()))
                                                             : variable(reference.substr(kEnvironment.size())));
        if (FindInvalidUtf8(value) != value.npos) {
          return absl::InvalidArgumentError(absl::StrCat("the value of ${", Abs(reference), "} is not UTF-8"));
        }
        resolved.text.append(value);
        resolved.from_reference = true;
        return absl::OkStatus();
      }));
  return resolved;
}

}  // namespace

std::optional<std::string> ProcessEnvironment(const std::string& name) {
  const char* value = getenv(name.c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

absl::StatusOr<ResolvedText> ResolveReferences(std::string_view text, const ReferenceSources& sources) {
  return ResolveBy(
      text, [&](std::string_view name) { return ResolveVariable(std::string(name), sources.environment); },
      [&](std::string_view path) { return ReadReferencedFile(path, sources.directory); });
}

absl::StatusOr<ResolvedText> ResolveReferencesWithin(
    std::string_view text, const ReferenceLimits& limits,
    const std::function<std::optional<std::string>(const std::string& name)>& environment) {
  return ResolveBy(
      text,
      [&](std::string_view name) -> absl::StatusOr<std::string> {
        if (!limits.environment.contains(name)) {
          return absl::InvalidArgumentError(
              absl::StrCat("${env:", Abs(name), "} cannot be resolved: the name is not in the worker's allow_env"));
        }
        return ResolveVariable(std::string(name), environment);
      },
      [&](std::string_view path) { return ReadConfinedFile(path, limits.directory); });
}

absl::StatusOr<bool> HasReference(std::string_view text) {
  bool found = false;
  TM_RETURN_IF_ERROR(ForEachPart(
      text, [](std::string_view) {},
      [&](std::string_view) {
        found = true;
        return absl::OkStatus();
      }));
  return found;
}

}  // namespace tidemark
