#include "common/config/spec_reader.h"

#include <filesystem>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/absl_view.h"
#include "common/config/suggestion.h"
#include "common/model/dsn.h"

namespace tidemark {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using Kind = ProjectKey::Kind;

// Sets the field, or adds to the list that it is.
void AddText(const std::string& text, const FieldDescriptor& field, Message* message) {
  if (field.is_repeated()) {
    message->GetReflection()->AddString(message, &field, text);
  } else {
    message->GetReflection()->SetString(message, &field, text);
  }
}

std::string Join(const std::string& path, std::string_view key) {
  return path.empty() ? std::string(key) : absl::StrCat(path, ".", Abs(key));
}

const ProjectKey* FindKey(const std::vector<ProjectKey>& keys, std::string_view name) {
  for (const ProjectKey& key : keys) {
    if (key.name == name) return &key;
  }
  return nullptr;
}

std::vector<std::string> Names(const std::vector<ProjectKey>& keys) {
  std::vector<std::string> names;
  for (const ProjectKey& key : keys) names.push_back(key.name);
  return names;
}

std::string_view KindOf(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "nothing";
    case YamlNode::Kind::kScalar:
      return "a single value";
    case YamlNode::Kind::kList:
      return "a list";
    case YamlNode::Kind::kMap:
      return "a mapping";
  }
  return "";
}

std::string Expected(std::string_view what, const YamlNode& node) {
  return absl::StrCat("expected ", Abs(what), ", found ", Abs(KindOf(node)));
}

}  // namespace

void SpecReader::ReadNamed(const YamlNode& root, const ProjectKey& key,
                           const std::function<void(const YamlNode::Entry&, const std::string&)>& entry) {
  const YamlNode* named = nullptr;
  for (const YamlNode::Entry& top : root.entries) {
    if (top.key == key.name && named == nullptr) named = &top.value;
  }
  if (named == nullptr || (named->kind == YamlNode::Kind::kMap && named->entries.empty()) ||
      named->kind == YamlNode::Kind::kNull) {
    diagnostics_.Add(named == nullptr ? root.at : named->at, key.name, "missing or empty: at least one is needed");
    return;
  }
  if (named->kind != YamlNode::Kind::kMap) {
    diagnostics_.Add(named->at, key.name, Expected("a mapping of names", *named));
    return;
  }
  std::set<std::string> seen;
  for (const YamlNode::Entry& each : named->entries) {
    const std::string path = Join(key.name, each.key);
    places_.emplace(path, each.at);
    if (!seen.insert(each.key).second) {
      diagnostics_.Add(each.at, path, "the name is used twice");
    } else if (const absl::Status fit = CheckName(key, each.key); !fit.ok()) {
      diagnostics_.Add(each.at, path, Std(fit.message()));
    } else {
      entry(each, path);
    }
  }
}

void SpecReader::CheckNames(const YamlNode& node, const std::vector<ProjectKey>& keys, const std::string& path) {
  std::set<std::string> seen;
  for (const YamlNode::Entry& entry : node.entries) {
    if (FindKey(keys, entry.key) == nullptr) {
      diagnostics_.Add(entry.at, Join(path, entry.key),
                       absl::StrCat("unknown key", Suggestion(entry.key, Names(keys))));
    } else if (!seen.insert(entry.key).second) {
      diagnostics_.Add(entry.at, Join(path, entry.key), "the key is given twice");
    }
  }
}

void SpecReader::ReadMapping(const YamlNode& node, const std::vector<ProjectKey>& keys, const std::string& path,
                             Message* message) {
  places_.emplace(path, node.at);
  if (node.kind != YamlNode::Kind::kMap && node.kind != YamlNode::Kind::kNull) {
    diagnostics_.Add(node.at, path, Expected("a mapping", node));
    return;
  }
  CheckNames(node, keys, path);
  std::set<std::string> present;
  for (const YamlNode::Entry& entry : node.entries) {
    const ProjectKey* key = FindKey(keys, entry.key);
    if (key == nullptr || !present.insert(entry.key).second) continue;
    const std::string key_path = Join(path, entry.key);
    places_.emplace(key_path, entry.at);
    if (!key->available) {
      CheckUnavailable(entry.value, *key, key_path);
      diagnostics_.Add(entry.at, key_path, "not available in this version");
    } else {
      ReadValue(entry.value, *key, key_path, message);
    }
  }
  for (const ProjectKey& key : keys) {
    if (present.contains(key.name)) continue;
    if (key.required) diagnostics_.Add(places_.at(path), Join(path, key.name), "missing");
    YamlNode fallback;
    fallback.at = node.at;
    if (!key.fallback.empty()) {
      fallback.kind = YamlNode::Kind::kScalar;
      fallback.text = key.fallback;
      ReadValue(fallback, key, Join(path, key.name), message);
    } else if (key.kind == Kind::kMapping && !key.required && key.available && key.shorthand.empty() &&
               std::any_of(key.keys.begin(), key.keys.end(), [](const ProjectKey& k) { return !k.fallback.empty(); })) {
      ReadValue(fallback, key, Join(path, key.name), message);
    }
  }
}

