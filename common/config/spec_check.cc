#include "common/config/spec_check.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/absl_view.h"
#include "common/base/printable.h"
#include "common/base/status_macros.h"
#include "common/config/project_keys.h"
#include "common/config/project_rules.h"
#include "common/config/reference.h"
#include "common/model/dsn.h"
#include "common/model/duration.h"
#include "common/model/enum_names.h"

namespace tidemark {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using Kind = ProjectKey::Kind;

// Values of any length may be quoted in it.
constexpr size_t kLongestDescription = 2000;

std::string Join(std::string_view path, std::string_view name) {
  return path.empty() ? std::string(name) : absl::StrCat(Abs(path), ".", Abs(name));
}

// How a project file would spell the value; empty: it is absent.
std::string TextOf(const Message& message, const FieldDescriptor& field) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32: {
      const int32_t number = reflection.GetInt32(message, &field);
      return number == 0 ? "" : absl::StrCat(number);
    }
    case FieldDescriptor::CPPTYPE_INT64: {
      const int64_t number = reflection.GetInt64(message, &field);
      return number == 0 ? "" : absl::StrCat(number);
    }
    case FieldDescriptor::CPPTYPE_ENUM: {
      const int number = reflection.GetEnumValue(message, &field);
      if (number == 0) return "";
      return field.enum_type()->FindValueByNumber(number) == nullptr ? absl::StrCat(number)
                                                                     : EnumName(*field.enum_type(), number);
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      if (!reflection.HasField(message, &field)) return "";
      return DurationText(
          FromProto(dynamic_cast<const google::protobuf::Duration&>(reflection.GetMessage(message, &field))));
    default:
      return reflection.GetString(message, &field);
  }
}

// Walks a message along the table of keys, completes it, and remembers what it found by the keys' names.
class SpecChecker final : public WrittenJob {
 public:
  explicit SpecChecker(const ValueChecks& checks) : checks_(checks) {}

  void CheckMapping(const std::vector<ProjectKey>& keys, const std::string& path, const std::string& field_path,
                    Message* message) {
    for (const ProjectKey& key : keys) CheckKey(key, path, field_path, message);
  }

  void Add(std::string_view key, std::string_view field, std::string_view description, bool error = true) {
    wrong_.insert(std::string(key));
    problems_.push_back({std::string(field), Printable(Elided(description, kLongestDescription)), error});
  }

  bool Given(std::string_view key) const override { return given_.contains(key); }
  bool Wrong(std::string_view key) const override { return wrong_.contains(key); }
  void AddError(std::string_view key, std::string_view message) override {
    const auto field = fields_.find(key);
    Add(key, field == fields_.end() ? key : std::string_view(field->second), message);
  }

  std::vector<SpecProblem> Problems() { return std::move(problems_); }

 private:
  void CheckKey(const ProjectKey& key, const std::string& path, const std::string& field_path, Message* message) {
    const KeyField field = FieldOf(key, *message->GetDescriptor());
    if (field.leaf == nullptr) return;
    const std::string key_path = Join(path, key.name);
    const std::string key_field = Join(field_path, key.field.empty() ? key.name : key.field);
    fields_.emplace(key_path, key_field);
    Message* parent = message;
    for (const FieldDescriptor* step : field.parents) {
      if (!parent->GetReflection()->HasField(*parent, step)) return;
      parent = parent->GetReflection()->MutableMessage(parent, step);
    }
    const google::protobuf::Reflection& reflection = *parent->GetReflection();
    if (!key.available) {
      const bool set = field.leaf->is_repeated() ? reflection.FieldSize(*parent, field.leaf) > 0
                                                 : reflection.HasField(*parent, field.leaf);
      if (set) Add(key_path, key_field, "not available in this version");
    } else if (key.kind == Kind::kMapping) {
      CheckInner(key, key_path, key_field, *field.leaf, parent);
    } else if (field.leaf->is_repeated()) {
      CheckList(key, key_path, key_field, *field.leaf, parent);
    } else if (key.kind != Kind::kBool) {
      CheckScalar(key, key_path, key_field, *field.leaf, parent);
    }
  }

  void CheckInner(const ProjectKey& key, const std::string& path, const std::string& field_path,
                  const FieldDescriptor& field, Message* message) {
    const google::protobuf::Reflection& reflection = *message->GetReflection();
    const bool present = reflection.HasField(*message, &field);
    if (!present && key.required) return Add(path, field_path, "missing");
    const bool completes =
        key.shorthand.empty() &&
        std::any_of(key.keys.begin(), key.keys.end(), [](const auto& inner) { return !inner.fallback.empty(); });
    if (!present && !completes) return;
    CheckMapping(key.keys, path, field_path, reflection.MutableMessage(message, &field));
    const bool any = std::any_of(key.keys.begin(), key.keys.end(),
                                 [&](const ProjectKey& inner) { return Given(Join(path, inner.name)); });
    if (any) given_.insert(path);
  }

