#include "common/config/settings.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/base/status_macros.h"
#include "common/config/diagnostics.h"
#include "common/config/reference.h"
#include "common/config/settings_keys.h"
#include "common/config/spec_reader.h"
#include "common/config/yaml_document.h"
#include "common/model/dsn.h"
#include "common/model/host_port.h"

namespace tidemark {
namespace {

using Kind = ProjectKey::Kind;
using Environment = std::function<std::optional<std::string>(const std::string& name)>;

std::string VariableOf(const std::string& path) {
  return absl::StrCat("TIDEMARK_", absl::AsciiStrToUpper(absl::StrReplaceAll(path, {{".", "_"}})));
}

std::string Join(const std::string& path, const std::string& key) {
  return path.empty() ? key : absl::StrCat(path, ".", key);
}

bool IsList(const ProjectKey& key) { return key.kind == Kind::kTexts || key.kind == Kind::kAddresses; }

YamlNode::Entry* FindEntry(YamlNode& node, const std::string& key) {
  const auto at = std::find_if(node.entries.begin(), node.entries.end(),
                               [&](const YamlNode::Entry& entry) { return entry.key == key; });
  return at == node.entries.end() ? nullptr : &*at;
}

YamlNode NodeOf(const ProjectKey& key, const std::string& value) {
  YamlNode node;
  if (!IsList(key)) {
    node.kind = YamlNode::Kind::kScalar;
    node.text = value;
    return node;
  }
  node.kind = YamlNode::Kind::kList;
  for (const absl::string_view element : absl::StrSplit(value, ',')) {
    const absl::string_view text = absl::StripAsciiWhitespace(element);
    if (text.empty()) continue;
    YamlNode& item = node.items.emplace_back();
    item.kind = YamlNode::Kind::kScalar;
    item.text = std::string(text);
  }
  return node;
}

// Puts what the environment says over what the file says, or beside it.
void Overlay(const std::vector<ProjectKey>& keys, const std::string& path, const Environment& environment,
             YamlNode& node, Diagnostics& diagnostics) {
  for (const ProjectKey& key : keys) {
    const std::string key_path = Join(path, key.name);
    YamlNode::Entry* const present = FindEntry(node, key.name);
    if (key.kind == Kind::kMapping) {
      // Looked at apart, so that the mapping appears only if there is something in it.
      YamlNode inner;
      inner.kind = YamlNode::Kind::kMap;
      inner.at = node.at;
      if (present != nullptr && present->value.kind != YamlNode::Kind::kNull) inner = present->value;
      // What is no mapping is for the reader to refuse.
      if (inner.kind != YamlNode::Kind::kMap) continue;
      Overlay(key.keys, key_path, environment, inner, diagnostics);
      if (present != nullptr) {
        present->value = std::move(inner);
      } else if (!inner.entries.empty()) {
        node.entries.push_back({key.name, node.at, std::move(inner)});
      }
      continue;
    }
    const std::string variable = VariableOf(key_path);
    const std::optional<std::string> value = environment(variable);
    if (!value || value->empty()) continue;
    diagnostics.SetVariable(key_path, variable);
    if (present != nullptr) {
      present->value = NodeOf(key, *value);
    } else {
      node.entries.push_back({key.name, node.at, NodeOf(key, *value)});
    }
  }
}

// Reads a file and the environment into the message of a daemon.
class SettingsReader {
 public:
  SettingsReader(const std::string& file, const SettingsOptions& options, const std::vector<ProjectKey>& keys)
      : file_(file),
        keys_(keys),
        environment_(options.environment ? options.environment : ProcessEnvironment),
        diagnostics_(file) {}

  absl::Status Read(google::protobuf::Message* settings) {
    std::string text;
    if (!file_.empty()) {
      TM_ASSIGN_OR_RETURN(text, ReadFile());
    }
    YamlNode root = ReadYaml(text, &diagnostics_);
    TM_RETURN_IF_ERROR(diagnostics_.ToStatus());
    if (root.kind == YamlNode::Kind::kNull) root.kind = YamlNode::Kind::kMap;
    if (root.kind == YamlNode::Kind::kMap) Overlay(keys_, "", environment_, root, diagnostics_);

    std::error_code ignored;
    const std::filesystem::path directory = file_.empty() ? std::filesystem::current_path(ignored)
                                                          : std::filesystem::absolute(file_, ignored).parent_path();
    const ReferenceSources sources = {environment_, directory.lexically_normal().string()};
    const ValueChecks checks;
    SpecReader reader(&sources, SpecReader::SecretReferences::kResolved, &checks, &diagnostics_);
    // Said below, with the variable.
    std::vector<ProjectKey> optional = keys_;
    for (ProjectKey& key : optional) key.required = false;
    reader.ReadMapping(root, optional, "", settings);
    places_ = reader.places();
    for (const ProjectKey& key : keys_) {
      if (key.required && !places_.contains(key.name)) {
        diagnostics_.Add(root.at, key.name,
                         absl::StrCat("missing: set it in the settings file, or as ", VariableOf(key.name)));
      }
    }
    return absl::OkStatus();
  }

  // Judges a value that was read without an error.
  template <class Value, class IsFit>
  void Check(const std::string& path, const Value& value, const IsFit& is_fit, std::string_view otherwise) {
    const auto place = places_.find(path);
    if (place == places_.end() || diagnostics_.Has(path) || is_fit(value)) return;
    diagnostics_.Add(place->second, path, otherwise);
  }