void SpecReader::CheckUnavailable(const YamlNode& node, const ProjectKey& key, const std::string& path) {
  switch (key.kind) {
    case Kind::kMapping:
      CheckNames(node, key.keys, path);
      for (const YamlNode::Entry& entry : node.entries) {
        if (const ProjectKey* inner = FindKey(key.keys, entry.key)) {
          CheckUnavailable(entry.value, *inner, Join(path, entry.key));
        }
      }
      break;
    case Kind::kNamed:
      for (const YamlNode::Entry& entry : node.entries) CheckNames(entry.value, key.keys, Join(path, entry.key));
      break;
    case Kind::kMappingList:
      for (size_t i = 0; i < node.items.size(); ++i)
        CheckNames(node.items[i], key.keys, absl::StrCat(path, "[", i, "]"));
      break;
    default:
      break;
  }
}

void SpecReader::ReadValue(const YamlNode& node, const ProjectKey& key, const std::string& path, Message* message) {
  const KeyField field = FieldOf(key, *message->GetDescriptor());
  Message* parent = message;
  for (const FieldDescriptor* step : field.parents) parent = parent->GetReflection()->MutableMessage(parent, step);
  switch (key.kind) {
    case Kind::kMapping: {
      Message* inner = parent->GetReflection()->MutableMessage(parent, field.leaf);
      if (!key.shorthand.empty() && node.kind == YamlNode::Kind::kScalar) {
        ReadValue(node, *FindKey(key.keys, key.shorthand), path, inner);
      } else if (!key.shorthand.empty() && node.kind == YamlNode::Kind::kNull) {
        diagnostics_.Add(node.at, path, "empty");
      } else {
        ReadMapping(node, key.keys, path, inner);
      }
      return;
    }
    case Kind::kTexts:
    case Kind::kAddresses:
    case Kind::kDsns:
      return ReadList(node, key, path, *field.leaf, parent);
    default:
      return ReadScalar(node, key, path, *field.leaf, parent);
  }
}

void SpecReader::ReadList(const YamlNode& node, const ProjectKey& key, const std::string& path,
                          const FieldDescriptor& field, Message* message) {
  if (node.kind != YamlNode::Kind::kList) {
    diagnostics_.Add(node.at, path, Expected("a list", node));
    return;
  }
  if (node.items.empty()) diagnostics_.Add(node.at, path, "the list is empty");
  std::set<std::string> seen;
  for (size_t i = 0; i < node.items.size(); ++i) {
    const std::string item_path = absl::StrCat(path, "[", i, "]");
    ReadScalar(node.items[i], key, item_path, field, message);
    if (!node.items[i].text.empty() && !seen.insert(node.items[i].text).second) {
      diagnostics_.Add(node.items[i].at, item_path, "given twice");
    }
  }
}

void SpecReader::ReadScalar(const YamlNode& node, const ProjectKey& key, const std::string& path,
                            const FieldDescriptor& field, Message* message) {
  if (node.kind != YamlNode::Kind::kScalar) {
    diagnostics_.Add(node.at, path, Expected("a single value", node));
    return;
  }
  const bool dsn = key.kind == Kind::kDsn || key.kind == Kind::kDsns;
  if (dsn && secret_references_ == SecretReferences::kKept) {
    const absl::StatusOr<bool> refers = HasReference(node.text);
    if (!refers.ok()) return diagnostics_.Add(node.at, path, Std(refers.status().message()));
    // What a reference holds is judged where it is resolved.
    if (*refers) return AddText(node.text, field, message);
  }
  absl::StatusOr<ResolvedText> resolved = ResolveReferences(node.text, sources_);
  if (!resolved.ok()) {
    diagnostics_.Add(node.at, path, Std(resolved.status().message()));
    return;
  }
  const bool needs_plain = key.kind == Kind::kBool || key.kind == Kind::kWhole;
  if (needs_plain && node.quoted && !resolved->from_reference) {
    diagnostics_.Add(
        node.at, path,
        key.kind == Kind::kBool ? "expected true or false, without quotes" : "expected a whole number, without quotes");
    return;
  }
  const std::string shown =
      resolved->from_reference ? "what the reference holds" : absl::StrCat("\"", resolved->text, "\"");
  const absl::Status set = SetValue(resolved->text, shown, key, field, checks_, message);
  if (!set.ok()) return diagnostics_.Add(node.at, path, Std(set.message()));
  if (dsn) {
    const bool kept = secret_references_ == SecretReferences::kKept;
    if (field.is_repeated()) message->GetReflection()->RemoveLast(message, &field);
    AddText(AbsoluteDsn(kept ? node.text : resolved->text, kept), field, message);
  } else if (key.kind == Kind::kPath) {
    message->GetReflection()->SetString(
        message, &field, (std::filesystem::path(sources_.directory) / resolved->text).lexically_normal().string());
  }
}

std::string SpecReader::AbsoluteDsn(const std::string& dsn, bool kept) const {
  const std::optional<std::string_view> local = DsnLocalPath(dsn);
  if (!local) return dsn;
  // Whoever resolves what is kept must not take a folder's name for a reference.
  const std::string directory = kept ? absl::StrReplaceAll(sources_.directory, {{"${", "$${"}}) : sources_.directory;
  return absl::StrCat(Abs(DsnScheme(dsn)), ":",
                      (std::filesystem::path(directory) / *local).lexically_normal().string());
}

}  // namespace tidemark