  void CheckList(const ProjectKey& key, const std::string& path, const std::string& field_path,
                 const FieldDescriptor& field, Message* message) {
    const google::protobuf::Reflection& reflection = *message->GetReflection();
    const int size = reflection.FieldSize(*message, &field);
    if (size > 0) given_.insert(path);
    std::set<std::string> seen;
    for (int i = 0; i < size; ++i) {
      const std::string text = reflection.GetRepeatedString(*message, &field, i);
      const std::string item = absl::StrCat(field_path, "[", i, "]");
      if (text.empty()) Add(path, item, "expected some text, found \"\"");
      if (!text.empty() && !seen.insert(text).second) Add(path, item, "given twice");
      if (key.kind != Kind::kDsns || text.empty()) continue;
      if (const absl::Status status = CheckDsn(text, key, field, *message); !status.ok()) {
        Add(path, item, Std(status.message()));
      }
    }
  }

  void CheckScalar(const ProjectKey& key, const std::string& path, const std::string& field_path,
                   const FieldDescriptor& field, Message* message) {
    const std::string text = TextOf(*message, field);
    if (text.empty()) {
      if (key.required) Add(path, field_path, "missing");
      if (!key.fallback.empty()) (void)SetValue(key.fallback, key.fallback, key, field, checks_, message);
      return;
    }
    // A specification comes back completed, and then says no more than before.
    if (key.fallback.empty() || text != key.fallback) given_.insert(path);
    absl::Status status;
    if (key.kind == Kind::kDsn) {
      status = CheckDsn(text, key, field, *message);
    } else {
      status = SetValue(text, absl::StrCat("\"", text, "\""), key, field, checks_, message);
    }
    if (!status.ok()) Add(path, field_path, Std(status.message()));
  }

  // Leaves the DSN as it is written.
  absl::Status CheckDsn(const std::string& dsn, const ProjectKey& key, const FieldDescriptor& field,
                        const Message& message) const {
    const absl::StatusOr<bool> refers = HasReference(dsn);
    if (!refers.ok()) return refers.status();
    if (*refers) return absl::OkStatus();
    const absl::StatusOr<ResolvedText> resolved = ResolveReferences(dsn, ReferenceSources());
    if (!resolved.ok()) return resolved.status();
    const std::unique_ptr<Message> scratch(message.New());
    TM_RETURN_IF_ERROR(SetValue(resolved->text, "", key, field, checks_, scratch.get()));
    if (const auto local = DsnLocalPath(resolved->text); local && !local->starts_with('/')) {
      return absl::InvalidArgumentError("the path of a file must be absolute: workers run in folders of their own");
    }
    return absl::OkStatus();
  }

  const ValueChecks& checks_;
  // By the way of their keys, without the number of a list's element.
  std::set<std::string, std::less<>> given_;
  std::set<std::string, std::less<>> wrong_;
  std::map<std::string, std::string, std::less<>> fields_;
  std::vector<SpecProblem> problems_;
};

}  // namespace

std::vector<SpecProblem> CheckJobSpec(const JobNeighbours& neighbours, const ValueChecks& checks, v1::JobSpec* job) {
  SpecChecker checker(checks);
  const ProjectKey& jobs = ProjectKeyNamed("jobs");
  if (const absl::Status fit = CheckName(jobs, job->name()); !fit.ok()) {
    checker.Add("name", "name", Std(fit.message()));
  }
  checker.CheckMapping(jobs.keys, "", "", job);
  TrimQuery(job);
  CheckJobRules(*job, neighbours.connections, &checker);
  const std::string target = TargetIdentity(*job, neighbours.connections);
  for (const v1::JobSpec& other : neighbours.jobs) {
    if (target.empty() || other.name() == job->name()) continue;
    if (TargetIdentity(other, neighbours.connections) != target) continue;
    checker.AddError("target.table", AlreadyLoaded(other.name()));
    break;
  }
  if (job->has_schedule() && !job->enabled()) {
    checker.Add("enabled", "enabled", "false: the schedule does not count", /*error=*/false);
  }
  return checker.Problems();
}

std::vector<SpecProblem> CheckConnectionSpec(const ValueChecks& checks, v1::ConnectionSpec* connection) {
  SpecChecker checker(checks);
  const ProjectKey& connections = ProjectKeyNamed("connections");
  if (const absl::Status fit = CheckName(connections, connection->name()); !fit.ok()) {
    checker.Add("name", "name", Std(fit.message()));
  }
  checker.CheckMapping(connections.keys, "", "", connection);
  return checker.Problems();
}

bool HasError(const std::vector<SpecProblem>& problems) {
  return std::any_of(problems.begin(), problems.end(), [](const SpecProblem& problem) { return problem.error; });
}

}  // namespace tidemark