  void CheckTls(const v1::TlsSettings& tls) {
    const bool both = tls.cert().empty() == tls.key().empty();
    Check(
        "tls.cert", both, [](bool fit) { return fit; }, "goes with tls.key, which is missing");
    Check(
        "tls.key", both, [](bool fit) { return fit; }, "goes with tls.cert, which is missing");
  }

  absl::Status ToStatus() const { return diagnostics_.ToStatus(); }

 private:
  absl::StatusOr<std::string> ReadFile() const {
    std::error_code ignored;
    if (std::filesystem::is_directory(file_, ignored)) {
      return absl::InvalidArgumentError(absl::StrCat(file_, ": is a folder; name the settings file in it"));
    }
    errno = 0;
    std::ifstream stream(file_, std::ios::binary);
    if (!stream) {
      return absl::NotFoundError(
          absl::StrCat(file_, ": cannot read the settings file: ", strerror(errno == 0 ? ENOENT : errno)));
    }
    std::ostringstream content;
    content << stream.rdbuf();
    return content.str();
  }

  const std::string& file_;
  const std::vector<ProjectKey>& keys_;
  const Environment environment_;
  Diagnostics diagnostics_;
  Places places_;
};

bool HasScheme(const std::string& dsn, std::initializer_list<std::string_view> schemes) {
  return std::find(schemes.begin(), schemes.end(), DsnScheme(dsn)) != schemes.end();
}

// Safe in a file name, and in a label.
bool IsWorkerId(std::string_view id) {
  return !id.empty() && id.size() <= 100 && absl::ascii_isalnum(id.front()) &&
         std::all_of(id.begin(), id.end(),
                     [](char c) { return absl::ascii_isalnum(c) || c == '.' || c == '-' || c == '_'; });
}

// FNV-1a: the same in every version.
uint32_t Mark(std::string_view text) {
  uint32_t hash = 2166136261u;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 16777619u;
  return hash;
}

std::string DefaultWorkerId(std::string host, const std::string& spill_dir) {
  if (host.empty()) {
    char name[256] = "";
    gethostname(name, sizeof(name) - 1);
    host = name;
  }
  std::string id;
  for (const char c : host.substr(0, 64)) id += IsWorkerId(std::string(1, 'x') + c) ? c : '-';
  if (id.empty() || !absl::ascii_isalnum(id.front())) id.insert(0, "worker");
  return absl::StrCat(id, "-", absl::StrFormat("%08x", Mark(spill_dir)));
}

std::string SettingsText(const std::vector<ProjectKey>& keys, const std::string& path) {
  std::string text;
  for (const ProjectKey& key : keys) {
    const std::string key_path = Join(path, key.name);
    if (key.kind == Kind::kMapping) {
      absl::StrAppend(&text, SettingsText(key.keys, key_path));
      continue;
    }
    absl::StrAppend(&text, absl::StrFormat("  %-15s %s\n", key_path, key.doc));
    absl::StrAppend(&text, absl::StrFormat("  %-15s %s%s\n", "", VariableOf(key_path),
                                           key.required           ? ", required"
                                           : key.fallback.empty() ? ""
                                                                  : absl::StrCat(", default ", key.fallback)));
  }
  return text;
}

}  // namespace

absl::StatusOr<v1::CoordinatorSettings> LoadCoordinatorSettings(const std::string& file,
                                                                const SettingsOptions& options) {
  v1::CoordinatorSettings settings;
  SettingsReader reader(file, options, CoordinatorSettingsKeys());
  TM_RETURN_IF_ERROR(reader.Read(&settings));
  reader.Check(
      "store", settings.store(),
      [](const auto& dsn) {
        return HasScheme(dsn, {"postgresql", "postgres", "sqlite"});
      },
      "a metadata store is postgresql://HOST/DATABASE or sqlite:PATH");
  reader.Check(
      "redis", settings.redis(), [](const auto& dsn) { return HasScheme(dsn, {"redis"}); },
      "a job cache is redis://HOST:PORT");
  reader.CheckTls(settings.tls());
  reader.Check(
      "tls.ca", settings.tls().cert(), [](const auto& cert) { return !cert.empty(); },
      "goes with tls.cert and tls.key, which are missing");
  TM_RETURN_IF_ERROR(reader.ToStatus());
  return settings;
}

absl::StatusOr<v1::WorkerSettings> LoadWorkerSettings(const std::string& file, const SettingsOptions& options) {
  v1::WorkerSettings settings;
  SettingsReader reader(file, options, WorkerSettingsKeys());
  TM_RETURN_IF_ERROR(reader.Read(&settings));
  reader.Check(
      "coordinators", settings.coordinators(),
      [](const auto& addresses) {
        return std::none_of(addresses.begin(), addresses.end(),
                            [](const std::string& address) { return ParseHostPort(address)->port == 0; });
      },
      "port 0 is no port to call");
  reader.Check("id", settings.id(), &IsWorkerId,
               "an id is 1 to 100 letters, digits, ., - and _, and starts with a letter or a digit");
  reader.Check(
      "stage", settings.stage(), [](const auto& stage) { return stage == "local"; },
      "not available in this version: stage is local");
  reader.CheckTls(settings.tls());
  TM_RETURN_IF_ERROR(reader.ToStatus());
  if (settings.id().empty()) settings.set_id(DefaultWorkerId(options.host_name, settings.spill_dir()));
  return settings;
}

std::string CoordinatorSettingsText() { return SettingsText(CoordinatorSettingsKeys(), ""); }
std::string WorkerSettingsText() { return SettingsText(WorkerSettingsKeys(), ""); }

}  // namespace tidemark
