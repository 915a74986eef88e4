#include "common/config/spec_reader.h"

#include <filesystem>
#include <optional>
#include <regex>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "common/base/absl_view.h"
#include "common/config/suggestion.h"
#include "common/model/byte_size.h"
#include "common/model/dsn.h"
#include "common/model/duration.h"
#include "common/model/enum_names.h"
#include "common/model/host_port.h"

namespace tidemark {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using Kind = ProjectKey::Kind;

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
  const std::regex pattern(key.name_pattern);
  std::set<std::string> seen;
  for (const YamlNode::Entry& each : named->entries) {
    const std::string path = Join(key.name, each.key);
    places_.emplace(path, each.at);
    if (!seen.insert(each.key).second) {
      diagnostics_.Add(each.at, path, "the name is used twice");
    } else if (!std::regex_match(each.key, pattern)) {
      diagnostics_.Add(
          each.at, path,
          "a name is 1 to 63 lower-case letters, digits, - and _, and starts and ends with a letter or a digit");
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
  SetScalar(resolved->text, shown, node.at, key, path, field, message);
}

void SpecReader::SetScalar(const std::string& text, std::string_view shown, Location at, const ProjectKey& key,
                           const std::string& path, const FieldDescriptor& field, Message* message) {
  const google::protobuf::Reflection& reflection = *message->GetReflection();
  const auto wrong = [&](std::string_view expected) {
    diagnostics_.Add(at, path, absl::StrCat("expected ", Abs(expected), ", found ", Abs(shown)));
  };
  if (text.empty() && !key.required && key.kind == Kind::kText) return wrong("some text");
  switch (key.kind) {
    case Kind::kBool:
      if (text != "true" && text != "false") return wrong("true or false");
      reflection.SetBool(message, &field, text == "true");
      return;
    case Kind::kWhole: {
      int64_t number = 0;
      if (!absl::SimpleAtoi(text, &number)) return wrong("a whole number");
      const int64_t max = field.cpp_type() == FieldDescriptor::CPPTYPE_INT32
                              ? std::min<int64_t>(key.max, std::numeric_limits<int32_t>::max())
                              : key.max;
      if (number < key.min) return wrong(absl::StrCat("a number from ", key.min));
      if (number > max) return wrong(absl::StrCat("a number up to ", max));
      if (field.cpp_type() == FieldDescriptor::CPPTYPE_INT32) {
        reflection.SetInt32(message, &field, static_cast<int32_t>(number));
      } else {
        reflection.SetInt64(message, &field, number);
      }
      return;
    }
    case Kind::kBytes: {
      const std::optional<int64_t> bytes = ParseByteSize(text);
      if (!bytes) return wrong("a number of bytes such as 1GiB");
      if (*bytes < key.min) return wrong(absl::StrCat("at least ", FormatByteSize(key.min)));
      if (*bytes > key.max) return wrong(absl::StrCat("at most ", FormatByteSize(key.max)));
      reflection.SetInt64(message, &field, *bytes);
      return;
    }
    case Kind::kPath:
      if (text.empty()) return wrong("a path");
      reflection.SetString(message, &field,
                           (std::filesystem::path(sources_.directory) / text).lexically_normal().string());
      return;
    case Kind::kAddress:
    case Kind::kAddresses:
      if (!ParseHostPort(text)) return wrong("an address HOST:PORT");
      break;
    case Kind::kDuration: {
      const std::optional<absl::Duration> duration = ParseDuration(text);
      if (!duration) return wrong("a duration such as 15m, 2s or 1h30m");
      reflection.MutableMessage(message, &field)->CopyFrom(ToProto(*duration));
      return;
    }
    case Kind::kChoice: {
      const std::vector<std::string> names = EnumNames(*field.enum_type());
      const std::optional<int> number = EnumNumber(*field.enum_type(), text);
      if (!number) return wrong(absl::StrCat("one of ", absl::StrJoin(names, ", ")));
      reflection.SetEnumValue(message, &field, *number);
      return;
    }
    case Kind::kTimeZone: {
      absl::TimeZone zone;
      if (!absl::LoadTimeZone(text, &zone)) return wrong("a time zone such as Europe/Paris or UTC");
      break;
    }
    case Kind::kCron:
      if (checks_.cron) {
        if (const absl::Status status = checks_.cron(text); !status.ok()) {
          diagnostics_.Add(at, path, Std(status.message()));
          return;
        }
      }
      break;
    case Kind::kDsn:
      reflection.SetString(message, &field, ReadDsn(text, at, path));
      return;
    default:
      if (text.empty()) return wrong("some text");
      break;
  }
  if (field.is_repeated()) {
    reflection.AddString(message, &field, text);
  } else {
    reflection.SetString(message, &field, text);
  }
}

std::string SpecReader::ReadDsn(const std::string& dsn, Location at, const std::string& path) {
  const std::string_view scheme = DsnScheme(dsn);
  if (scheme.empty()) {
    diagnostics_.Add(at, path, "a DSN starts with its scheme, as in postgresql://HOST/DATABASE or sqlite:PATH");
    return dsn;
  }
  if (checks_.dsn) {
    if (const absl::Status status = checks_.dsn(dsn); !status.ok()) {
      diagnostics_.Add(at, path, Std(status.message()));
      return dsn;
    }
  }
  const std::optional<std::string_view> local = DsnLocalPath(dsn);
  if (!local) return dsn;
  if (local->empty() || local->starts_with(":")) {
    diagnostics_.Add(at, path, absl::StrCat("the path of a file is missing after ", Abs(scheme), ":"));
    return dsn;
  }
  return absl::StrCat(Abs(scheme), ":",
                      (std::filesystem::path(sources_.directory) / *local).lexically_normal().string());
}

}  // namespace tidemark
